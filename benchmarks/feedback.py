"""From a learner's tap to the feedback in the chat: idle and under load, with the Prefect server and without it."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.ground import Ground, Say, Simulator, Started, cpu_seconds, open_ground
from benchmarks.load import Connection, format_request
from benchmarks.numbers import Figures
from benchmarks.people import give_questions, preparing, register
from benchmarks.section import Section, Table, plain
from benchmarks.watch import SimulatorClient, count_runs, read_metrics
from bot.callbacks import AnswerTap
from domain.catalog import OPTION_COUNT
from domain.models import Quiz

TELEGRAM_RATE = 30
"""Messages and edits a second that Telegram takes from one bot; the simulator refuses more."""

WARM_UP = 3
PAUSE_SECONDS = 0.3
LOOK_SECONDS = 0.05
FEEDBACK_WITHIN = 120.0
"""How long to wait for the last feedback before saying that it is missing."""

BREAKER_SECONDS = 7.0
"""A little more than the worker takes from one look at the Prefect server to the next."""

CONNECTIONS = 8
FLOW = "grade_answers"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    idle_taps: int
    rates: tuple[int, ...]
    """Answers a second under load."""
    seconds: float
    """How long each load lasts."""

    @property
    def loads(self) -> list[tuple[int, int]]:
        """Return answers a second and how many answers that makes."""
        return [(rate, round(rate * self.seconds)) for rate in self.rates]

    @property
    def answers(self) -> int:
        """Return how many learners answer, with Prefect or without."""
        return WARM_UP + self.idle_taps + sum(answers for _, answers in self.loads)


FULL = Size(idle_taps=40, rates=(15, 30), seconds=60)
QUICK = Size(idle_taps=2, rates=(10,), seconds=1)


@dataclass(frozen=True, slots=True)
class Mode:
    """The service, with the Prefect server or without it."""

    name: str
    simulator: Simulator
    worker: Started
    worker_metrics: int
    prefect: Started | None
    prefect_api: str | None


class Taps:
    """Lets learners answer, each their own question, once."""

    def __init__(self, simulator: Simulator, quizzes: list[Quiz]) -> None:
        """Take who answers what.

        Args:
            simulator: where the chats are.
            quizzes: one a learner, not answered.
        """
        self._simulator = simulator
        self._quizzes = quizzes
        self._rng = random.Random(11)
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        self.tapped_at: dict[int, float] = {}
        """Seconds since the epoch, by message."""

    async def open(self) -> None:
        """Connect to the simulator."""
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await Connection.open(self._simulator.port))

    def close(self) -> None:
        """Disconnect."""
        while not self._free.empty():
            self._free.get_nowait().close()

    async def tap(self) -> None:
        """Let the next learner tap a button."""
        quiz = self._quizzes.pop()
        connection = await self._free.get()
        place = self._rng.randrange(OPTION_COUNT)
        body = {"message_id": quiz.message_id, "data": AnswerTap(quiz.id, place).pack()}
        self.tapped_at[quiz.message_id or 0] = time.time()
        status, answer = await connection.ask(
            format_request(f"/api/learners/{quiz.learner_id}/taps", json.dumps(body).encode())
        )
        self._free.put_nowait(connection)
        if status != httpx.codes.CREATED:
            msg = f"the simulator refused a tap: {status} {answer[:200]!r}"
            raise RuntimeError(msg)

    async def tap_at_rate(self, rate: float, count: int) -> float:
        """Let learners tap, evenly spaced, whether or not earlier ones have their feedback.

        Args:
            rate: taps a second.
            count: how many.

        Returns:
            By how many seconds the latest tap came late.
        """
        began, late = time.perf_counter(), 0.0
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                delay = began + number / rate - time.perf_counter()
                late = max(late, -delay)
                await asyncio.sleep(max(0.0, delay))
                group.create_task(self.tap())
        return late


# ---------------------------------------------------------------- measuring


async def measure(size: Size, say: Say) -> Figures:
    """Measure with the Prefect server, then without it, on the same database.

    Args:
        size: how much to measure.
        say: shows progress.
    """
    with open_ground() as ground:
        say("starting PostgreSQL, Valkey and the simulator, and giving every learner a question")
        quizzes = await _prepare(ground, 2 * size.answers, say)
        simulator = ground.start_simulator(rate=TELEGRAM_RATE, chat_rate=1)
        say("starting the Prefect server, the bot and the worker")
        prefect = ground.start_prefect()
        _, bot_port = ground.start_bot()
        worker, metrics_port = ground.start_worker(bot_port)
        api = ground.environment["PREFECT_API_URL"]
        async with httpx.AsyncClient(timeout=30) as client:
            await _wait_for_breaker(client, metrics_port, away=0)
            mode = Mode("with Prefect", simulator, worker, metrics_port, prefect, api)
            with_prefect = await _measure_mode(mode, client, quizzes[: size.answers], size, say)
            say("stopping the Prefect server")
            await asyncio.to_thread(prefect.stop)
            await _wait_for_breaker(client, metrics_port, away=1)
            mode = Mode("Prefect away", simulator, worker, metrics_port, None, None)
            without = await _measure_mode(mode, client, quizzes[size.answers :], size, say)
        return {"seconds_of_load": size.seconds, "telegram_rate": TELEGRAM_RATE, "modes": [with_prefect, without]}


async def _wait_for_breaker(client: httpx.AsyncClient, port: int, *, away: int) -> None:
    """Return when the worker knows whether the Prefect server answers."""
    await asyncio.sleep(BREAKER_SECONDS)  # the gauge begins at 0, before the worker has looked for the first time
    end = time.monotonic() + FEEDBACK_WITHIN
    while (await read_metrics(client, port))["quiz_prefect_away"] != away:
        if time.monotonic() > end:
            raise RuntimeError("the worker does not notice that the Prefect server came or went")
        await asyncio.sleep(0.5)


async def _prepare(ground: Ground, count: int, say: Say) -> list[Quiz]:
    """Put a question into each chat through a simulator without limits; the next one finds the chats again."""
    ground.start_postgres()
    ground.start_valkey()
    simulator = ground.start_simulator(rate=0, chat_rate=0)
    async with preparing(ground) as wiring:
        quizzes = await give_questions(wiring, await register(simulator, wiring, count), say)
    simulator.started.stop()
    return quizzes


async def _measure_mode(mode: Mode, client: httpx.AsyncClient, quizzes: list[Quiz], size: Size, say: Say) -> Figures:
    taps, watch = Taps(mode.simulator, quizzes), SimulatorClient(mode.simulator, client)
    phase = Phase(mode, client, taps, watch)
    await taps.open()
    try:
        await watch.reset_statistics()
        await phase.one_by_one(WARM_UP)
        say(f"{mode.name}: {size.idle_taps} taps, one at a time")
        phases = [await phase.measure("one at a time", phase.one_by_one(size.idle_taps))]
        for rate, count in size.loads:
            say(f"{mode.name}: {rate} answers a second for {size.seconds:g} s")
            phases.append(await phase.measure(f"{rate} a second", phase.flood(rate, count)))
    finally:
        taps.close()
    return {"name": mode.name, "phases": phases}


class Phase:
    """One kind of load on the service in one mode, and what it did."""

    def __init__(self, mode: Mode, client: httpx.AsyncClient, taps: Taps, watch: SimulatorClient) -> None:
        """Take whom to load and whom to ask.

        Args:
            mode: the running service.
            client: what asks.
            taps: the learners.
            watch: the simulator.
        """
        self._mode = mode
        self._client = client
        self._taps = taps
        self._watch = watch

    async def one_by_one(self, count: int) -> float:
        """Let a learner tap as soon as the one before has the feedback.

        Args:
            count: how many taps.

        Returns:
            0: nobody is late.
        """
        for done in range(1, count + 1):
            await self._taps.tap()
            await self._wait_for_feedback(done, LOOK_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)
        return 0.0

    async def flood(self, rate: int, count: int) -> float:
        """Let learners tap at a rate, and wait for the last feedback.

        Args:
            rate: taps a second.
            count: how many.

        Returns:
            By how many seconds the latest tap came late.
        """
        late = await self._taps.tap_at_rate(rate, count)
        await self._wait_for_feedback(count, LOOK_SECONDS * 10)
        return late

    async def _wait_for_feedback(self, count: int, pause: float) -> None:
        end = time.monotonic() + FEEDBACK_WITHIN
        while (told := (await self._watch.statistics())["tap_to_edit_seconds"]["count"]) < count:
            if time.monotonic() > end:
                msg = f"{count} learners tapped, and only {told} have their feedback"
                raise RuntimeError(msg)
            await asyncio.sleep(pause)

    async def measure(self, load: str, driving: Coroutine[Any, Any, float]) -> Figures:
        """Drive, and return what happened meanwhile.

        Args:
            load: its name.
            driving: `one_by_one` or `flood`, not yet started.
        """
        await self._watch.reset_statistics()
        self._taps.tapped_at.clear()
        before = await self._read_counters()
        late = await driving
        after = await self._read_counters()
        seen = await self._watch.statistics()
        change = {name: after[name] - before[name] for name in after}
        answers, batches = change["answers"], change["batches"]
        if (change["runs"] > 0) != (self._mode.prefect is not None):
            msg = f"{self._mode.name}: {change['runs']:.0f} flow runs graded the answers"
            raise RuntimeError(msg)
        return {
            "load": load,
            "tap_to_feedback_ms": _in_ms(seen["tap_to_edit_seconds"]),
            "tap_to_acknowledgement_ms": _in_ms(seen["tap_to_answer_seconds"]),
            "first_and_last_quarter_ms": await self._quarters(),
            "too_many_requests": seen["too_many_requests"],
            "without_feedback": seen["taps_without_edit"],
            "answers_a_batch": round(answers / batches, 1),
            "flow_runs": round(change["runs"]),
            "worker_cpu_ms": round(1000 * change["worker_cpu"] / answers, 1),
            "prefect_cpu_ms": round(1000 * change["prefect_cpu"] / answers, 1),
            "driver_late_ms": round(1000 * late, 1),
        }

    async def _read_counters(self) -> dict[str, float]:
        mode = self._mode
        metrics = await read_metrics(self._client, mode.worker_metrics)
        return {
            "batches": metrics["quiz_grading_batch_answers_count"],
            "answers": metrics["quiz_grading_batch_answers_sum"],
            "runs": await count_runs(self._client, mode.prefect_api, FLOW) if mode.prefect_api else 0,
            "worker_cpu": cpu_seconds(mode.worker.pid),
            "prefect_cpu": cpu_seconds(mode.prefect.pid) if mode.prefect else 0.0,
        }

    async def _quarters(self) -> list[float]:
        """Return the median latency of the first and of the last quarter of the taps: a backlog shows as a rise."""
        edited_at = {
            int(request["values"]["message_id"]): request["at"]
            for request in await self._watch.requests("editmessagetext")
            if request["status"] == httpx.codes.OK
        }
        in_order = sorted(self._taps.tapped_at.items(), key=lambda tapped: tapped[1])
        latencies = [edited_at[message_id] - at for message_id, at in in_order if message_id in edited_at]
        quarter = max(1, len(latencies) // 4)
        return [round(1000 * statistics.median(part), 1) for part in (latencies[:quarter], latencies[-quarter:])]


def _in_ms(seconds: dict[str, float]) -> Figures:
    return {name: value if name == "count" else round(1000 * value, 1) for name, value in seconds.items()}


# ---------------------------------------------------------------- presenting


def present(figures: Figures) -> Section:
    """Show the figures.

    Args:
        figures: what `measure` returned, or its like out of JSON.
    """
    return Section(
        title="Feedback: from a tap to the grade in the chat",
        about=(
            "From the tap on a question's button in the simulator to the edit of that message, measured by the "
            "simulator. Everything is real and in processes of its own: simulator, webhook, PostgreSQL, Valkey, "
            "worker and Prefect server. *One at a time*: a learner taps when the one before has the feedback. Under "
            f"load, learners tap evenly spaced for {figures['seconds_of_load']:g} s, each their own question, whether "
            "or not earlier ones have been answered. The same once more, with the same worker, after the Prefect "
            "server was stopped: then it grades without flow runs."
        ),
        tables=[_latencies(figures), _costs(figures)],
        notes=[
            (
                f"Feedback is an edit, and edits count against Telegram's {figures['telegram_rate']} messages a second "
                "of one bot, so that many answers a second are all that any bot can give feedback to. At exactly that "
                "rate every slot that is not used is lost, and what waits then can only wait."
            ),
            (
                "A learner sees the toast that acknowledges the tap long before the feedback: it comes with the answer "
                "to the webhook's request."
            ),
            (
                "Answers are graded in micro-batches: the greater the load, the more answers share a flow run, and the "
                "less one of them costs."
            ),
        ],
        limits=[
            "The way to Telegram and back, some tens of milliseconds each.",
            "Taps that come in bursts rather than evenly; several workers.",
            "All processes share the machine's cores with each other and with what makes the load.",
        ],
    )


def _phases(figures: Figures) -> list[tuple[Figures, Figures]]:
    """Return each phase with the same phase without Prefect."""
    ours, away = figures["modes"]
    return list(zip(ours["phases"], away["phases"], strict=True))


def _latencies(figures: Figures) -> Table:
    rows = []
    for pair in _phases(figures):
        compared = pair[0]["tap_to_feedback_ms"]["p50"] / pair[1]["tap_to_feedback_ms"]["p50"]
        for mode, phase in zip(figures["modes"], pair, strict=True):
            told, acknowledged = phase["tap_to_feedback_ms"], phase["tap_to_acknowledgement_ms"]
            first, last = phase["first_and_last_quarter_ms"]
            rows.append(
                [
                    phase["load"],
                    mode["name"],
                    plain(told["count"]),
                    *(plain(told[share]) for share in ("p50", "p95", "p99")),
                    f"**{compared:.1f}**" if phase is pair[0] else "",
                    f"{plain(first)} → {plain(last)}",
                    plain(acknowledged["p50"]),
                    str(phase["too_many_requests"]),
                ]
            )
    return Table(
        "Milliseconds from tap to feedback",
        [
            *("answers", "service", "taps", "p50", "p95", "p99", "p50, with / without"),
            *("p50, first → last quarter", "to the toast, p50", "429"),
        ],
        rows,
    )


def _costs(figures: Figures) -> Table:
    rows = [
        [
            phase["load"],
            mode["name"],
            f"{phase['answers_a_batch']:g}",
            plain(phase["flow_runs"]),
            f"{phase['worker_cpu_ms']:.0f}",
            f"{phase['prefect_cpu_ms']:.0f}" if phase["flow_runs"] else "–",
        ]
        for pair in _phases(figures)
        for mode, phase in zip(figures["modes"], pair, strict=True)
    ]
    columns = ["answers", "service", "answers a batch", "flow runs", "worker CPU ms", "Prefect server CPU ms"]
    return Table("What one answer costs, with what idles in between", columns, rows)
