"""The daily distribution at Telegram's rate, beside a plain loop that only sends."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx

from benchmarks.ground import Ground, Say, Simulator, Started, cpu_seconds, open_ground
from benchmarks.hanging import hanging_model
from benchmarks.numbers import Figures
from benchmarks.people import preparing, register
from benchmarks.section import Section, Table, plain
from benchmarks.watch import SimulatorClient, count_runs
from domain.ids import LearnerId

TELEGRAM_RATE = 30
SETTLE_SECONDS = 3.0
"""After the last message, before the Prefect server's CPU time is read: it still writes events."""

LOOK_SECONDS = 5.0
MOST_SECONDS = 600.0
FLOWS = ("distribute_daily_quizzes", "execute_user_quiz_flow")

_MAKE_DUE = """UPDATE learners SET next_daily_at = now() - interval '1 minute', version = id % 3
WHERE id = ANY($1::bigint[])"""
"""A third of them stands at each turn of the generator's policy: bank, model, template."""

_COUNT_SENT = "SELECT count(*) FROM quizzes WHERE kind = 'daily' AND state = 'sent'"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    learners: tuple[int, ...]
    """How many are due, one distribution each."""
    idle_seconds: float
    """How long to watch the Prefect server idle."""


FULL = Size(learners=(50, 1000), idle_seconds=10)
QUICK = Size(learners=(4,), idle_seconds=1)


@dataclass(frozen=True, slots=True)
class Stage:
    """What a distribution runs on."""

    ground: Ground
    simulator: Simulator
    prefect: Started
    watch: SimulatorClient
    client: httpx.AsyncClient
    say: Say
    idle: float
    """Share of a core that the Prefect server takes when nothing runs."""

    @property
    def api(self) -> str:
        """Return the Prefect server's address."""
        return self.ground.environment["PREFECT_API_URL"]

    def others_cpu(self) -> dict[str, float]:
        """Return the CPU seconds that the servers beside Prefect's have used."""
        pids = {"PostgreSQL": self.ground.postgres_pid, "simulator": self.simulator.started.pid}
        return {name: cpu_seconds(pid) for name, pid in pids.items()}


# ---------------------------------------------------------------- measuring


async def measure(size: Size, say: Say) -> Figures:
    """Distribute to so many learners, then send the same in a plain loop.

    Args:
        size: how much to measure.
        say: shows progress.
    """
    async with open_stage(say, rate=TELEGRAM_RATE, chat_rate=1, idle_seconds=size.idle_seconds) as stage:
        runs = [await _compare(stage, learners) for learners in size.learners]
        return {"telegram_rate": TELEGRAM_RATE, "prefect_idle_share_of_a_core": round(stage.idle, 3), "runs": runs}


@asynccontextmanager
async def open_stage(say: Say, *, rate: float, chat_rate: float, idle_seconds: float) -> AsyncIterator[Stage]:
    """Yield what a distribution runs on, all of it started.

    Args:
        say: shows progress.
        rate: messages and edits a second that the simulator lets a bot send; 0 for no limit.
        chat_rate: the same for one chat.
        idle_seconds: how long to watch the Prefect server idle.
    """
    with open_ground() as ground:
        say("starting PostgreSQL, Valkey, the simulator and the Prefect server")
        ground.start_postgres()
        ground.start_valkey()
        simulator = ground.start_simulator(rate=rate, chat_rate=chat_rate)
        prefect = ground.start_prefect()
        async with httpx.AsyncClient(timeout=60) as client:
            idle = await _idle_share(prefect, idle_seconds)
            yield Stage(ground, simulator, prefect, SimulatorClient(simulator, client), client, say, idle)


async def _idle_share(prefect: Started, seconds: float) -> float:
    """Return the part of a core that the Prefect server takes when nothing runs."""
    await asyncio.sleep(SETTLE_SECONDS)
    before = cpu_seconds(prefect.pid)
    await asyncio.sleep(seconds)
    return (cpu_seconds(prefect.pid) - before) / seconds


