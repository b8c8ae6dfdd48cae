"""What is known about how able learners are, how hard questions are, and what was missed. All are immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from domain.catalog import Level, QuestionSource, Topic
from domain.ids import LearnerId, QuestionId, QuizId
from domain.models import Question, Row


@dataclass(frozen=True, slots=True)
class Rating:
    """An estimate in logits, and its variance in logits²."""

    mean: float
    variance: float


UNKNOWN_ABILITY = Rating(0.0, 1.0)
"""What is believed of a learner of whom nothing is known: somebody like everybody."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the review scheduler believes of a learner and a question that they once missed."""

    stability: float
    """Days after which nine in ten would still know it."""
    difficulty: float
    """From 1 to 10; has nothing to do with the rating of the question."""
    reviewed_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class GradingFacts:
    """What grading an answer needs to know beyond the quiz and the learner's state."""

    item: str
    """What is rated and reviewed: the question's key, or its template's name."""
    level: Level
    """The author's."""
    rating: Rating | None
    """None when nobody has answered it yet."""
    memory: Memory | None
    """None when this learner has never missed it."""
    answered_before: bool
    """Whether this learner has answered the same question in an earlier quiz."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``get_grading_facts``.

        Args:
            row: the columns by name.
        """
        return cls(
            item=row["item"],
            level=Level(row["level"]),
            rating=None if row["difficulty"] is None else Rating(row["difficulty"], row["variance"]),
            memory=None
            if row["stability"] is None
            else Memory(row["stability"], row["memory_difficulty"], row["reviewed_at"], row["due_at"]),
            answered_before=row["answered_before"],
        )


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an answer teaches: about the learner, about the question, and when the question comes back."""

    quiz_id: QuizId
    success: float
    """The chance of a right answer that was expected."""
    rated: bool
    """Whether the answer moved the ratings: only a first one does."""
    ability_before: Rating
    ability_after: Rating
    question_before: Rating
    question_after: Rating
    memory: Memory | None
    """When the question comes back; None if it was never missed."""


@dataclass(frozen=True, slots=True)
class Askable:
    """As much of a stored question as the choice of the next one depends on."""

    id: QuestionId
    topic: Topic
    level: Level
    source: QuestionSource
    difficulty: float | None
    """In logits; None when nobody has answered it yet."""
    shown: Mapping[Level, int]
    """Learners who were shown it, by the level that they stood on."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``list_askable``.

        Args:
            row: the columns by name; ``shown`` holds a number for each level, the lowest first.
        """
        return cls(
            id=QuestionId(row["id"]),
            topic=Topic(row["topic"]),
            level=Level(row["level"]),
            source=QuestionSource(row["source"]),
            difficulty=row["difficulty"],
            shown={level: count for level, count in zip(Level, row["shown"], strict=True) if count},
        )


@dataclass(frozen=True, slots=True)
class History:
    """What a learner has had."""

    seen: frozenset[QuestionId] = frozenset()
    scores: Mapping[Topic, tuple[int, int]] = field(default_factory=dict)
    """Answers and right answers by topic."""


@dataclass(frozen=True, slots=True)
class DueReview:
    """A missed question whose time has come."""

    learner_id: LearnerId
    template: str | None
    """The template to draw anew, if it was a computed question."""
    next_seed: int
    """The smallest seed of that template above all that the learner had."""
    question: Question
    """As it was when it was missed last."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Build from a row of ``find_due_reviews``.

        Args:
            row: the columns by name.
        """
        return cls(LearnerId(row["learner_id"]), row["template"], row["next_seed"], Question.from_row(row))


@dataclass(frozen=True, slots=True)
class WaitingReviews:
    """How many missed questions wait for a learner."""

    due: int
    later: int
    next_at: datetime | None
    """When the next one that is not due yet will be."""
