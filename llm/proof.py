"""What a question must pass before a learner sees it. Each step gives a reason why not, or nothing."""

from __future__ import annotations

import ast
import asyncio
import random
import sys
from pathlib import Path

from domain.bank import QuestionText
from domain.catalog import OPTION_COUNT, CheckEngine, Topic
from domain.settings import Settings
from llm.client import LlmClient, Meter
from llm.forms import EXECUTABLE, BlindAnswer
from llm.prompts import BLIND_INSTRUCTIONS, LETTERS, blind
from question_bank.checks import GUARDED_RUNNERS, wrong_answer
from question_bank.format import Question
from question_bank.lint import lint, nearest_duplicate
from question_bank.loader import Located

ENGINES = {"sql": CheckEngine.DUCKDB, "python": CheckEngine.PYTHON}

PURE_MODULES = frozenset(
    [
        "array",
        "bisect",
        "calendar",
        "collections",
        "copy",
        "csv",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "graphlib",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "random",
        "re",
        "statistics",
        "struct",
        "textwrap",
        "zlib",
        "zoneinfo",
    ]
)
"""What Python that a stranger wrote may import: modules that reach neither files nor processes nor the network, nor
attributes by their names, as ``operator`` and ``string`` do."""

_FORBIDDEN_NAMES = frozenset(
    "breakpoint compile delattr eval exec getattr globals input locals memoryview open setattr vars".split()  # noqa: SIM905
)


async def find_flaw(
    question: Question, topic: Topic, known: list[QuestionText], client: LlmClient, settings: Settings, meter: Meter
) -> str | None:
    """Prove a question, the cheapest proof first.

    Args:
        question: keeps the rules for one question already.
        topic: where it stands.
        known: every question that it must not repeat.
        client: answers it blind.
        settings: how many blind answers must agree.
        meter: counts what they take.

    Returns:
        None if it passes all; else the first reason why not, whose first word can be counted.

    Raises:
        ModelError: the blind answers could not be had.
    """
    return (
        _lint(question, topic)
        or _repeats(question, known)
        or await _executes_wrongly(question)
        or await _answered_otherwise(question, client, settings.openai_blind_answers, meter)
    )


def _lint(question: Question, topic: Topic) -> str | None:
    problems = lint([Located(question, topic, Path("written.yaml"), 1)])
    return f"lint: {problems[0].reason}" if problems else None


def _repeats(question: Question, known: list[QuestionText]) -> str | None:
    twin = nearest_duplicate(question, known)
    return f"duplicate: asks the same as {twin}" if twin else None


async def _executes_wrongly(question: Question) -> str | None:
    """Execute what the learner would see; code that can be executed must come with its check."""
    if question.language.lower() not in EXECUTABLE or not question.code:
        return None
    if question.check is None or question.check.engine is not ENGINES[question.language.lower()]:
        return "execution: its code comes without a check that runs it"
    if question.check.engine is CheckEngine.PYTHON:
        stray = find_stray(f"{question.check.setup}\n{question.code}")
        if stray:
            return f"execution: its Python uses {stray}"
    wrong = await asyncio.to_thread(wrong_answer, question, question.check, GUARDED_RUNNERS[question.check.engine])
    return f"execution: {wrong}" if wrong else None


def find_stray(code: str) -> str | None:
    """Return what in a piece of Python might reach beyond it: a module, a name or an attribute; None if nothing.

    Args:
        code: what a stranger wrote.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # running it shows the error, which may be what is asked for
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=module, level=level):
                modules = [module or "."] if not level else ["."]
            case ast.Name(id=name) if name in _FORBIDDEN_NAMES or name.startswith("__"):
                return name
            case ast.Attribute(attr=name) if name.startswith("_") or name in sys.stdlib_module_names - PURE_MODULES:
                return name  # modules hand on what they import themselves, such as `random._os` or `calendar.sys`
            case _:
                continue
        for name in modules:
            if name.split(".")[0] not in PURE_MODULES:
                return name
    return None


async def _answered_otherwise(question: Question, client: LlmClient, times: int, meter: Meter) -> str | None:
    """Have it answered without the key several times, the options in another order each time; all must agree."""
    rng = random.Random(question.id)  # noqa: S311 - orders, not secrets
    orders = [rng.sample(range(OPTION_COUNT), OPTION_COUNT) for _ in range(times)]
    answers = await asyncio.gather(
        *(client.answer(BLIND_INSTRUCTIONS, blind(question, order), BlindAnswer, meter) for order in orders),
        return_exceptions=True,
    )
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if failures:
        raise failures[0]
    found = [answer for answer in answers if isinstance(answer, BlindAnswer)]
    if any(answer.flawed for answer in found):
        return "blind: found it flawed"
    places = [order[LETTERS.index(answer.answer)] for order, answer in zip(orders, found, strict=True)]
    agreeing = places.count(question.correct_index)
    return None if agreeing == times else f"blind: {agreeing} of {times} answers agreed with the key"
