"""What operators and generators know about the stored questions, beyond what a learner sees. All are immutable."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Self

from domain.catalog import GenerationOutcome, Level, QuestionForm, QuestionSource, QuestionState, Topic
from domain.models import Question, Row


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """How a stored question's answer is found by executing something."""

    engine: str
    setup: str
    run: str | None
    """The question's code when None."""


@dataclass(frozen=True, slots=True)
class BankEntry:
    """A stored question with its standing, and what learners made of it."""

    question: Question
    tags: tuple[str, ...]
    form: QuestionForm
    check: CheckSpec | None
    state: QuestionState
    state_reason: str | None
    created_at: datetime
    asked: int
    answered: int
    correct: int
    reports: int

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``list_questions``.

        Args:
            row: the columns by name.
        """
        spec = json.loads(row["check_spec"]) if row["check_spec"] else None
        return cls(
            question=Question.from_row(row),
            tags=tuple(row["tags"]),
            form=QuestionForm(row["form"]),
            check=CheckSpec(spec["engine"], spec["setup"], spec["run"]) if spec else None,
            state=QuestionState(row["state"]),
            state_reason=row["state_reason"],
            created_at=row["created_at"],
            asked=row["asked"],
            answered=row["answered"],
            correct=row["correct"],
            reports=row["reports"],
        )


@dataclass(frozen=True, slots=True)
class QuestionText:
    """As much of a question as tells whether another one asks the same."""

    key: str
    prompt: str
    code: str | None
    options: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``list_question_texts``.

        Args:
            row: the columns by name.
        """
        options = tuple(option["text"] for option in json.loads(row["options"]))
        return cls(row["key"], row["prompt"], row["code"], options)


@dataclass(frozen=True, slots=True)
class ReportedQuestion:
    """A question that learners doubt."""

    key: str
    topic: Topic
    level: Level
    source: QuestionSource
    state: QuestionState
    reports: int
    wrong: int
    unclear: int
    outdated: int
    last_reported_at: datetime

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``list_reported``.

        Args:
            row: the columns by name.
        """
        return cls(
            key=row["key"],
            topic=Topic(row["topic"]),
            level=Level(row["level"]),
            source=QuestionSource(row["source"]),
            state=QuestionState(row["state"]),
            reports=row["reports"],
            wrong=row["wrong"],
            unclear=row["unclear"],
            outdated=row["outdated"],
            last_reported_at=row["last_reported_at"],
        )


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """How often a learner had a template."""

    times: int
    next_seed: int
    """The smallest seed above all that they had."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What a topic and level hold of a language model's questions."""

    topic: Topic
    level: Level
    active: int
    fresh: int
    """Those that the learner who has had the most of them has not had."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``count_stock``.

        Args:
            row: the columns by name.
        """
        return cls(Topic(row["topic"]), Level(row["level"]), row["active"], row["fresh"])


@dataclass(frozen=True, slots=True)
class GenerationSum:
    """Generations that ended alike."""

    outcome: GenerationOutcome
    reason: str
    questions: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal
    """US dollars."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``sum_generations``.

        Args:
            row: the columns by name.
        """
        return cls(
            outcome=GenerationOutcome(row["outcome"]),
            reason=row["reason"],
            questions=row["questions"],
            calls=row["calls"],
            prompt_tokens=row["prompt_tokens"],
            completion_tokens=row["completion_tokens"],
            cost=row["cost"],
        )
