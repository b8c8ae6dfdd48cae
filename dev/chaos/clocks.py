"""Clocks that jump, and days that are 23 or 25 hours long: a year's changes lived through in some seconds.

The service reads the time in Postgres, so a schema of its own there has a `now()` that can be moved: it hides the real
one from every query, every default and every function of the service. The moment that the use cases are given moves
with it. Learners are due through the service's own queries and get quizzes through its own use cases; only what puts
them into a chat is left out.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import asyncpg
from pydantic import SecretStr

from dev.chaos.drill import Outcome
from dev.chaos.probe import Count
from difficulty_adapter import rules_of
from domain.announcements import Recipient
from domain.catalog import Priority, QuizKind
from domain.ids import BotId, LearnerId
from domain.models import Grade, Quiz, StaleMessage
from domain.settings import Settings
from question_sources.bank_sync import sync_bank
from quiz_generator import make_generator
from quizzes.cohorts import find_due_learners
from quizzes.context import QuizContext
from quizzes.delivery import serve_quizzes
from repository import Repository
from roles.replay.checks import replay
from roles.replay.command import read_records

ZONES = (
    "Europe/Berlin",  # at 02:00 and 03:00
    "America/New_York",  # at 02:00
    "America/Santiago",  # at midnight: a day begins at 01:00
    "Africa/Cairo",  # likewise, and back at midnight: an evening twice
    "Australia/Lord_Howe",  # by half an hour
    "Atlantic/Azores",  # at midnight and 01:00
)
HOURS = (time(0), time(0, 30), time(1, 30), time(2), time(2, 30), time(3), time(10), time(23, 30))
STEP = timedelta(minutes=15)
"""Between two distributions, as by default."""

DAYS_AROUND = 2
JUMPS = (timedelta(), timedelta(hours=3), timedelta(hours=-2), timedelta(hours=20), timedelta(hours=-20))
"""How far a clock jumps for a moment: not at all, ahead, back, and to a wrong day; then it is put right."""

JUMP_EVERY = 23
"""Steps between two jumps."""

_CLOCK = """
CREATE TABLE shift AS SELECT interval '0' AS by;
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE AS
'SELECT pg_catalog.now() + by FROM public.shift';
"""
_MOVE = "UPDATE shift SET by = $1 - pg_catalog.now()"
_MADE = "SELECT learner_id, local_day FROM quizzes WHERE kind = 'daily'"


class Nobody:
    """A chat that takes everything."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def refused(self) -> dict[BotId, str]:
        """Return no bot."""
        return {}

    async def send_question(self, quiz: Quiz, priority: Priority) -> int:  # noqa: ARG002 - the messenger's form
        """Take a question and return a message's id."""
        return next(self._numbers)

    async def send_announcement(self, recipient: Recipient, text: str) -> None:
        """Take an announcement."""

    async def close_message(self, message: StaleMessage) -> None:
        """Take the end of a message."""

    async def send_feedback(self, quiz: Quiz, grade: Grade) -> None:
        """Take feedback."""


@dataclass(slots=True)
class Clock:
    """The time that the service reads, in Postgres and outside."""

    connection: asyncpg.Connection[asyncpg.Record]
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        """Return the moment."""
        return self.moment

    async def move(self, moment: datetime) -> None:
        """Set the time."""
        self.moment = moment
        await self.connection.execute(_MOVE, moment)


async def drill(url: str, settings: Settings, zones: Sequence[str] = ZONES, tamper: str = "") -> Outcome:
    """Live through a year's changes of the clocks in several zones, with jumps in between.

    Args:
        url: of an empty database.
    """
    connection = await asyncpg.connect(url)
    await connection.execute(_CLOCK)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog')
    repository = await Repository.open(settings.model_copy(update={"database_url": SecretStr(url)}))
    try:
        await repository.database.prepare_schema()
        await sync_bank(repository, settings.question_bank_dir)
        if tamper:
            await connection.execute(tamper)
        clock = Clock(connection)
        generator = make_generator(repository, settings)
        context = QuizContext(settings, repository, generator, Nobody(), now=clock.now)
        expected: Counter[tuple[int, date]] = Counter()
        numbers = itertools.count(1)
        for number, (zone, change) in enumerate(changes(datetime.now(UTC), zones)):
            learners = [LearnerId(next(numbers)) for _ in HOURS]
            expected.update(await _live_through(context, clock, zone, change, learners, JUMPS[number % len(JUMPS)]))
        made = Counter((row["learner_id"], row["local_day"]) for row in await connection.fetch(_MADE))
    finally:
        await repository.close()
        await connection.close()
    return _outcome(expected, made, replay(await read_records(url), rules_of(settings), settled=False))


def changes(after: datetime, zones: Sequence[str]) -> Iterator[tuple[str, datetime]]:
    """Yield the changes of the clocks in a year's time, each with its zone."""
    for zone in zones:
        hours = (after.replace(minute=0, second=0, microsecond=0) + timedelta(hours=n) for n in range(366 * 24))
        for earlier, later in itertools.pairwise(hours):
            if earlier.astimezone(ZoneInfo(zone)).utcoffset() != later.astimezone(ZoneInfo(zone)).utcoffset():
                yield zone, later


async def _live_through(
    context: QuizContext, clock: Clock, zone: str, change: datetime, learners: Sequence[LearnerId], jump: timedelta
) -> Counter[tuple[int, date]]:
    """Distribute around a change of the clocks, and return the days on which each learner should have a quiz."""
    begin, end = change - timedelta(days=DAYS_AROUND), change + timedelta(days=DAYS_AROUND)
    await clock.move(begin)
    for learner_id, hour in zip(learners, HOURS, strict=True):
        chosen = context.settings.model_copy(update={"quiz_schedule_time": hour, "quiz_timezone": zone})
        await context.repository.add_learner(learner_id, next(iter(chosen.bots)), chosen)
    moment, step = begin, 0
    while moment < end:
        step += 1
        jumps = (jump,) if step % JUMP_EVERY == 0 else ()
        for moved in (moment, *(moment + one for one in jumps)):
            await clock.move(moved)
            if due := await find_due_learners(context, context.now(), learners):
                await serve_quizzes(context, due, QuizKind.DAILY)
        moment += STEP
    first, last = (edge.astimezone(ZoneInfo(zone)).date() for edge in (begin, end))
    whole_days = [first + timedelta(days=n) for n in range(1, (last - first).days)]
    return Counter({(int(learner_id), day): 1 for learner_id in learners for day in whole_days})


def _outcome(
    expected: Mapping[tuple[int, date], int], made: Mapping[tuple[int, date], int], deviations: Sequence[str]
) -> Outcome:
    skipped = [f"learner {one} has no quiz for {day}" for one, day in expected if not made.get((one, day))]
    doubled = [f"learner {one} has {count} quizzes for {day}" for (one, day), count in made.items() if count > 1]
    return Outcome(
        about=(
            f"{len(HOURS)} hours of the day in {len(ZONES)} zones through the next year's changes of the clocks, and a "
            "clock that jumps by 2, 3 and 20 hours (`now()` moved in a database of its own)"
        ),
        first_reply_seconds=None,
        well_seconds=None,
        count=Count(len(expected), len(expected) - len(skipped), len(skipped), len(doubled)),
        copies=0,
        remarks=["counted are days, not updates"],
        deviations=[*skipped, *doubled, *deviations],
    )
