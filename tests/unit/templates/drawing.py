"""Draws a template many times and holds each question to the rules."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from domain.catalog import OPTION_COUNT
from question_bank.executor import Executor
from question_bank.format import MAX_CODE_COLUMNS, MAX_CODE_LINES, BankQuestion
from question_bank.lint import lint
from question_bank.loader import Located
from question_bank.style import READING_LOAD, reading_load
from question_bank.templates import TEMPLATES
from question_bank.templates.base import MAX_COMPUTED_OPTION, Template

DRAWS = int(os.environ.get("TEMPLATE_DRAWS", "40"))


@dataclass(frozen=True)
class Drawing:
    """What many draws of a template have in common."""

    distinct: int
    places: list[int]


def draw_many(name: str) -> Drawing:
    """Draw a template for many seeds and hold each question to the rules."""
    template = TEMPLATES[name]
    seen, places = set(), []
    with Executor() as bench:
        for seed in range(DRAWS):
            question = template.make(seed, bench)
            check_draw(template, question)
            seen.add((question.prompt, question.code, *sorted(option.text for option in question.options)))
            places.append(question.correct_index)
    return Drawing(len(seen), places)


def check_draw(template: Template, question: BankQuestion) -> None:
    """Hold one drawing to what a learner needs; its own form is checked where it is built."""
    assert question.level is template.level
    assert sum(option.correct for option in question.options) == 1
    texts = [option.text for option in question.options]
    assert len({" ".join(text.lower().split()) for text in texts}) == OPTION_COUNT
    assert max(map(len, texts)) <= MAX_COMPUTED_OPTION, texts
    lines = (question.code or "").split("\n")
    assert len(lines) <= MAX_CODE_LINES
    assert max(map(len, lines)) <= MAX_CODE_COLUMNS
    assert reading_load(question) <= READING_LOAD[question.level]
    assert not any("error" in (option.value or "") for option in question.options)
    assert lint([Located(question, template.topic, Path("computed.yaml"), 1)]) == []
