"""Executes checks whose dialect is PostgreSQL, each in a transaction that is rolled back."""

from __future__ import annotations

from functools import partial

import asyncpg

from domain.catalog import CheckEngine
from question_bank.checks import render_rows, wrong_answer
from question_bank.loader import Located


async def verify_on_postgres(url: str, questions: list[Located]) -> tuple[int, list[str]]:
    """Execute the checks that need PostgreSQL.

    Args:
        url: a database in which anything may be made; nothing of it stays.
        questions: those with other engines are passed over.

    Returns:
        How many were executed, and a line for each that gives something else than its marked option.
    """
    mine = [q for q in questions if q.question.check and q.question.check.engine is CheckEngine.POSTGRES]
    problems = []
    connection = await asyncpg.connect(url)
    try:
        for located in mine:
            check = located.question.check
            if check is None:
                continue
            result = await _run(connection, check.setup, check.run or located.question.code or "")
            if wrong := wrong_answer(located.question, check, partial(_already, result)):
                problems.append(f"{located.path.name}:{located.line}: {wrong}")
    finally:
        await connection.close()
    return len(mine), problems


def _already(result: str, _setup: str, _run: str) -> str:
    """Stand in for a runner whose work is done."""
    return result


async def _run(connection: asyncpg.Connection[asyncpg.Record], setup: str, run: str) -> str:
    transaction = connection.transaction()
    await transaction.start()
    try:
        if setup.strip():
            await connection.execute(setup)
        try:
            return render_rows(tuple(row) for row in await connection.fetch(run))
        except asyncpg.PostgresError as error:
            return f"error: {type(error).__name__}"
    finally:
        await transaction.rollback()
