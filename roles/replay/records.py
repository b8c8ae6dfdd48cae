"""The rows that a replay reads, as immutable values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from domain.catalog import QuizKind, QuizState
from domain.ids import LearnerId, QuestionId, QuizId, UpdateRow
from domain.learning import Memory, Rating
from domain.models import Grade, Learner
from domain.updates import UpdateKind


@dataclass(frozen=True, slots=True)
class StoredQuiz:
    """As much of a quiz as a replay needs."""

    id: QuizId
    learner_id: LearnerId
    kind: QuizKind
    is_review: bool
    state: QuizState
    local_day: date
    option_order: tuple[int, ...]
    chosen: int | None
    answered_at: datetime | None
    graded_at: datetime | None
    feedback_at: datetime | None
    expires_at: datetime
    question_id: QuestionId
    correct_index: int
    item: str
    question_changed_at: datetime


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A grade with what it was worked out from."""

    grade: Grade
    chosen: int
    answered_at: datetime
    rated: bool
    success: float | None
    """None, as all that follows, for a grade from before it was kept."""
    ability_before: Rating | None
    ability_after: Rating | None
    difficulty: Rating | None


@dataclass(frozen=True, slots=True)
class StoredUpdate:
    """An update as it is stored; one of a learner who erased everything has no learner."""

    row: UpdateRow
    bot_id: int
    update_id: int
    learner_id: LearnerId | None
    kind: UpdateKind
    content: str
    state: str
    attempts: int
    error: str | None
    received_at: datetime

    @property
    def name(self) -> str:
        """Return what a line calls it."""
        return f"update {self.bot_id}/{self.update_id}"


@dataclass(frozen=True, slots=True)
class StoredItem:
    """What is rated, as it is stored."""

    difficulty: float
    answers: int


@dataclass(frozen=True, slots=True)
class Records:
    """Everything that a replay reads, from one snapshot."""

    learners: Mapping[LearnerId, Learner]
    best_streaks: Mapping[LearnerId, int]
    quizzes: Mapping[QuizId, StoredQuiz]
    answers: Mapping[QuizId, StoredAnswer]
    updates: Sequence[StoredUpdate]
    items: Mapping[str, StoredItem]
    reviews: Mapping[tuple[LearnerId, str], Memory]

    def of_learners(self) -> dict[LearnerId, list[StoredAnswer]]:
        """Return each learner's answers in the order in which they were graded."""
        chains: dict[LearnerId, list[StoredAnswer]] = {learner_id: [] for learner_id in self.learners}
        for answer in sorted(self.answers.values(), key=self._place):
            chains.setdefault(answer.grade.learner_id, []).append(answer)
        return chains

    def _place(self, answer: StoredAnswer) -> tuple[datetime, QuizId]:
        """Return where an answer stands in its chain: a grade takes the learner's row, so no two have one moment."""
        quiz = self.quizzes.get(answer.grade.quiz_id)
        return (quiz.graded_at if quiz and quiz.graded_at else answer.answered_at), answer.grade.quiz_id