async def _compare(stage: Stage, count: int) -> Figures:
    learner_ids = await due_learners(stage, count)
    figures = {
        "learners": count,
        "at_the_limit_seconds": round(count / TELEGRAM_RATE, 1),
        "flow": await send(stage, "flow", learner_ids),
        "plain": await send(stage, "plain", learner_ids),
    }
    others = await due_learners(stage, count)
    async with hanging_model() as model:
        hanging = await send(stage, "model-hangs", others, model.environment)
        return figures | {"model_hangs": hanging | {"requests_to_the_model": model.connections}}


async def due_learners(stage: Stage, count: int) -> list[LearnerId]:
    """Return learners who are due and have had no daily quiz.

    Args:
        stage: where they learn.
        count: how many.
    """
    async with preparing(stage.ground) as wiring:
        learner_ids = await register(stage.simulator, wiring, count)
    await _make_due(stage, learner_ids)
    return learner_ids


async def _make_due(stage: Stage, learner_ids: Sequence[LearnerId]) -> None:
    connection = await asyncpg.connect(stage.ground.environment["DATABASE_URL"])
    await connection.execute(_MAKE_DUE, list(learner_ids))
    await connection.close()


async def send(
    stage: Stage, kind: str, learner_ids: Sequence[LearnerId], extra: dict[str, str] | None = None
) -> Figures:
    """Let a process of its own send, and return what came of it.

    Args:
        stage: what it runs on.
        kind: as `benchmarks.distribute` names it.
        learner_ids: who is due.
        extra: environment variables of the sender.
    """
    await stage.watch.reset_statistics()
    runs, server, began = await _count_runs(stage), cpu_seconds(stage.prefect.pid), time.monotonic()
    others = stage.others_cpu()
    told = await _run_sender(stage, kind, len(learner_ids), extra)
    await asyncio.sleep(SETTLE_SECONDS)
    server = cpu_seconds(stage.prefect.pid) - server
    others = {name: seconds - others[name] for name, seconds in stage.others_cpu().items()}
    watched = time.monotonic() - began
    messages = [one for one in await stage.watch.requests("sendmessage") if one["status"] == httpx.codes.OK]
    seen = await stage.watch.statistics()
    chats = Counter(int(message["values"]["chat_id"]) for message in messages)
    after = [message["at"] - told["began"] for message in messages]
    seconds = max(after)
    return {
        "sent": len(messages),
        "seconds": round(seconds, 2),
        "first_seconds": round(min(after), 2),
        "to_the_end_seconds": round(told["ended"] - told["began"], 2),
        "per_second": round(len(messages) / seconds, 1),
        "most_in_a_second": seen["most_sent_in_a_second"],
        "too_many_requests": seen["too_many_requests"],
        "duplicates": sum(chats.values()) - len(chats),
        "missing": len(set(learner_ids) - set(chats)),
        "counts": told["counts"],
        "runs": {name: number - runs[name] for name, number in (await _count_runs(stage)).items()},
        "client_cpu_ms": round(1000 * told["cpu"] / len(learner_ids), 1),
        "prefect_cpu_ms": round(1000 * server / len(learner_ids), 1),
        "prefect_cpu_ms_without_idle": round(1000 * max(0.0, server - stage.idle * watched) / len(learner_ids), 1),
        "others_cpu_ms": {name: round(1000 * seconds / len(learner_ids), 1) for name, seconds in others.items()},
    }


async def _run_sender(stage: Stage, kind: str, count: int, extra: dict[str, str] | None) -> dict[str, Any]:
    path = stage.ground.folder / f"{kind}-{count}.json"
    sender = stage.ground.start(kind, ["-m", "benchmarks.distribute", kind, str(count), str(path)], extra)
    end, look_at = time.monotonic() + max(MOST_SECONDS, 2 * count / TELEGRAM_RATE), 0.0
    while (status := sender.process.poll()) is None and time.monotonic() < end:
        await asyncio.sleep(0.1)
        if time.monotonic() > look_at:
            look_at = time.monotonic() + LOOK_SECONDS
            sent = (await stage.watch.statistics())["messages_sent"]
            stage.say(f"{kind}: {sent} of {count} learners have their message")
    if status != 0:
        msg = f"the sender ended with status {status}"
        raise RuntimeError(msg)
    return dict(json.loads(path.read_text(encoding="utf-8")))


