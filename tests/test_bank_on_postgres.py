"""The bank's questions on PostgreSQL give what they claim; lint executes all the others."""

from __future__ import annotations

from collections.abc import Callable

from domain.catalog import CheckEngine
from question_bank.loader import Located, load_bank
from question_bank.postgres_check import verify_on_postgres


async def test_every_postgres_question_gives_its_marked_answer(postgres_url: Callable[[str], str]) -> None:
    executed, problems = await verify_on_postgres(postgres_url("bank_check"), load_bank().questions)
    assert problems == []
    assert executed >= 10


async def test_a_wrong_key_is_caught(postgres_url: Callable[[str], str]) -> None:
    located = next(
        q for q in load_bank().questions if q.question.check and q.question.check.engine is CheckEngine.POSTGRES
    )
    options = [
        option.model_copy(update={"correct": place == (located.question.correct_index + 1) % 4})
        for place, option in enumerate(located.question.options)
    ]
    forged = Located(
        located.question.model_copy(update={"options": options}), located.topic, located.path, located.line
    )
    _, [problem] = await verify_on_postgres(postgres_url("bank_check"), [forged])
    assert located.question.id in problem
    assert "but running it gives" in problem
