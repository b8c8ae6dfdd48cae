"""What counts as lost and as doubled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from dev.chaos.probe import Count, count
from domain.catalog import QuizKind, QuizState
from domain.ids import LearnerId, QuestionId, QuizId, UpdateRow
from domain.updates import UpdateKind
from roles.replay.records import Records, StoredQuiz, StoredUpdate
from tests.support.factories import make_learner

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def stored_update(update_id: int, state: str) -> StoredUpdate:
    return StoredUpdate(
        UpdateRow(update_id), 1, update_id, LearnerId(1), UpdateKind.COMMAND, "quiz", state, 1, None, NOW
    )


def daily_quiz(number: int, learner_id: LearnerId) -> StoredQuiz:
    return StoredQuiz(
        id=QuizId(number),
        learner_id=learner_id,
        kind=QuizKind.DAILY,
        is_review=False,
        state=QuizState.SENT,
        local_day=date(2026, 11, 25),
        option_order=(0, 1, 2, 3),
        chosen=None,
        answered_at=None,
        graded_at=None,
        feedback_at=None,
        expires_at=NOW + timedelta(days=2),
        question_id=QuestionId(number),
        correct_index=0,
        item="item",
        question_changed_at=NOW,
    )


def records(updates: Sequence[StoredUpdate], quizzes: Sequence[StoredQuiz], version: int = 0) -> Records:
    learner = make_learner(id=LearnerId(1), version=version)
    return Records({learner.id: learner}, {learner.id: 0}, {quiz.id: quiz for quiz in quizzes}, {}, updates, {}, {})


def test_an_update_that_was_answered_and_is_not_stored_is_lost() -> None:
    kept = [stored_update(1, "done"), stored_update(2, "failed")]
    assert count(records(kept, []), {1, 2, 3}, []) == Count(accepted=3, processed=1, lost=2, doubled=0)


def test_a_learner_who_was_due_and_has_no_quiz_is_lost_and_one_with_two_is_doubled() -> None:
    served, forgotten = LearnerId(1), LearnerId(2)
    quizzes = [daily_quiz(1, served), daily_quiz(2, served)]
    assert count(records([], quizzes), set(), [served, forgotten]) == Count(0, 0, lost=1, doubled=1)


def test_a_learner_who_was_graded_more_often_than_there_are_grades_is_doubled() -> None:
    assert count(records([], [], version=2), set(), []) == Count(0, 0, lost=0, doubled=2)
