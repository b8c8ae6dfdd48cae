"""The bank's questions on PostgreSQL give what they claim; lint executes all the others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from domain.catalog import CheckEngine
from local.throwaway_postgres import throwaway_postgres
from question_bank.checks import Runner, wrong_answer
from question_bank.loader import load_bank
from question_bank.postgres_check import run_postgres

QUESTIONS = [
    (located.question, located.question.check)
    for located in load_bank().questions
    if located.question.check and located.question.check.engine is CheckEngine.POSTGRES
]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """Yield what executes on a throw-away server."""
    with throwaway_postgres() as url:
        yield partial(run_postgres, url)


def test_every_postgres_question_gives_its_marked_answer(runner: Runner) -> None:
    assert [wrong for question, check in QUESTIONS if (wrong := wrong_answer(question, check, runner))] == []
    assert len(QUESTIONS) >= 10


def test_a_wrong_key_is_caught(runner: Runner) -> None:
    question, check = QUESTIONS[0]
    options = [
        option.model_copy(update={"correct": place == (question.correct_index + 1) % 4})
        for place, option in enumerate(question.options)
    ]
    wrong = wrong_answer(question.model_copy(update={"options": options}), check, runner)
    assert wrong
    assert question.id in wrong
    assert "but running it gives" in wrong
