"""Fills a database with so many learners and answers as years of use leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import asyncpg

from dev.stack import Say

FILE = Path(__file__).with_name("population.sql")
FIRST_LEARNER = 10_000_001
_MARK = "-- step: "


def steps(learners: int, answers_each: int) -> Iterator[tuple[str, str]]:
    """Yield what each step makes, and its statements."""
    for part in FILE.read_text(encoding="utf-8").split(_MARK)[1:]:
        about, _, script = part.partition("\n")
        yield about, script.replace(":learners", str(int(learners))).replace(":answers_each", str(int(answers_each)))


async def populate(url: str, learners: int, answers_each: int, say: Say) -> None:
    """Fill a database that has the schema and the question bank, and nobody in it.

    Args:
        url: of a user who may switch constraints off.
    """
    connection = await asyncpg.connect(url)
    try:
        for about, script in steps(learners, answers_each):
            say(f"{learners:,} learners: {about}")
            await connection.execute(script)
        for table in ("learners", "quizzes", "answers", "updates", "reviews"):
            await connection.execute(f"VACUUM {table}")  # index-only scans need its map, which autovacuum makes in time
    finally:
        await connection.close()