async def _count_runs(stage: Stage) -> dict[str, int]:
    counts = {name: await count_runs(stage.client, stage.api, name) for name in FLOWS}
    completed = [await count_runs(stage.client, stage.api, name, "COMPLETED") for name in FLOWS]
    return counts | {"completed": sum(completed)}


# ---------------------------------------------------------------- presenting


def present(figures: Figures) -> Section:
    """Show the figures.

    Args:
        figures: what `measure` returned, or its like out of JSON.
    """
    idle = figures["prefect_idle_share_of_a_core"]
    return Section(
        title="Distribution: the daily quiz to everybody who is due",
        about=(
            "`distribute_daily_quizzes()` in a process of its own, with PostgreSQL, Valkey, the Prefect server and the "
            f"simulator, which refuses more than {figures['telegram_rate']} messages a second, from the call to the "
            "last message in a chat. Beside it, a plain asyncio loop sends the same questions to the same learners "
            "through the same library and the same rate limiter, with neither Prefect nor PostgreSQL."
        ),
        tables=[_times(figures), _costs(figures)],
        notes=[
            (
                "A distribution deals its learners into at most 50 runs of the learners' flow, so that up to 50 "
                "learners each have a run of their own; then Prefect's cost for a run, not Telegram's rate, sets the "
                "time. With more learners, the runs stay 50 and what one learner costs falls."
            ),
            (
                "*Model hangs*: the same flow for other learners, with a language model configured that accepts "
                "connections and never answers. A distribution takes written questions from the stock in PostgreSQL "
                f"and asked the model {_requests_to_the_model(figures)} times."
            ),
            (
                f"The idle Prefect server takes {idle:.2f} of a core all the time; the table shows what it took with "
                "and without that share."
            ),
        ],
        limits=[
            "The way to Telegram and back: with a reply time of 200 ms, the 16 senders still fill the rate.",
            "Taps that arrive meanwhile: their feedback goes first and takes from the same rate.",
        ],
    )


def _ways(run: Figures) -> list[tuple[str, Figures]]:
    hangs = [("flow, model hangs", run["model_hangs"])] if "model_hangs" in run else []  # older figures have none
    return [("flow", run["flow"]), *hangs, ("plain loop", run["plain"])]


def _requests_to_the_model(figures: Figures) -> int:
    hanging = [run["model_hangs"] for run in figures["runs"] if "model_hangs" in run]
    return sum(run["requests_to_the_model"] for run in hanging)


def _times(figures: Figures) -> Table:
    rows = []
    for run in figures["runs"]:
        limit = run["at_the_limit_seconds"]
        for name, one in _ways(run):
            compared = one["seconds"] / run["plain"]["seconds"]
            rows.append(
                [
                    plain(run["learners"]),
                    name,
                    f"{one['first_seconds']:.1f}",
                    f"{one['seconds']:.1f}",
                    f"**{one['seconds'] / limit:.2f}**",
                    f"**{compared:.2f}**" if one is not run["plain"] else "",
                    f"{one['per_second']:g}",
                    *(str(one[count]) for count in ("most_in_a_second", "too_many_requests", "duplicates", "missing")),
                ]
            )
    columns = ["learners", "sent by", "first, s", "last, s", "last / limit's own time", "/ plain loop", "a second"]
    return Table(
        "From the call to the first and to the last message",
        [*columns, "most in 1 s", "429", "duplicates", "missing"],
        rows,
    )


def _costs(figures: Figures) -> Table:
    rows = [
        [
            plain(run["learners"]),
            name,
            " + ".join(plain(one["runs"][flow]) for flow in FLOWS),
            plain(one["runs"]["completed"]),
            f"{one['client_cpu_ms']:.1f}",
            f"{one['prefect_cpu_ms']:.1f}",
            f"{one['prefect_cpu_ms_without_idle']:.1f}",
        ]
        for run in figures["runs"]
        for name, one in _ways(run)
    ]
    columns = ["learners", "sent by", "flow runs", "completed", "client", "Prefect server", "the same, less idling"]
    return Table("CPU milliseconds for one learner", columns, rows)
