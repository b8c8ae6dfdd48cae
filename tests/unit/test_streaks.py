"""The daily streak over gaps, time zones and every change of the clocks of a year."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty_adapter import advance_streak
from tests.factories import make_learner
from tests.strategies import days, moments, zones

YEAR = 2026
A_DAY = timedelta(days=1)
TIMES = (time(0), time(2, 30), time(12), time(23, 59, 59))


def streak_after(answer_days: list[date]) -> tuple[int, date | None]:
    """Return the streak after answers on these local days, in this order."""
    streak, last = 0, None
    for day in answer_days:
        streak, last = advance_streak(streak, last, day)
    return streak, last


@given(days)
def test_the_first_answer_makes_a_streak_of_one(day: date) -> None:
    assert advance_streak(0, None, day) == (1, day)


@given(days, st.integers(1, 400))
def test_days_in_a_row_add_up(first: date, count: int) -> None:
    assert streak_after([first + n * A_DAY for n in range(count)]) == (count, first + (count - 1) * A_DAY)


@given(days, st.integers(1, 400), st.integers(2, 4) | st.integers(5, 400))
def test_a_gap_begins_anew(day: date, streak: int, gap: int) -> None:
    later = day + gap * A_DAY
    assert advance_streak(streak, day, later) == (1, later)


@given(days, st.integers(1, 400), st.integers(0, 400))
def test_the_same_day_and_days_gone_by_change_nothing(day: date, streak: int, back: int) -> None:
    assert advance_streak(streak, day, day - back * A_DAY) == (streak, day)


@given(st.lists(days, min_size=1, max_size=30))
def test_the_latest_day_never_moves_back_and_the_streak_never_ends_at_zero(answer_days: list[date]) -> None:
    streak, last = streak_after(answer_days)
    assert last == max(answer_days)
    assert 1 <= streak <= len(set(answer_days))


@given(st.lists(days, min_size=1, max_size=30))
def test_answers_in_order_count_the_run_that_ends_today(answer_days: list[date]) -> None:
    ordered = sorted(answer_days)
    run, day = 0, ordered[-1]
    while day in set(ordered):
        run, day = run + 1, day - A_DAY
    assert streak_after(ordered) == (run, ordered[-1])


@given(moments, zones)
def test_a_local_day_is_what_the_calendar_on_the_wall_shows(now: datetime, zone: str) -> None:
    learner = make_learner(timezone=zone)
    offset = now.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    assert learner.local_day(now) == (now.replace(tzinfo=None) + offset).date()


@cache
def changes(zone: str) -> list[date]:
    """Return the local days of a year on which a zone's clocks change."""
    info = ZoneInfo(zone)
    noons = [datetime(YEAR, 1, 1, 12, tzinfo=UTC) + n * A_DAY for n in range(367)]
    offsets = [noon.astimezone(info).utcoffset() for noon in noons]
    return [noons[n].astimezone(info).date() for n in range(1, len(noons)) if offsets[n] != offsets[n - 1]]


def test_there_are_changes_to_test_with() -> None:
    changing = [zone for zone in available_timezones() if changes(zone)]
    assert len(changing) > 100
    assert {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"} <= set(changing)


def instant_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the moment at which the clocks show a time; an hour before it where the change skips it past midnight."""
    instant = datetime.combine(day, at, zone).astimezone(UTC)
    return instant if instant.astimezone(zone).date() == day else instant - timedelta(hours=1)


@pytest.mark.parametrize("at", TIMES, ids=str)
def test_a_streak_survives_every_change_of_the_clocks(at: time) -> None:
    """Answer at the same time on the wall for a week around each change, in every zone that has one."""
    broken = []
    for zone in sorted(available_timezones()):
        learner, info = make_learner(timezone=zone), ZoneInfo(zone)
        for change in changes(zone):
            week = [change + n * A_DAY for n in range(-3, 4)]
            instants = [instant_of(day, at, info) for day in week]
            if streak_after([learner.local_day(instant) for instant in instants])[0] != len(week):
                broken.append((zone, change))
    assert broken == []


def test_the_hour_that_comes_twice_is_still_one_day() -> None:
    learner = make_learner(timezone="Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert streak_after([learner.local_day(first), learner.local_day(first + timedelta(hours=1))])[0] == 1


def test_a_flight_west_over_the_date_line_loses_nothing() -> None:
    """Leave Tokyo on the 2nd, land in Honolulu on the 1st: the streak waits until the 3rd."""
    assert streak_after([date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 1), date(2026, 3, 2)]) == (
        2,
        date(2026, 3, 2),
    )
    assert advance_streak(2, date(2026, 3, 2), date(2026, 3, 3)) == (3, date(2026, 3, 3))


@given(days, st.integers(1, 400), st.integers(-2, 4) | st.integers(5, 400))
def test_a_streak_is_alive_until_a_whole_day_went_by(last: date, streak: int, later: int) -> None:
    learner = make_learner(streak_days=streak, last_answer_day=last)
    assert learner.current_streak(last + later * A_DAY) == (streak if later <= 1 else 0)


def test_who_never_answered_has_no_streak() -> None:
    assert make_learner(last_answer_day=None).current_streak(date(2026, 3, 1)) == 0
