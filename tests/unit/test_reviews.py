"""When a missed question comes back: soon after a miss, ever later while it is known, never later than half a year."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from fsrs import Card
from hypothesis import given
from hypothesis import strategies as st

from adaptation.reviews import MAX_REVIEW_DAYS, remember
from domain.learning import Memory

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
waits = st.timedeltas(timedelta(0), timedelta(days=400))
histories = st.lists(st.tuples(waits, st.booleans()), max_size=15)
zones = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))


def play(history: list[tuple[timedelta, bool]]) -> list[Memory | None]:
    """Return what is remembered after each of some answers, each so long after the one before."""
    memory, at, path = None, NOON, []
    for wait, correct in history:
        at += wait
        memory = remember(memory, at, correct=correct)
        path.append(memory)
    return path


def missed(at: datetime = NOON) -> Memory:
    """Return what is remembered of a first miss."""
    memory = remember(None, at, correct=False)
    assert memory is not None
    return memory


def recall(memory: Memory) -> Memory:
    """Return what is remembered after a right answer on the day that the question came back."""
    after = remember(memory, memory.due_at, correct=True)
    assert after is not None
    return after


def test_a_missed_question_returns_the_next_day() -> None:
    assert missed().due_at - NOON == DAY


@given(st.integers(1, 10))
def test_a_question_that_was_never_missed_does_not_return(times: int) -> None:
    assert play([(DAY, True)] * times) == [None] * times


def test_intervals_grow_with_each_right_answer_up_to_half_a_year() -> None:
    memory, intervals = missed(), []
    for _ in range(12):
        memory = recall(memory)
        intervals.append((memory.due_at - memory.reviewed_at).days)
    assert intervals == sorted(intervals)
    assert intervals[0] > 1
    assert intervals[-1] == MAX_REVIEW_DAYS


def test_a_wrong_answer_shrinks_the_interval() -> None:
    memory = recall(recall(recall(missed())))
    before = memory.due_at - memory.reviewed_at
    after = remember(memory, memory.due_at, correct=False)
    assert after is not None
    assert after.due_at - after.reviewed_at < before / 2


@given(histories)
def test_no_interval_is_shorter_than_a_day_or_longer_than_half_a_year(history: list[tuple[timedelta, bool]]) -> None:
    for memory in filter(None, play(history)):
        assert DAY <= memory.due_at - memory.reviewed_at <= MAX_REVIEW_DAYS * DAY
        assert memory.stability > 0
        assert 1 <= memory.difficulty <= 10


@given(histories)
def test_the_same_answers_give_the_same_memory(history: list[tuple[timedelta, bool]]) -> None:
    assert play(history) == play(history)


@given(histories)
def test_a_memory_begins_with_the_first_miss_and_stays(history: list[tuple[timedelta, bool]]) -> None:
    right = [correct for _, correct in history]
    first = right.index(False) if False in right else len(right)
    assert [memory is None for memory in play(history)] == [place < first for place in range(len(right))]


@given(histories.filter(lambda history: not all(correct for _, correct in history)), waits, st.booleans())
def test_an_answer_out_of_order_counts_as_given_with_the_latest(
    history: list[tuple[timedelta, bool]],
    early: timedelta,
    correct: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    memory = play(history)[-1]
    assert memory is not None
    late = remember(memory, memory.reviewed_at - early, correct=correct)
    assert late == remember(memory, memory.reviewed_at, correct=correct)
    assert late is not None
    assert late.reviewed_at == memory.reviewed_at


@given(histories, zones)
def test_a_clock_in_another_zone_changes_nothing(history: list[tuple[timedelta, bool]], zone: timezone) -> None:
    memory, at = None, NOON.astimezone(zone)
    for wait, correct in history:
        at += wait
        memory = remember(memory, at, correct=correct)
    assert memory == (play(history) or [None])[-1]


def test_nothing_waits_for_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler's cards make their id from the clock, and wait for it, unless they are given one."""

    def refuse(_: float) -> None:
        raise AssertionError("a pure function sleeps")

    monkeypatch.setattr(time, "sleep", refuse)
    with pytest.raises(AssertionError):
        Card()
    assert recall(missed()).due_at > NOON
