"""The daily distribution to ten thousand learners: at Telegram's rate while others tap, and as fast as can be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from dev.benchmarks.distribution import COUNTS, TELEGRAM_RATE, DistributionBench, due_learners, open_bench, send
from dev.benchmarks.feedback import Taps
from dev.benchmarks.numbers import Figures
from dev.benchmarks.people import FAST, UNPACED, give_questions, preparing, register
from dev.benchmarks.section import Section, Table, plain
from dev.probes import SimulatorClient
from dev.stack import Say
from domain.ids import LearnerId
from domain.models import Quiz

WAYS = ("flow", "functions", "plain")
"""In this order: the plain loop sends the latest daily quizzes once more."""

FEEDBACK_SECONDS = 30.0
"""After the distribution, for feedback that is still under way."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    learners: int
    taps_per_second: float
    taps: int
    """By learners who have a question already; they tap while the distribution is at work."""
    idle_seconds: float


FULL = Size(learners=10_000, taps_per_second=0.5, taps=150, idle_seconds=10)
QUICK = Size(learners=60, taps_per_second=2, taps=2, idle_seconds=1)


async def measure(size: Size, say: Say) -> Figures:
    """Distribute without a limit in three ways, then at Telegram's rate while learners tap."""
    async with open_bench(say, rate=0, chat_rate=0, idle_seconds=size.idle_seconds) as bench:
        unlimited = await _unlimited(bench, size)
        limited = await _limited(bench, size)
        return {"learners": size.learners, "telegram_rate": TELEGRAM_RATE, "unlimited": unlimited, "limited": limited}


async def _unlimited(bench: DistributionBench, size: Size) -> Figures:
    figures: Figures = {}
    learner_ids: list[LearnerId] = []
    for way in WAYS:
        if way != "plain":
            learner_ids = await due_learners(bench, size.learners)
        figures[way] = await send(bench, way, learner_ids, FAST)
    return figures


async def _limited(bench: DistributionBench, size: Size) -> Figures:
    """Prepare without a limit, then distribute under one with a simulator that finds the same chats."""
    async with preparing(bench.stack) as runtime:
        quizzes = await give_questions(runtime, await register(bench.simulator, runtime, size.taps), bench.say)
    learner_ids = await due_learners(bench, size.learners)
    bench.simulator.stop()
    simulator = bench.stack.start_telegram(rate=TELEGRAM_RATE, chat_rate=1)
    bench = replace(bench, simulator=simulator, watch=SimulatorClient(simulator, bench.client))
    bench.say("starting the bot and the worker")
    bench.stack.start_worker(bench.stack.start_bot())
    tapping = asyncio.create_task(_tap(bench, quizzes, size))
    figures = await send(bench, "flow", learner_ids)
    late = await tapping
    told = await _feedback(bench, size.taps)
    edits = told["tap_to_edit_seconds"]["count"]
    return figures | {
        "at_the_limit_seconds": round((figures["sent"] + edits) / TELEGRAM_RATE, 1),
        "taps": size.taps,
        "edits": edits,
        "tap_to_feedback_seconds": told["tap_to_edit_seconds"],
        "too_many_requests": told["too_many_requests"],
        "driver_late_seconds": round(late, 2),
    }


async def _tap(bench: DistributionBench, quizzes: list[Quiz], size: Size) -> float:
    """Let learners tap, evenly spaced, once the distribution sends; return by how many seconds the latest came late."""
    while not (await bench.watch.statistics())["messages_sent"]:  # noqa: ASYNC110 - asked over HTTP
        await asyncio.sleep(0.5)
    taps = Taps(bench.simulator, quizzes)
    await taps.open()
    try:
        return await taps.tap_at_rate(size.taps_per_second, size.taps)
    finally:
        taps.close()


async def _feedback(bench: DistributionBench, taps: int) -> Figures:
    """Return the simulator's statistics once every tap has its feedback."""
    async with asyncio.timeout(FEEDBACK_SECONDS):
        while (told := await bench.watch.statistics())["tap_to_edit_seconds"]["count"] < taps:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.5)
    return told


