"""What Prefect's database grows by: while nothing happens, with each answer, and with each distribution."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import httpx

from dev.benchmarks.feedback import Taps
from dev.benchmarks.numbers import Figures
from dev.benchmarks.people import FAST, give_questions, preparing, register
from dev.benchmarks.runs import ENDED, ENDED_WITHIN
from dev.benchmarks.section import Section, Table, plain
from dev.probes import count_runs, start_distribution
from dev.stack import Say, open_ground

SETTLE_SECONDS = 15.0
"""For windows to close, and for the server to write what it was told of."""

ALONE_SECONDS = 7.0
"""From one answer to the next, so that each has a window of its own."""

RATE = 10
"""Answers a second under load."""

TABLES_SHOWN = 6
HOUR = 3600
DAY_DISTRIBUTIONS = 96
"""One each quarter of an hour."""

KILOBYTE, MEGABYTE = 1000, 1_000_000
_SIZE = "SELECT pg_database_size(current_database())"
_TABLES = "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT $1"
_DUE = "UPDATE learners SET next_daily_at = now() - interval '1 minute'"
_GRADED = "SELECT count(*) FROM answers"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    idle_seconds: float
    alone: int
    """Answers, each by itself."""
    answers: int
    """One right after another, and the learners of the distribution."""
    empty: int
    """Distributions that find nobody."""


FULL = Size(idle_seconds=300, alone=30, answers=1_000, empty=4)
QUICK = Size(idle_seconds=1, alone=1, answers=10, empty=1)


async def measure(size: Size, say: Say) -> Figures:
    """Do one thing after another, and look at the database before and after each."""
    with open_ground() as stack:
        say("starting PostgreSQL, Valkey and the simulator, and giving every learner a question")
        stack.start_storage()
        simulator = stack.start_telegram()
        async with preparing(stack) as runtime:
            learners = await register(simulator, runtime, size.alone + size.answers)
            quizzes = await give_questions(runtime, learners, say)
        stack.environment |= FAST | {"DISTRIBUTION_INTERVAL_MINUTES": "60"}
        say("starting the Prefect server and every role")
        stack.start_prefect()
        stack.start_worker(stack.start_bot())
        stack.start(stack.role("prefect"))
        taps = Taps(simulator, quizzes)
        await taps.open()
        quiz = await asyncpg.connect(stack.environment["DATABASE_URL"])
        prefect = await asyncpg.connect(stack.database_url("prefect"))
        try:
            async with httpx.AsyncClient(timeout=60) as client:
                growth = _Growth(client, stack.environment["PREFECT_API_URL"], quiz, prefect, taps, say)
                return await growth.measure(size)
        finally:
            taps.close()
            await quiz.close()
            await prefect.close()


class _Growth:
    """Does what is measured."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        api: str,
        quiz: asyncpg.Connection[asyncpg.Record],
        prefect: asyncpg.Connection[asyncpg.Record],
        taps: Taps,
        say: Say,
    ) -> None:
        self._client = client
        self._api = api
        self._quiz = quiz
        self._prefect = prefect
        self._taps = taps
        self._say = say

    async def measure(self, size: Size) -> Figures:
        while not await count_runs(self._client, self._api, "grade_answers", "RUNNING"):  # noqa: ASYNC110
            await asyncio.sleep(1)
        await self._distribute()  # the first makes tables and indexes grow by what they never do again
        figures: Figures = {
            "idle": {"seconds": size.idle_seconds + SETTLE_SECONDS}
            | await self._over("nothing", lambda: asyncio.sleep(size.idle_seconds)),
            "alone": {"answers": size.alone} | await self._over("lone answers", lambda: self._answer_alone(size.alone)),
            "together": {"answers": size.answers, "rate": RATE}
            | await self._over("answers", lambda: self._answer_together(size.answers)),
            "empty": {"distributions": size.empty}
            | await self._over("empty distributions", lambda: self._distribute(size.empty)),
        }
        learners = await self._quiz.fetchval("SELECT count(*) FROM learners")
        await self._quiz.execute(_DUE)
        figures["distribution"] = {"learners": learners} | await self._over("a distribution", self._distribute)
        figures["total_bytes"] = await self._prefect.fetchval(_SIZE)
        figures["tables"] = {row[0]: row[1] for row in await self._prefect.fetch(_TABLES, TABLES_SHOWN)}
        return figures

    async def _over(self, what: str, work: Callable[[], Awaitable[object]]) -> Figures:
        before = await self._prefect.fetchval(_SIZE)
        await work()
        await asyncio.sleep(SETTLE_SECONDS)
        grown = await self._prefect.fetchval(_SIZE) - before
        self._say(f"{what}: {grown / KILOBYTE:,.0f} KB")
        return {"bytes": grown}

    async def _answer_alone(self, count: int) -> None:
        for _ in range(count):
            await self._taps.tap()
            await asyncio.sleep(ALONE_SECONDS)

    async def _answer_together(self, count: int) -> None:
        wanted = await self._quiz.fetchval(_GRADED) + count
        await self._taps.tap_at_rate(RATE, count)
        async with asyncio.timeout(ENDED_WITHIN):
            while await self._quiz.fetchval(_GRADED) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(1)

    async def _distribute(self, count: int = 1) -> None:
        for _ in range(count):
            run = await start_distribution(self._client, self._api)
            async with asyncio.timeout(ENDED_WITHIN):
                while await self._state_of(run) not in ENDED:  # noqa: ASYNC110
                    await asyncio.sleep(1)

    async def _state_of(self, run: str) -> str:
        reply = await self._client.get(f"{self._api}/flow_runs/{run}")
        return str(reply.raise_for_status().json()["state_type"])


def present(figures: Figures) -> Section:
    """Show the figures."""
    idle = figures["idle"]["bytes"] / figures["idle"]["seconds"] * HOUR
    alone = figures["alone"]["bytes"] / figures["alone"]["answers"]
    empty = figures["empty"]["bytes"] / figures["empty"]["distributions"]
    together, served = figures["together"], figures["distribution"]
    burst = f"{plain(together['answers'])} answers, {together['rate']} a second"
    day = 24 * idle + DAY_DISTRIBUTIONS * empty
    rows = [
        ["an hour in which nothing happens", f"{idle / MEGABYTE:.1f} MB"],
        ["an answer by itself", f"{alone / KILOBYTE:.0f} KB"],
        [burst, f"{together['bytes'] / MEGABYTE:.1f} MB"],
        ["a distribution that finds nobody", f"{empty / KILOBYTE:.0f} KB"],
        [f"a distribution to {plain(served['learners'])} learners", f"{served['bytes'] / MEGABYTE:.1f} MB"],
        [f"a day with {DAY_DISTRIBUTIONS} of these distributions that find nobody", f"{day / MEGABYTE:.0f} MB"],
    ]
    tables = [[name, f"{size / MEGABYTE:.1f}"] for name, size in figures["tables"].items()]
    return Section(
        title="Growth of Prefect's database",
        about=(
            "Every role at work, and `pg_database_size` before and after each of these. Answers are shown by the "
            "standing run: an answer by itself has a task run of its own, those that come together share them."
        ),
        tables=[
            Table("What it grows by", ["what happens", "growth"], rows),
            Table("Where it is in the end", ["table", "MB with its indexes"], tables),
        ],
        notes=["Runs, their states and events are deleted seven days after their end; the space is used again."],
        limits=["Space that PostgreSQL has freed and not yet used again counts as well."],
    )
