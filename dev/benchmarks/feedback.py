"""From a learner's tap to the feedback, and from /quiz to the question, with the Prefect server and without it."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx

from dev.benchmarks.load import Connection
from dev.benchmarks.numbers import Figures
from dev.benchmarks.people import give_questions, preparing, register
from dev.benchmarks.section import Section, Table, plain
from dev.probes import SimulatorClient, count_runs, read_metrics
from dev.stack import Say, ServerStack, cpu_seconds, open_ground
from domain.callbacks import AnswerTap
from domain.catalog import OPTION_COUNT
from domain.ids import LearnerId
from domain.models import Quiz
from local.supervisor import Program

TELEGRAM_RATE = 30
"""Messages and edits a second that Telegram takes from one bot; the simulator refuses more."""

WARM_UP = 3
PAUSE_SECONDS = 0.3
POLL_SECONDS = 0.05
TOLD_WITHIN = 120.0
"""How long to wait for the last reply before saying that it is missing."""

RECORDED_WITHIN = 30.0
FEEDBACK, QUESTION = "tap_to_edit_seconds", "text_to_message_seconds"
"""Among the simulator's statistics."""

BREAKER_SECONDS = 7.0
"""A little more than the worker takes from one look at the Prefect server to the next."""

CONNECTIONS = 8
FLOW = "grade_answers"
SHOWN = ("p50", "p95", "p99")
RATIOS = ("p50", "p95")


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    idle: int
    """Answers, and then requests for a question, one at a time."""
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
        return WARM_UP + self.idle + sum(answers for _, answers in self.loads)


FULL = Size(idle=40, rates=(15, 30), seconds=60)
QUICK = Size(idle=2, rates=(10,), seconds=1)


@dataclass(frozen=True, slots=True)
class Mode:
    """The service, with the Prefect server or without it."""

    name: str
    simulator: Program
    worker: Program
    prefect: Program | None
    prefect_api: str | None