def present(figures: Figures) -> Section:
    """Show the figures."""
    limited, learners = figures["limited"], plain(figures["learners"])
    return Section(
        title=f"Large distribution: {learners} learners",
        about=(
            f"`distribute_daily_quizzes()` for {learners} learners who are due, in a process of its own, with "
            "PostgreSQL, Valkey, the Prefect server and the simulator on the same cores. First without a limit at the "
            f"simulator and with the limiter at {UNPACED:g} a second, which the machine does not reach: the flow, the "
            "same functions in the same cohorts without Prefect, and the plain loop, which reads and writes nothing. "
            f"Then at Telegram's {figures['telegram_rate']} a second, while {limited['taps']} other learners tap, "
            "with bot and worker running as well."
        ),
        tables=[_speeds(figures), _costs(figures), _at_the_limit(figures)],
        notes=[
            (
                f"Prefect's own cost, the flow's beside the functions', in the client and in the server less idling: "
                f"**{prefect_cost(figures):.1f} ms of CPU a learner**."
            ),
            (
                "At the limit: edits count against the rate as messages do, so the limit's own time is that of "
                "messages and feedback together. Who taps meanwhile goes first: the worker asks for a slot of its own, "
                "and a broadcast takes none that an answer waits for."
            ),
        ],
        limits=["The way to Telegram and back.", "Several workers, and cohorts on several machines."],
    )


def prefect_cost(figures: Figures) -> float:
    """Return what Prefect itself costs for a learner, in CPU milliseconds of client and server together."""
    flow, functions = figures["unlimited"]["flow"], figures["unlimited"]["functions"]
    return float(flow["client_cpu_ms"] - functions["client_cpu_ms"] + flow["prefect_cpu_ms_without_idle"])


def _speeds(figures: Figures) -> Table:
    ways = figures["unlimited"]
    rows = [
        [
            way,
            plain(ways[way]["sent"]),
            f"{ways[way]['seconds']:.1f}",
            f"{ways[way]['per_second']:g}",
            f"**{ways[way]['per_second'] / figures['telegram_rate']:.1f}**",
            f"{ways[way]['per_second'] / ways['plain']['per_second']:.2f}",
            *(str(ways[way][count]) for count in ("too_many_requests", "duplicates", "missing")),
        ]
        for way in WAYS
    ]
    columns = ["sent by", "messages", "last, s", "a second", "/ Telegram's rate", "/ plain"]
    return Table("Without a limit", [*columns, "429", "duplicates", "missing"], rows)


def _costs(figures: Figures) -> Table:
    rows = []
    for way in WAYS:
        one = figures["unlimited"][way]
        server, others = one["prefect_cpu_ms_without_idle"], one["others_cpu_ms"]
        total = one["client_cpu_ms"] + server + sum(others.values())
        cells = [one["client_cpu_ms"], server, others["PostgreSQL"], others["simulator"], total]
        rows.append([way, *(f"{cell:.1f}" for cell in cells)])
    columns = ["sent by", "sender", "Prefect server, less idling", "PostgreSQL", "simulator", "together"]
    return Table("Where the time goes without a limit: CPU milliseconds for one learner", columns, rows)


def _at_the_limit(figures: Figures) -> Table:
    one = figures["limited"]
    told = one["tap_to_feedback_seconds"]
    row = [
        plain(one["sent"]),
        str(one["edits"]),
        f"{one['at_the_limit_seconds']:.1f}",
        f"{one['seconds']:.1f}",
        f"**{one['seconds'] / one['at_the_limit_seconds']:.3f}**",
        *(str(one.get(count, "–")) for count in COUNTS),
        *(f"{told[share]:.2f}" for share in ("p50", "p95", "max")),
    ]
    columns = ["messages", "edits", "limit's own time, s", "last message, s", "/ limit's own time"]
    columns += ["most in any second", "429"]
    more = ["duplicates", "missing", "tap to feedback p50, s", "p95, s", "longest, s"]
    return Table("At Telegram's rate, while others tap", [*columns, *more], [row])
