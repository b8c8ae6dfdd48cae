"""`python -m tools.replay_check [DATABASE_URL]`: replays every stored answer and lists what is not as it should be.

It reads one snapshot and changes nothing. With `--busy`, for a service that is at work, it leaves out what may be under
way. The exit status is 0 when there is nothing to list.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import asyncpg

from domain.catalog import Level, QuizKind, QuizState
from domain.ids import LearnerId, QuestionId, QuizId, UpdateRow
from domain.learning import Memory, Rating
from domain.models import Grade, Learner, UpdateKind
from domain.settings import load_settings
from quiz_grading import rules_of
from tools.replay import Records, StoredAnswer, StoredItem, StoredQuiz, StoredUpdate, replay

_QUIZZES = """
SELECT z.*, q.correct_index, q.item, q.updated_at AS question_changed_at
FROM quizzes z JOIN questions q ON q.id = z.question_id
"""


async def read_records(database_url: str) -> Records:
    """Return everything that a replay needs, from one snapshot.

    Args:
        database_url: of the service's database.
    """
    connection = await asyncpg.connect(database_url, statement_cache_size=0)  # a pooler may stand between
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
        learners={LearnerId(row["id"]): Learner.from_row(row) for row in learners},
        best_streaks={LearnerId(row["id"]): row["best_streak"] for row in learners},
        quizzes={QuizId(row["id"]): _quiz(row) for row in await connection.fetch(_QUIZZES)},
        answers={QuizId(row["quiz_id"]): _answer(row) for row in answers},
        updates=[_update(row) for row in await connection.fetch("SELECT * FROM updates ORDER BY id")],
        items={row["item"]: StoredItem(row["difficulty"], row["answers"]) for row in items},
        reviews={(LearnerId(row["learner_id"]), row["item"]): _memory(row) for row in reviews},
    )


def _memory(row: asyncpg.Record) -> Memory:
    return Memory(row["stability"], row["difficulty"], row["reviewed_at"], row["due_at"])


def _quiz(row: asyncpg.Record) -> StoredQuiz:
    return StoredQuiz(
        id=QuizId(row["id"]),
        learner_id=LearnerId(row["learner_id"]),
        kind=QuizKind(row["kind"]),
        is_review=row["is_review"],
        state=QuizState(row["state"]),
        local_day=row["local_day"],
        option_order=tuple(row["option_order"]),
        chosen=row["chosen"],
        answered_at=row["answered_at"],
        graded_at=row["graded_at"],
        feedback_at=row["feedback_at"],
        expires_at=row["expires_at"],
        question_id=QuestionId(row["question_id"]),
        correct_index=row["correct_index"],
        item=row["item"],
        question_changed_at=row["question_changed_at"],
    )


def _answer(row: asyncpg.Record) -> StoredAnswer:
    def rating(mean: str, variance: str) -> Rating | None:
        return None if row[mean] is None else Rating(row[mean], row[variance])

    levels: Sequence[float] | None = row["level_difficulties"]
    return StoredAnswer(
        grade=Grade.from_row(row),
        chosen=row["chosen"],
        answered_at=row["answered_at"],
        rated=row["rated"],
        success=row["success"],
        ability_before=rating("ability_before", "ability_variance_before"),
        ability_after=rating("ability_after", "ability_variance_after"),
        difficulty=rating("difficulty", "difficulty_variance"),
        level_difficulties=None if levels is None else dict(zip(Level, levels, strict=True)),
    )


def _update(row: Any) -> StoredUpdate:  # noqa: ANN401 - asyncpg.Record
    return StoredUpdate(
        row=UpdateRow(row["id"]),
        bot_id=row["bot_id"],
        update_id=row["update_id"],
        learner_id=None if row["learner_id"] is None else LearnerId(row["learner_id"]),
        kind=UpdateKind(row["kind"]),
        content=row["content"],
        state=row["state"],
        attempts=row["attempts"],
        error=row["error"],
        received_at=row["received_at"],
    )


def main(arguments: list[str]) -> int:
    """Replay and print.

    Args:
        arguments: of the command line.

    Returns:
        The exit status: 0 when all is as it should be.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.replay_check", description="Replay every stored answer.")
    parser.add_argument("database_url", nargs="?", default=os.environ.get("DATABASE_URL"))
    parser.add_argument("--busy", action="store_true", help="leave out what may be under way")
    options = parser.parse_args(arguments)
    if not options.database_url:
        parser.error("give the database's URL, or set DATABASE_URL")
    records = asyncio.run(read_records(options.database_url))
    lines = replay(records, rules_of(load_settings()), settled=not options.busy)
    print(*lines, sep="\n", end="\n" if lines else "")
    print(
        f"{len(records.learners)} learners, {len(records.quizzes)} quizzes, {len(records.answers)} answers, "
        f"{len(records.updates)} updates: {len(lines) or 'nothing'} to report"
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