class Taps:
    """Lets learners answer, each their own question, once, and then ask for another."""

    def __init__(self, simulator: Program, quizzes: list[Quiz]) -> None:
        """Take who answers what.

        Args:
            quizzes: one a learner, not answered.
        """
        self._simulator = simulator
        self._quizzes = quizzes
        self._rng = random.Random(11)
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        self.tapped_at: dict[int, float] = {}
        """Seconds since the epoch, by message."""
        self._answered: deque[LearnerId] = deque()

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
        place = self._rng.randrange(OPTION_COUNT)
        body = {"message_id": quiz.message_id, "data": AnswerTap(quiz.id, place).pack()}
        self.tapped_at[quiz.message_id or 0] = time.time()
        await self._post(quiz.learner_id, "taps", body)
        self._answered.append(quiz.learner_id)

    async def ask(self) -> None:
        """Let whoever answered first ask for another question."""
        await self._post(self._answered.popleft(), "messages", {"text": "/quiz"})

    async def _post(self, learner_id: LearnerId, what: str, body: Figures) -> None:
        connection = await self._free.get()
        await connection.act(learner_id, what, body)
        self._free.put_nowait(connection)

    async def tap_at_rate(self, rate: float, count: int) -> float:
        """Let so many learners tap a second, evenly spaced, whether or not earlier ones have their feedback.

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


async def measure(size: Size, say: Say) -> Figures:
    """Measure with the Prefect server, then without it, on the same database."""
    with open_ground() as stack:
        say("starting PostgreSQL, Valkey and the simulator, and giving every learner a question")
        quizzes = await _prepare(stack, 2 * size.answers, say)
        simulator = stack.start_telegram(rate=TELEGRAM_RATE, chat_rate=1)
        say("starting the Prefect server, the bot and the worker")
        prefect = stack.start_prefect()
        worker = stack.start_worker(stack.start_bot())
        api = stack.environment["PREFECT_API_URL"]
        async with httpx.AsyncClient(timeout=30) as client:
            await _wait_for_breaker(client, worker.port, away=0)
            mode = Mode("with Prefect", simulator, worker, prefect, api)
            with_prefect = await _measure_mode(mode, client, quizzes[: size.answers], size, say)
            say("stopping the Prefect server")
            await asyncio.to_thread(prefect.stop)
            await _wait_for_breaker(client, worker.port, away=1)
            mode = Mode("Prefect unavailable", simulator, worker, None, None)
            without = await _measure_mode(mode, client, quizzes[size.answers :], size, say)
        return {"seconds_of_load": size.seconds, "telegram_rate": TELEGRAM_RATE, "modes": [with_prefect, without]}


async def _wait_for_breaker(client: httpx.AsyncClient, port: int, *, away: int) -> None:
    """Return when the worker knows whether the Prefect server answers."""
    await asyncio.sleep(BREAKER_SECONDS)  # the gauge begins at 0, before the worker has looked for the first time
    end = time.monotonic() + TOLD_WITHIN
    while (await read_metrics(client, port))["quiz_prefect_away"] != away:
        if time.monotonic() > end:
            raise RuntimeError("the worker does not notice that the Prefect server came or went")
        await asyncio.sleep(0.5)


async def _prepare(stack: ServerStack, count: int, say: Say) -> list[Quiz]:
    """Put a question into each chat through a simulator without limits; the next one finds the chats again."""
    stack.start_storage()
    simulator = stack.start_telegram()
    async with preparing(stack) as runtime:
        quizzes = await give_questions(runtime, await register(simulator, runtime, count), say)
    simulator.stop()
    return quizzes


async def _measure_mode(mode: Mode, client: httpx.AsyncClient, quizzes: list[Quiz], size: Size, say: Say) -> Figures:
    taps, watch = Taps(mode.simulator, quizzes), SimulatorClient(mode.simulator, client)
    phase = Phase(mode, client, taps, watch)
    await taps.open()
    try:
        await watch.reset_statistics()
        await phase.one_by_one(WARM_UP)
        say(f"{mode.name}: {size.idle} taps and {size.idle} times /quiz, one at a time")
        phases = [await phase.measure("one at a time", phase.one_by_one(size.idle))]
        questions = await phase.measure_questions(size.idle)
        for rate, count in size.loads:
            say(f"{mode.name}: {rate} answers a second for {size.seconds:g} s")
            phases.append(await phase.measure(f"{rate} a second", phase.flood(rate, count)))
        task_runs = await phase.count_task_runs()
    finally:
        taps.close()
    return {"name": mode.name, "phases": phases, "questions": questions, "task_runs": task_runs}


class Phase:
    """One kind of load on the service in one mode, and what it did."""

    def __init__(self, mode: Mode, client: httpx.AsyncClient, taps: Taps, watch: SimulatorClient) -> None:
        self._mode = mode
        self._client = client
        self._taps = taps
        self._watch = watch

    async def one_by_one(self, count: int) -> float:
        """Let a learner tap as soon as the one before has the feedback; return 0, since nobody is late."""
        await self._one_by_one(count, self._taps.tap, FEEDBACK)
        return 0.0

    async def measure_questions(self, count: int) -> Figures:
        """Let a learner ask for a question as soon as the one before has theirs, and return how long each took."""
        for some in (WARM_UP, count):
            await self._watch.reset_statistics()
            await self._one_by_one(some, self._taps.ask, QUESTION)
        seen = await self._watch.statistics()
        return {"quiz_to_question_ms": _in_ms(seen[QUESTION]), "too_many_requests": seen["too_many_requests"]}

    async def count_task_runs(self) -> int:
        """Return how many task runs have graded answers by now, some if there is Prefect."""
        api, found = self._mode.prefect_api, 0
        async with asyncio.timeout(RECORDED_WITHIN):
            while api and not (found := await count_runs(self._client, api, FLOW, kind="task_runs")):  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(POLL_SECONDS * 10)  # the client sends what tasks do after it was done
        return found

    async def _one_by_one(self, count: int, act: Callable[[], Awaitable[None]], counted: str) -> None:
        for done in range(1, count + 1):
            await act()
            await self._wait_until_told(counted, done, POLL_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)

    async def flood(self, rate: int, count: int) -> float:
        """Let learners tap at a rate, and wait for the last feedback; see `Taps.tap_at_rate`."""
        late = await self._taps.tap_at_rate(rate, count)
        await self._wait_until_told(FEEDBACK, count, POLL_SECONDS * 10)
        return late

    async def _wait_until_told(self, counted: str, count: int, pause: float) -> None:
        end = time.monotonic() + TOLD_WITHIN
        while (told := (await self._watch.statistics())[counted]["count"]) < count:
            if time.monotonic() > end:
                raise RuntimeError(f"{count} learners tapped or asked, and only {told} have their reply")
            await asyncio.sleep(pause)

    async def measure(self, load: str, driving: Coroutine[Any, Any, float]) -> Figures:
        """Let `one_by_one` or `flood` drive, and return what happened meanwhile."""
        await self._watch.reset_statistics()
        self._taps.tapped_at.clear()
        before = await self._read_counters()
        late = await driving
        after = await self._read_counters()
        seen = await self._watch.statistics()
        change = {name: after[name] - before[name] for name in after}
        answers, batches = change["answers"], change["batches"]
        return {
            "load": load,
            "tap_to_feedback_ms": _in_ms(seen[FEEDBACK]),
            "tap_to_acknowledgement_ms": _in_ms(seen["tap_to_answer_seconds"]),
            "first_and_last_quarter_ms": await self._quarters(),
            "too_many_requests": seen["too_many_requests"],
            "without_feedback": seen["taps_without_edit"],
            "answers_a_batch": round(answers / batches, 1),
            "flow_runs": round(change["flow_runs"]),
            "task_runs": round(change["task_runs"]),
            "worker_cpu_ms": round(1000 * change["worker_cpu"] / answers, 1),
            "prefect_cpu_ms": round(1000 * change["prefect_cpu"] / answers, 1),
            "driver_late_ms": round(1000 * late, 1),
        }

    async def _read_counters(self) -> dict[str, float]:
        mode = self._mode
        metrics = await read_metrics(self._client, mode.worker.port)
        return {
            "batches": metrics["quiz_grading_batch_answers_count"],
            "answers": metrics["quiz_grading_batch_answers_sum"],
            **{
                kind: await count_runs(self._client, mode.prefect_api, FLOW, kind=kind) if mode.prefect_api else 0
                for kind in ("flow_runs", "task_runs")
            },
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


def present(figures: Figures) -> Section:
    """Show the figures."""
    return Section(
        title="Feedback: from a tap to the grade in the chat",
        about=(
            "From the tap on a question's button in the simulator to the edit of that message, measured by the "
            "simulator. Everything is real and in processes of its own: simulator, webhook, PostgreSQL, Valkey, "
            "worker and Prefect server. *One at a time*: a learner taps when the one before has the feedback, and asks "
            "for a question when the one before has theirs. Under load, learners tap evenly spaced for "
            f"{figures['seconds_of_load']:g} s, each their own question, whether or not earlier ones have been "
            "answered. The same once more, with the same worker, after the Prefect server was stopped: then it works "
            "without flow runs."
        ),
        tables=[_latencies(figures), *_questions(figures), _costs(figures)],
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
                "Answers are graded in micro-batches: the greater the load, the more answers share a run, and the less "
                "one of them costs. Prefect's own cost is all that its server takes, idling included, and what the "
                "worker takes more with it than without it."
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


def phase_ratio(figures: Figures, load: str, share: str) -> float:
    """Return the time to feedback under a load with Prefect as a multiple of that without.

    Raises:
        KeyError: there was no such load.
    """
    phases = {pair[0]["load"]: pair for pair in _phases(figures)}
    ours, away = (phase["tap_to_feedback_ms"][share] for phase in phases[load])
    return float(ours / away)


def question_ratio(figures: Figures, share: str) -> float:
    """Return the time to a question with Prefect as a multiple of that without; see `phase_ratio`."""
    ours, away = (mode["questions"]["quiz_to_question_ms"][share] for mode in figures["modes"])
    return float(ours / away)


def prefect_cost(figures: Figures, load: str) -> float:
    """Return Prefect's CPU milliseconds for one answer: its server's, and the worker's share; see `phase_ratio`."""
    ours, away = {pair[0]["load"]: pair for pair in _phases(figures)}[load]
    return float(ours["prefect_cpu_ms"] + ours["worker_cpu_ms"] - away["worker_cpu_ms"])


