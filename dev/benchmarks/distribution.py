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

from dev.benchmarks.numbers import Figures
from dev.benchmarks.people import preparing, register
from dev.benchmarks.section import Section, Table, plain
from dev.hanging_model import hanging_model
from dev.probes import SimulatorClient, count_runs
from dev.stack import Say, ServerStack, cpu_seconds, open_ground
from domain.ids import LearnerId
from local.supervisor import Program

TELEGRAM_RATE = 30
SETTLE_SECONDS = 3.0
"""After the last message, before the Prefect server's CPU time is read: it still writes events."""

POLL_SECONDS = 5.0
MAX_SECONDS = 600.0
COUNTS = ("most_in_any_second", "too_many_requests", "duplicates", "missing")
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
class DistributionBench:
    """What a distribution runs on."""

    stack: ServerStack
    simulator: Program
    prefect: Program
    watch: SimulatorClient
    client: httpx.AsyncClient
    say: Say
    idle: float
    """Share of a core that the Prefect server takes when nothing runs."""

    @property
    def api(self) -> str:
        """Return the Prefect server's address."""
        return self.stack.environment["PREFECT_API_URL"]

    def others_cpu(self) -> dict[str, float]:
        """Return the CPU seconds that the servers beside Prefect's have used."""
        pids = {"PostgreSQL": self.stack.postgres_pid, "simulator": self.simulator.pid}
        return {name: cpu_seconds(pid) for name, pid in pids.items()}


async def measure(size: Size, say: Say) -> Figures:
    """Distribute to so many learners, then send the same in a plain loop."""
    async with open_bench(say, rate=TELEGRAM_RATE, chat_rate=1, idle_seconds=size.idle_seconds) as bench:
        runs = [await _compare(bench, learners) for learners in size.learners]
        return {"telegram_rate": TELEGRAM_RATE, "prefect_idle_share_of_a_core": round(bench.idle, 3), "runs": runs}


@asynccontextmanager
async def open_bench(
    say: Say, *, rate: float, chat_rate: float, idle_seconds: float
) -> AsyncIterator[DistributionBench]:
    """Yield what a distribution runs on, all of it started; the simulator's rates are a second, 0 for no limit."""
    with open_ground() as stack:
        say("starting PostgreSQL, Valkey, the simulator and the Prefect server")
        stack.start_storage()
        simulator = stack.start_telegram(rate=rate, chat_rate=chat_rate)
        prefect = stack.start_prefect()
        async with httpx.AsyncClient(timeout=60) as client:
            idle = await _idle_share(prefect, idle_seconds)
            yield DistributionBench(stack, simulator, prefect, SimulatorClient(simulator, client), client, say, idle)


async def _idle_share(prefect: Program, seconds: float) -> float:
    """Return the part of a core that the Prefect server takes when nothing runs."""
    await asyncio.sleep(SETTLE_SECONDS)
    before = cpu_seconds(prefect.pid)
    await asyncio.sleep(seconds)
    return (cpu_seconds(prefect.pid) - before) / seconds


async def _compare(bench: DistributionBench, count: int) -> Figures:
    learner_ids = await due_learners(bench, count)
    figures = {
        "learners": count,
        "at_the_limit_seconds": round(count / TELEGRAM_RATE, 2),
        "flow": await send(bench, "flow", learner_ids),
        "plain": await send(bench, "plain", learner_ids),
    }
    others = await due_learners(bench, count)
    async with hanging_model() as model:
        hanging = await send(bench, "model-hangs", others, model.environment)
        return figures | {"model_hangs": hanging | {"requests_to_the_model": model.connections}}


async def due_learners(bench: DistributionBench, count: int) -> list[LearnerId]:
    """Return learners who are due and have had no daily quiz."""
    async with preparing(bench.stack) as runtime:
        learner_ids = await register(bench.simulator, runtime, count)
    await _make_due(bench, learner_ids)
    return learner_ids


async def _make_due(bench: DistributionBench, learner_ids: Sequence[LearnerId]) -> None:
    connection = await asyncpg.connect(bench.stack.environment["DATABASE_URL"])
    await connection.execute(_MAKE_DUE, list(learner_ids))
    await connection.close()


