"""What is read off a learner's answers: sums, levels of the past, and the days that a freeze saved."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.catalog import Level, Topic
from domain.history import PastAnswer, ProgressHistory, Tally
from tests.support.histories import TODAY, histories, history_of


def on_days(*ago: int, right: bool = True) -> ProgressHistory:
    """Return the history of somebody who answered once on each of some days, counted back from today."""
    return history_of([(TODAY - timedelta(days=number), right, Topic.STREAMING) for number in ago])


def days(*ago: int) -> set[date]:
    """Return days counted back from today."""
    return {TODAY - timedelta(days=number) for number in ago}


def test_a_missed_day_that_a_freeze_survived_is_saved() -> None:
    history = on_days(*range(12, 5, -1), 4, 3, 2, 1, 0)  # seven days earn a freeze, the eighth is missed
    assert history.saved_days == days(5)
    assert history.streak == 12


def test_a_missed_day_that_broke_the_streak_is_not_saved() -> None:
    history = on_days(4, 3, 1, 0)
    assert history.saved_days == set()
    assert history.streak == 2


def test_missed_days_before_today_are_saved_while_freezes_last() -> None:
    assert on_days(*range(16, 2, -1)).saved_days == days(2, 1)
    assert on_days(*range(16, 2, -1)).freezes_left == 0
    assert on_days(*range(15, 1, -1)).freezes_left == 1
    assert on_days(*range(14, 0, -1)).freezes_left == 2


def test_days_after_a_streak_broke_are_not_saved() -> None:
    history = on_days(*range(20, 6, -1))
    assert history.streak == 0
    assert history.saved_days == set()


def test_a_date_that_is_lived_twice_saves_nothing() -> None:
    """Whoever flies west answers on a date again, or even on the one before."""
    order = (2, 1, 2, 1, 0)
    answers = tuple(PastAnswer(TODAY - timedelta(days=ago), True, Level.BEGINNER, 2) for ago in order)  # noqa: FBT003
    history = ProgressHistory(TODAY, Level.BEGINNER, 0, 3, 3, 0, answers, ())
    assert history.saved_days == set()


@given(histories)
def test_a_streak_is_made_of_answered_and_saved_days(history: ProgressHistory) -> None:
    assert history.saved_days.isdisjoint(history.answered_days)
    answered = sorted(history.answered_days, reverse=True)[: history.streak]
    if answered:
        kept = history.answered_days | history.saved_days
        length = (TODAY - answered[-1]).days
        assert all(TODAY - timedelta(days=ago) in kept for ago in range(1, length + 1))


@given(histories, st.integers(1, 500))
def test_recent_answers_and_earlier_ones_are_all(history: ProgressHistory, span: int) -> None:
    recent, earlier = history.recent(span), history.tally(last=TODAY - timedelta(days=span))
    assert recent.answered + earlier.answered == len(history.answers)
    assert recent.correct + earlier.correct == sum(answer.correct for answer in history.answers)


def test_seven_days_are_today_and_the_six_before() -> None:
    assert on_days(7, 6, 0, right=False).recent(7) == Tally(2, 0)


def test_the_level_of_a_day_is_that_of_its_latest_answer() -> None:
    history = history_of(
        [(TODAY - timedelta(days=40), True, Topic.STREAMING)] * 3
        + [(TODAY - timedelta(days=30), True, Topic.STREAMING)] * 5
        + [(TODAY, True, Topic.STREAMING)] * 60
    )
    assert history.level_before(41) is None
    assert history.level_before(31) is Level.INTERMEDIATE
    assert history.level_before(30) is Level.ADVANCED
    assert history.level_before(0) is Level.EXPERT
