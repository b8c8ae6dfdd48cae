"""What operators and generators know about the stored questions, beyond what a learner sees. All are immutable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.catalog import GenerationOutcome, Level, QuestionForm, QuestionSource, QuestionState, Topic
from domain.models import StoredQuestion


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

    question: StoredQuestion
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


@dataclass(frozen=True, slots=True)
class QuestionText:
    """As much of a question as tells whether another one asks the same."""

    key: str
    prompt: str
    code: str | None
    options: tuple[str, ...]


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


@dataclass(frozen=True, slots=True)
class GenerationSum:
    """Generations that ended alike."""

    outcome: GenerationOutcome
    reason: str
    """The word that all their reasons begin with."""
    latest: str
    """The latest whole reason."""
    questions: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal
    """US dollars."""
