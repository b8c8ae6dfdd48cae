"""What a question must pass before a learner sees it. Each step gives a reason why not, or nothing."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from domain.bank import QuestionText
from domain.catalog import OPTION_COUNT, CheckEngine, Topic
from domain.settings import Settings
from question_bank.checks import UNTRUSTED_RUNNERS, wrong_answer
from question_bank.format import BankQuestion
from question_bank.lint import lint, nearest_duplicate
from question_bank.loader import Located
from question_sources.llm.client import LlmClient, Meter
from question_sources.llm.forms import BlindAnswer
from question_sources.llm.prompts import BLIND_INSTRUCTIONS, LETTERS, blind

MAX_REASON_LENGTH = 300
"""Characters of a reason that are kept; what code prints can be long."""


async def find_flaw(
    question: BankQuestion, topic: Topic, known: list[QuestionText], client: LlmClient, settings: Settings, meter: Meter
) -> str | None:
    """Verify a question, the cheapest step first.

    Args:
        question: keeps the rules for one question already.

    Returns:
        None if it passes all; else the first reason why not, whose first word can be counted.

    Raises:
        ModelError: the blind answers could not be had.
    """
    return (
        _lint(question, topic)
        or find_duplicate(question, known)
        or await _executes_wrongly(question)
        or await _answered_otherwise(question, client, settings.openai_blind_answers, meter)
    )


def _lint(question: BankQuestion, topic: Topic) -> str | None:
    problems = lint([Located(question, topic, Path("written.yaml"), 1)])
    return f"lint: {problems[0].reason}" if problems else None


def find_duplicate(question: BankQuestion, known: list[QuestionText]) -> str | None:
    """Return which question a new one repeats, as a reason; None if none."""
    duplicate = nearest_duplicate(question, known)
    return f"duplicate: asks the same as {duplicate}" if duplicate else None


async def _executes_wrongly(question: BankQuestion) -> str | None:
    """Execute what the learner would see; code that can be executed must come with its check."""
    engine, check = _engine_of(question.language), question.check
    if engine is None and check is None:
        return None
    if check is None:
        return "execution: its code comes without a check that runs it"
    if check.engine is not engine:
        return f"execution: its language is {question.language!r}, but its engine {check.engine}"
    wrong = await asyncio.to_thread(wrong_answer, question, check, UNTRUSTED_RUNNERS[check.engine])
    return f"execution: {wrong}"[:MAX_REASON_LENGTH] if wrong else None


def _engine_of(language: str) -> CheckEngine | None:
    """Return what must execute code of a language, by whatever name a model calls it; None for other languages."""
    name = language.strip().lower()
    if "sql" in name or name in {"duckdb", "postgres"}:
        return CheckEngine.DUCKDB
    return CheckEngine.PYTHON if name.startswith("py") else None


def _orders(question: BankQuestion, times: int) -> list[list[int]]:
    """Return for each answer which option stands under which letter; the right one stands elsewhere each time.

    So a model that likes a letter, whatever stands there, agrees with the key once in four at most.
    """
    rng = random.Random(question.id)  # noqa: S311 - orders, not secrets
    letters = rng.sample(range(OPTION_COUNT), OPTION_COUNT)
    wrong = [place for place in range(OPTION_COUNT) if place != question.correct_index]
    orders = [rng.sample(wrong, len(wrong)) for _ in range(times)]
    for turn, order in enumerate(orders):
        order.insert(letters[turn % OPTION_COUNT], question.correct_index)
    return orders


async def _answered_otherwise(question: BankQuestion, client: LlmClient, times: int, meter: Meter) -> str | None:
    """Have it answered without the key several times, the options in another order each time; all must agree."""
    orders = _orders(question, times)
    answers = await asyncio.gather(
        *(client.answer(BLIND_INSTRUCTIONS, blind(question, order), BlindAnswer, meter) for order in orders),
        return_exceptions=True,
    )
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if failures:  # the one that all processes must hear of: how long the provider asks to be left alone
        raise max(failures, key=lambda error: getattr(error, "retry_after", None) or 0.0)
    found = [answer for answer in answers if isinstance(answer, BlindAnswer)]
    if any(answer.flawed for answer in found):
        return "blind: found it flawed"
    places = [order[LETTERS.index(answer.answer)] for order, answer in zip(orders, found, strict=True)]
    agreeing = places.count(question.correct_index)
    return None if agreeing == times else f"blind: {agreeing} of {times} answers agreed with the key"
