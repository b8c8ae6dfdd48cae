"""`python main.py replay [DATABASE_URL]`: replays every stored answer and lists what is not as it should be.

It reads one snapshot and changes nothing. With `--busy`, for a service that is at work, it leaves out what may be under
way. The exit status is 0 when there is nothing to list.
"""

from __future__ import annotations

import asyncio

import asyncpg

from difficulty_adapter import rules_of
from domain.addresses import as_pasted, read_database_address
from domain.errors import StartupError
from domain.ids import LearnerId, QuizId
from domain.learning import Memory
from domain.settings import Settings
from roles.replay.checks import replay
from roles.replay.records import Records, StoredAnswer, StoredItem, StoredQuiz, StoredUpdate
from storage.database import CONNECT_SECONDS, CheckedConnection, refusals_in_one_line, translated_errors
from storage.rows import read, read_grade, read_learner, read_rating

_QUIZZES = """
SELECT z.*, q.correct_index, q.item, q.updated_at AS question_changed_at
FROM quizzes z JOIN questions q ON q.id = z.question_id
"""


async def read_records(database_url: str) -> Records:
    """Return everything that a replay needs, from one snapshot."""
    connection = await asyncpg.connect(
        database_url, statement_cache_size=0, timeout=CONNECT_SECONDS, connection_class=CheckedConnection
    )  # a pooler may stand between
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await read_through(connection)
    finally:
        await connection.close()


async def read_through(connection: asyncpg.Connection[asyncpg.Record]) -> Records:
    """Return everything that a replay needs, as a connection sees it.

    Args:
        connection: inside a transaction, if others may write meanwhile.
    """
    learners = await connection.fetch("SELECT * FROM learners")
    answers = await connection.fetch("SELECT * FROM answers")
    reviews = await connection.fetch("SELECT * FROM reviews")
    items = await connection.fetch("SELECT * FROM item_ratings")
    return Records(
        learners={LearnerId(row["id"]): read_learner(row) for row in learners},
        best_streaks={LearnerId(row["id"]): row["best_streak"] for row in learners},
        quizzes={QuizId(row["id"]): read(StoredQuiz, row) for row in await connection.fetch(_QUIZZES)},
        answers={QuizId(row["quiz_id"]): _answer(row) for row in answers},
        updates=[
            read(StoredUpdate, row) for row in await connection.fetch("SELECT *, id AS row FROM updates ORDER BY id")
        ],
        items={row["item"]: read(StoredItem, row) for row in items},
        reviews={(LearnerId(row["learner_id"]), row["item"]): read(Memory, row) for row in reviews},
    )


def _answer(row: asyncpg.Record) -> StoredAnswer:
    return read(
        StoredAnswer,
        row,
        grade=read_grade(row),
        ability_before=read_rating(row, "ability_before", "ability_variance_before"),
        ability_after=read_rating(row, "ability_after", "ability_variance_after"),
        difficulty=read_rating(row, "difficulty", "difficulty_variance"),
    )


def run_replay(database_url: str | None, settings: Settings, *, busy: bool) -> int:
    """Replay, print what differs, and return the exit status: 0 when nothing does.

    Raises:
        StartupError: no database is named, its address or login is wrong, or it is another one's.
        StorageUnavailableError: it does not answer.
    """
    address = _address(database_url, settings)
    try:
        with translated_errors(), refusals_in_one_line():
            records = asyncio.run(read_records(address))
    except asyncpg.UndefinedTableError as error:
        raise StartupError(f"the database has no tables of this service: {error}") from error
    lines = replay(records, rules_of(settings), settled=not busy)
    print(*lines, sep="\n", end="\n" if lines else "")  # noqa: T201
    print(  # noqa: T201
        f"{len(records.learners)} learners, {len(records.quizzes)} quizzes, {len(records.answers)} answers, "
        f"{len(records.updates)} updates: {len(lines) or 'nothing'} to report"
    )
    return 1 if lines else 0


def _address(database_url: str | None, settings: Settings) -> str:
    if database_url is None:
        if settings.database_url is None:
            raise StartupError("set DATABASE_URL, or give the database's URL as an argument")
        return settings.database_url.get_secret_value()
    try:
        return read_database_address(as_pasted(database_url)).url
    except ValueError as error:
        raise StartupError(f"DATABASE_URL: {error}") from None
