"""What operators and generators know about the stored questions, beyond what a learner sees. All are immutable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.catalog import GenerationOutcome, Level, QuestionForm, QuestionSource, QuestionState, Topic
from domain.learning import Rating
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
class ItemAnswers:
    """A question that is asked, or a template, with its first answers since it last changed or came back."""

    name: str
    """The question's key, or the template's name."""
    topic: Topic
    level: Level
    source: QuestionSource
    correct_index: int
    difficulty: Rating
    """By every first answer there ever was."""
    answers: int
    chosen: tuple[int, ...]
    """Answers by option, without those who did not know; empty for a template, of which each draw has its own."""
    discrimination: float | None
    """The correlation of being right with ability at the time, from -1 to 1; None if either never varied."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What learners' answers say against an item."""

    item: ItemAnswers
    observed: Level
    """The item's own unless answers leave no doubt that it is another."""
    untaken: tuple[int, ...]
    """Places of the wrong options that hardly anybody takes."""
    misleads_able: bool
    """Whether learners are the more often wrong, the abler they are."""

    @property
    def levels_off(self) -> int:
        """Return by how many levels an item is harder than it says; negative if it is easier."""
        return self.observed - self.item.level

    @property
    def on_level(self) -> str:
        """Return the level that it says beside the one that it is as hard as."""
        return f"level {self.item.level}, as hard as level {self.observed}"

    @property
    def remarks(self) -> list[str]:
        """Return a phrase for each thing that is wrong; options are named as `questions show` does."""
        item = self.item
        able = [f"the abler, the more often wrong (r = {item.discrimination:.2f})"] if self.misleads_able else []
        level = [self.on_level] if self.levels_off else []
        untaken = [f"{item.chosen[place]} took {chr(ord('A') + place)}" for place in self.untaken]
        return able + level + untaken


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
