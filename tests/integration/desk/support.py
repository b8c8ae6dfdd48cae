"""What tests of the operators' command share."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from domain.catalog import CheckEngine, ReportReason, Topic
from domain.ids import LearnerId
from domain.settings import Settings
from question_bank.csv_files import write_csv
from question_bank.format import BankQuestion, Check, Option
from question_bank.loader import Located
from question_bank.transfer import write_yaml
from repository import Repository
from tests.support.factories import BOT_ID, make_bank_question, some_id

KEY = "streaming-1-0"
"""A question of the small bank."""

Desk = Callable[..., Awaitable[tuple[int, str, str]]]
"""Runs a command, and returns its status, output and errors."""


async def run_sql(url: str, statement: str) -> None:
    """Change the database behind the service's back."""
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def answer(repository: Repository, key: str, *, right: int, wrong: int, report: bool = False) -> None:
    """Have learners answer a question, and doubt it if told."""
    question = await repository.get_question(key)
    assert question
    settings = Settings(_env_file=None)
    for place in range(right + wrong):
        learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, settings)
        chosen = question.correct_index if place < right else (question.correct_index + 1) % 4
        quiz = await repository.database._pool.fetchval(  # noqa: SLF001
            "INSERT INTO quizzes (learner_id, question_id, kind, local_day, option_order, expires_at, state, chosen) "
            "VALUES ($1, $2, 'on_demand', current_date, '{0,1,2,3}', now() + interval '1 day', 'graded', $3) "
            "RETURNING id",
            learner.id,
            question.id,
            chosen,
        )
        if report:
            assert await repository.report_question(quiz, learner.id, ReportReason.UNCLEAR)


def write(path: Path, *questions: BankQuestion, topic: Topic = Topic.STREAMING) -> Path:
    """Write questions to a file, in the form that its name tells."""
    located = [Located(question, topic, path, 0) for question in questions]
    path.write_text((write_csv if path.suffix == ".csv" else write_yaml)(located), encoding="utf-8")
    return path


def make_checked(key: str, engine: CheckEngine, run: str, marked: str) -> BankQuestion:
    """Return a question whose marked option says what running something gives."""
    marker = random.randrange(10**9)
    texts = [marked, *(f"{marker} and {n}" for n in "bcd")]
    return make_bank_question(
        id=key,
        options=[Option(text=text, why="So it is.", correct=place == 0) for place, text in enumerate(texts)],
        check=Check(engine=engine, run=run),
    )