def _latencies(figures: Figures) -> Table:
    rows = []
    for pair in _phases(figures):
        for mode, phase in zip(figures["modes"], pair, strict=True):
            told, acknowledged = phase["tap_to_feedback_ms"], phase["tap_to_acknowledgement_ms"]
            first, last = phase["first_and_last_quarter_ms"]
            ratios = [f"**{phase_ratio(figures, phase['load'], share):.1f}**" for share in RATIOS]
            rows.append(
                [
                    phase["load"],
                    mode["name"],
                    plain(told["count"]),
                    *(plain(told[share]) for share in SHOWN),
                    *(ratios if phase is pair[0] else [""] * len(RATIOS)),
                    f"{plain(first)} → {plain(last)}",
                    plain(acknowledged["p50"]),
                    str(phase["too_many_requests"]),
                ]
            )
    columns = ["answers", "service", "taps", *SHOWN, *(f"{share}, with / without" for share in RATIOS)]
    more = ["p50, first → last quarter", "to the toast, p50", "429"]
    return Table("Milliseconds from tap to feedback", [*columns, *more], rows)


def _questions(figures: Figures) -> list[Table]:
    if any("questions" not in mode for mode in figures["modes"]):
        return []  # older figures have none
    rows = []
    for number, mode in enumerate(figures["modes"]):
        told = mode["questions"]["quiz_to_question_ms"]
        ratios = ["" if number else f"**{question_ratio(figures, share):.1f}**" for share in RATIOS]
        beside = [plain(mode["phases"][0]["tap_to_feedback_ms"][share]) for share in RATIOS]
        rows.append([mode["name"], plain(told["count"]), *(plain(told[share]) for share in SHOWN), *ratios, *beside])
    columns = ["service", "asked", *SHOWN, *(f"{share}, with / without" for share in RATIOS)]
    columns += [f"from tap to feedback, {share}" for share in RATIOS]
    return [Table("Milliseconds from /quiz to the question, one at a time", columns, rows)]


def _costs(figures: Figures) -> Table:
    rows = [
        [
            phase["load"],
            mode["name"],
            f"{phase['answers_a_batch']:g}",
            plain(phase["flow_runs"]),
            str(phase.get("task_runs", "–")),
            f"{phase['worker_cpu_ms']:.1f}",
            f"{phase['prefect_cpu_ms']:.1f}" if phase is pair[0] else "–",
            f"**{prefect_cost(figures, phase['load']):.1f}**" if phase is pair[0] else "–",
        ]
        for pair in _phases(figures)
        for mode, phase in zip(figures["modes"], pair, strict=True)
    ]
    columns = ["answers", "service", "answers a batch", "flow runs begun", "task runs", "worker", "Prefect server"]
    return Table(
        "CPU milliseconds that one answer costs, with what idles in between", [*columns, "Prefect's own"], rows
    )
