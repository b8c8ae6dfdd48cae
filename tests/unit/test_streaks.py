"""The daily streak over gaps, time zones and every change of the clocks of a year."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty_adapter import Rules, advance_streak
from domain.catalog import Level
from domain.learning import UNKNOWN_ABILITY
from domain.models import Learner, Streak
from quizzes.grading import grade_answer
from tests.support.factories import make_learner, make_quiz
from tests.support.strategies import days, moments, zones

YEAR = 2026
A_DAY = timedelta(days=1)
TIMES = (time(0), time(2, 30), time(12), time(23, 59, 59))


NO_FREEZES = Rules(max_freezes=0)


def streak_after(answer_days: list[date], rules: Rules = NO_FREEZES) -> tuple[int, date | None]:
    """Return the streak after answers on these local days, in this order, and its latest day."""
    streak = Streak()
    for day in answer_days:
        streak = advance_streak(streak, day, rules)
    return streak.days, streak.last_day


@given(days)
def test_the_first_answer_makes_a_streak_of_one(day: date) -> None:
    assert advance_streak(Streak(), day) == Streak(1, day)


@given(days, st.integers(1, 400))
def test_days_in_a_row_add_up(first: date, count: int) -> None:
    assert streak_after([first + n * A_DAY for n in range(count)]) == (count, first + (count - 1) * A_DAY)


@given(days, st.integers(1, 400), st.integers(2, 4) | st.integers(5, 400))
def test_a_gap_begins_anew(day: date, streak: int, gap: int) -> None:
    later = day + gap * A_DAY
    assert advance_streak(Streak(streak, day), later) == Streak(1, later)


@given(days, st.integers(1, 400), st.integers(0, 400))
def test_the_same_day_and_days_gone_by_change_nothing(day: date, streak: int, back: int) -> None:
    assert advance_streak(Streak(streak, day), day - back * A_DAY) == Streak(streak, day)


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
    assert advance_streak(Streak(2, date(2026, 3, 2)), date(2026, 3, 3)) == Streak(3, date(2026, 3, 3))


@given(days, st.integers(1, 400), st.integers(-2, 4) | st.integers(5, 400))
def test_a_streak_is_alive_until_a_whole_day_went_by(last: date, streak: int, later: int) -> None:
    learner = make_learner(streak_days=streak, last_answer_day=last)
    assert learner.current_streak(last + later * A_DAY) == (streak if later <= 1 else 0)


def test_who_never_answered_has_no_streak() -> None:
    assert make_learner(last_answer_day=None).current_streak(date(2026, 3, 1)) == 0


# ---------------------------------------------------------------- freezes

MONDAY = date(2026, 3, 2)


def on(*numbers: int) -> list[date]:
    """Return days counted from a Monday."""
    return [MONDAY + number * A_DAY for number in numbers]


def streak_with_freezes(answer_days: list[date], rules: Rules | None = None) -> Streak:
    """Return the streak after answers on these local days, with the default rules unless told otherwise."""
    streak = Streak()
    for day in answer_days:
        streak = advance_streak(streak, day, rules or Rules())
    return streak


def test_seven_days_earn_a_freeze_and_two_are_kept_at_most() -> None:
    freezes = [streak_with_freezes(on(*range(count))).freezes for count in (6, 7, 13, 14, 21, 70)]
    assert freezes == [0, 1, 1, 2, 2, 2]


def test_a_freeze_saves_one_missed_day_and_is_used_up() -> None:
    assert streak_with_freezes(on(*range(7), 8)) == Streak(8, MONDAY + 8 * A_DAY, 0)
    assert streak_with_freezes(on(*range(7), 8, 10)) == Streak(1, MONDAY + 10 * A_DAY, 0)


def test_two_freezes_save_two_days_in_a_row_and_not_three() -> None:
    fortnight = range(14)
    assert streak_with_freezes(on(*fortnight, 16)).days == 15
    assert streak_with_freezes(on(*fortnight, 17)) == Streak(1, MONDAY + 17 * A_DAY, 2)


def test_the_day_that_completes_a_week_may_use_one_freeze_and_earn_another() -> None:
    """Six days, a freeze from before, a missed day, and the seventh answer."""
    saved = advance_streak(Streak(6, MONDAY, 1), MONDAY + 2 * A_DAY)
    assert saved == Streak(7, MONDAY + 2 * A_DAY, 1)


@given(st.lists(st.integers(1, 4), max_size=60), st.integers(1, 30), st.integers(0, 5))
def test_freezes_stay_within_their_bounds_and_never_make_up_an_answer(gaps: list[int], every: int, most: int) -> None:
    rules, day, streak, answered = Rules(freeze_days=every, max_freezes=most), MONDAY, Streak(1, MONDAY), 1
    for gap in gaps:
        day, before, answered = day + gap * A_DAY, streak, answered + 1
        streak = advance_streak(streak, day, rules)
        assert 0 <= streak.freezes <= most
        assert streak.days in {1, before.days + 1}
        assert streak.days <= answered
        assert (streak.days == 1) == (gap - 1 > before.freezes)


@given(days, st.integers(2, 400), st.integers(0, 2), st.integers(0, 6))
def test_a_streak_is_alive_as_long_as_freezes_cover_the_days_gone_by(
    last: date, streak: int, freezes: int, later: int
) -> None:
    learner = make_learner(streak_days=streak, last_answer_day=last, freezes=freezes)
    today = last + later * A_DAY
    survives = advance_streak(Streak(streak, last, freezes), today).days >= streak
    assert (learner.current_streak(today) == streak) is survives


# ---------------------------------------------------------------- a learner who moves


def answer_at(learner: Learner, moment: datetime) -> Learner:
    """Return a learner after an answer at a moment, as grading keeps it."""
    quiz = make_quiz(learner_id=learner.id, chosen=0, answered_at=moment)
    grade = grade_answer(quiz, learner, UNKNOWN_ABILITY, NO_FREEZES)
    return make_learner(
        id=learner.id,
        timezone=learner.timezone,
        level=Level.INTERMEDIATE,
        streak_days=grade.after.streak.days,
        last_answer_day=max(grade.local_day, learner.last_day_here or grade.local_day),
        last_answer_at=moment,
    )


def moved(learner: Learner, zone: str) -> Learner:
    """Return a learner who has chosen another time zone."""
    return make_learner(
        id=learner.id,
        timezone=zone,
        streak_days=learner.streak_days,
        last_answer_day=learner.last_answer_day,
        last_answer_at=learner.last_answer_at,
    )


@given(moments, zones, zones, st.timedeltas(timedelta(), timedelta(hours=6)))
def test_moving_neither_breaks_a_streak_nor_counts_an_evening_twice(
    first: datetime, one: str, other: str, later: timedelta
) -> None:
    """Two answers within six hours are at most a day apart on any one clock, whatever the calendars say."""
    home = answer_at(make_learner(timezone=one, streak_days=5, last_answer_day=None), first)
    home = make_learner(
        timezone=one, streak_days=5, last_answer_day=home.last_answer_day, last_answer_at=home.last_answer_at
    )
    there = answer_at(moved(home, other), first + later)
    here = ZoneInfo(other)
    crossed_midnight = (first + later).astimezone(here).date() > first.astimezone(here).date()
    assert there.streak_days in ({5, 6} if crossed_midnight else {5})


def test_a_flight_east_over_the_date_line_skips_a_date_and_breaks_nothing() -> None:
    """Answer in Honolulu in the evening of the 1st; an hour later the clocks of Kiritimati show the 2nd."""
    evening = datetime(2026, 3, 2, 8, tzinfo=UTC)  # 22:00 on the 1st in Honolulu
    learner = answer_at(make_learner(timezone="Pacific/Honolulu", last_answer_day=None), evening)
    assert learner.last_answer_day == date(2026, 3, 1)
    there = answer_at(moved(learner, "Pacific/Kiritimati"), evening + timedelta(hours=1))
    assert (there.streak_days, there.last_answer_day) == (1, date(2026, 3, 2))
    next_day = answer_at(there, evening + timedelta(hours=25))
    assert next_day.streak_days == 2


def test_changing_the_time_zone_to_and_fro_does_not_lengthen_a_streak() -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    learner = answer_at(make_learner(timezone="Pacific/Honolulu", last_answer_day=None), noon)
    for step, zone in enumerate(["Pacific/Kiritimati", "Pacific/Honolulu"] * 5, start=1):
        learner = answer_at(moved(learner, zone), noon + timedelta(minutes=step))
    assert learner.streak_days == 1