async def send(
    bench: DistributionBench, kind: str, learner_ids: Sequence[LearnerId], extra: dict[str, str] | None = None
) -> Figures:
    """Let a process of its own send, in a way that `dev.benchmarks.distribute` names, and return what came of it."""
    await bench.watch.reset_statistics()
    runs, server, began = await _count_runs(bench), cpu_seconds(bench.prefect.pid), time.monotonic()
    others = bench.others_cpu()
    told = await _run_sender(bench, kind, len(learner_ids), extra)
    await asyncio.sleep(SETTLE_SECONDS)
    server = cpu_seconds(bench.prefect.pid) - server
    others = {name: seconds - others[name] for name, seconds in bench.others_cpu().items()}
    watched = time.monotonic() - began
    messages = [one for one in await bench.watch.requests("sendmessage") if one["status"] == httpx.codes.OK]
    seen = await bench.watch.statistics()
    chats = Counter(int(message["values"]["chat_id"]) for message in messages)
    after = [message["at"] - told["began"] for message in messages]
    seconds = max(after)
    return {
        "sent": len(messages),
        "start_seconds": round(told["first_line"] - told["process_began"], 2),
        "seconds": round(seconds, 2),
        "from_first_line_seconds": round(seconds - (told["first_line"] - told["began"]), 2),
        "first_seconds": round(min(after), 2),
        "to_the_end_seconds": round(told["ended"] - told["began"], 2),
        "per_second": round(len(messages) / seconds, 1),
        "most_in_any_second": seen["most_in_any_second"],
        "too_many_requests": seen["too_many_requests"],
        "duplicates": sum(chats.values()) - len(chats),
        "missing": len(set(learner_ids) - set(chats)),
        "counts": told["counts"],
        "runs": {name: number - runs[name] for name, number in (await _count_runs(bench)).items()},
        "client_cpu_ms": round(1000 * told["cpu"] / len(learner_ids), 1),
        "prefect_cpu_ms": round(1000 * server / len(learner_ids), 1),
        "prefect_cpu_ms_without_idle": round(1000 * max(0.0, server - bench.idle * watched) / len(learner_ids), 1),
        "others_cpu_ms": {name: round(1000 * seconds / len(learner_ids), 1) for name, seconds in others.items()},
    }


async def _run_sender(bench: DistributionBench, kind: str, count: int, extra: dict[str, str] | None) -> dict[str, Any]:
    path = bench.stack.folder / f"{kind}-{count}.json"
    arguments = ("-m", "dev.benchmarks.distribute", kind, str(count), str(path))
    sender = bench.stack.start_python(kind, *arguments, extra=extra)
    end, look_at = time.monotonic() + max(MAX_SECONDS, 2 * count / TELEGRAM_RATE), 0.0
    while (status := sender.running.poll()) is None and time.monotonic() < end:
        await asyncio.sleep(0.1)
        if time.monotonic() > look_at:
            look_at = time.monotonic() + POLL_SECONDS
            sent = (await bench.watch.statistics())["messages_sent"]
            bench.say(f"{kind}: {sent} of {count} learners have their message")
    if status != 0:
        raise RuntimeError(f"the sender ended with status {status}")
    return dict(json.loads(path.read_text(encoding="utf-8")))


async def _count_runs(bench: DistributionBench) -> dict[str, int]:
    counts = {name: await count_runs(bench.client, bench.api, name) for name in FLOWS}
    completed = [await count_runs(bench.client, bench.api, name, "COMPLETED") for name in FLOWS]
    return counts | {"completed": sum(completed)}


def present(figures: Figures) -> Section:
    """Show the figures."""
    idle = figures["prefect_idle_share_of_a_core"]
    return Section(
        title="Distribution: the daily quiz for everyone who is due",
        about=(
            "`distribute_daily_quizzes()` in a process of its own, with PostgreSQL, Valkey, the Prefect server and the "
            f"simulator, which refuses more than {figures['telegram_rate']} messages a second: from the flow's first "
            "line to the last message in a chat, beside the time that the limit itself takes for so many. What comes "
            "before the first line, the start of the process and of the run, is told apart. A plain asyncio loop sends "
            "the same questions to the same learners through the same library and the same rate limiter, with neither "
            "Prefect nor PostgreSQL."
        ),
        tables=[_times(figures), _costs(figures)],
        notes=[
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


def from_first_line(one: Figures) -> float:
    """Return the seconds from the flow's first line to the last message; from the call in older figures."""
    return float(one["from_first_line_seconds"] if "from_first_line_seconds" in one else one["seconds"])


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
            seconds = from_first_line(one)
            compared = seconds / from_first_line(run["plain"])
            rows.append(
                [
                    plain(run["learners"]),
                    name,
                    f"{one['start_seconds']:.1f}" if "start_seconds" in one else "–",
                    f"{one['first_seconds'] - one['seconds'] + seconds:.1f}",
                    f"{seconds:.1f}",
                    f"**{seconds / limit:.2f}**",
                    f"**{compared:.2f}**" if one is not run["plain"] else "",
                    f"{one['per_second']:g}",
                    *(str(one.get(count, "–")) for count in COUNTS),
                ]
            )
    columns = ["learners", "sent by", "start, s", "first, s", "last, s", "last / limit's own time", "/ plain loop"]
    return Table(
        "From the first line to the first and to the last message",
        [*columns, "a second", "most in any second", "429", "duplicates", "missing"],
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
