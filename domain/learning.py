"""What is known about how able learners are, how hard questions are, and what was missed. All are immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from domain.catalog import Level, Topic
from domain.ids import LearnerId, QuestionId, QuizId
from domain.models import StoredQuestion


@dataclass(frozen=True, slots=True)
class Rating:
    """An estimate in logits, and its variance in logits²."""

    mean: float
    variance: float


UNKNOWN_ABILITY = Rating(0.0, 1.0)
"""The prior for a learner of whom nothing is known: the average learner."""


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


@dataclass(frozen=True, slots=True)
class RatingUpdate:
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
class Candidate:
    """As much of a stored question as the choice of the next one depends on."""

    id: QuestionId
    topic: Topic
    level: Level
    difficulty: float
    """In logits."""
    shown: Mapping[Level, int] = field(default_factory=dict, hash=False)
    """Learners who were shown it, by the level that they stood on; levels where nobody was are absent."""


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
    question: StoredQuestion
    """As it was when it was missed last."""


@dataclass(frozen=True, slots=True)
class WaitingReviews:
    """How many missed questions wait for a learner."""

    due: int
    later: int
    next_at: datetime | None
    """When the next one that is not due yet will be."""
