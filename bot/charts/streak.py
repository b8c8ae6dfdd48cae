"""The lower part of the picture: the latest weeks as a calendar, and the streak."""

from __future__ import annotations

from datetime import date, timedelta
from enum import Enum

from bot.charts.canvas import AMBER, BLUE, CARD, HUGE, INK, MUTED, PALE_BLUE, SMALL, TITLE, TRACK, Box, Canvas
from domain.history import ProgressHistory

WEEKS = 16
HEIGHT = 350

_DAYS_A_WEEK = 7
_CELL, _STEP = 31, 37
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MIN_MONTH_WEEKS = 3
_SNOWFLAKE = "\N{SNOWFLAKE}"


class Day(Enum):
    """What a day of the calendar was."""

    ANSWERED = "answered"
    SAVED = "saved by a freeze"
    MISSED = "missed"
    BEFORE = "before the first answer"
    OPEN = "today, not answered yet"


def calendar(history: ProgressHistory) -> dict[date, Day]:
    """Return what the days of the latest weeks were, from a Monday until today; some day must have an answer."""
    answered, saved = history.answered_days, history.saved_days
    begin = min(answered)

    def kind(day: date) -> Day:
        if day in answered:
            return Day.ANSWERED
        if day in saved:
            return Day.SAVED
        if day == history.today:
            return Day.OPEN
        return Day.BEFORE if day < begin else Day.MISSED

    monday = history.today - timedelta(days=history.today.weekday() + _DAYS_A_WEEK * (WEEKS - 1))
    count = (history.today - monday).days + 1
    return {day: kind(day) for day in (monday + timedelta(days=number) for number in range(count))}


def draw_streak(canvas: Canvas, box: Box, history: ProgressHistory) -> None:
    """Draw weeks as columns and days as rows, and the streak beside them; some day must have an answer."""
    canvas.card(box)
    days = calendar(history)
    left = box.left + 36 + canvas.width_of("Mon", size=SMALL) + 18
    top = box.top + 68
    for row, name in ((0, "Mon"), (2, "Wed"), (4, "Fri"), (6, "Sun")):
        canvas.write(box.left + 36, top + _STEP * row + _CELL / 2, name, size=SMALL, colour=MUTED)
    for column, name in month_labels(min(days)):
        canvas.write(left + _STEP * column, box.top + 40, name, size=SMALL, colour=MUTED)
    for number, (day, kind) in enumerate(days.items()):
        place = Box(left + _STEP * (number // _DAYS_A_WEEK), top + _STEP * day.weekday(), _CELL, _CELL)
        _draw_day(canvas, place, kind, is_today=day == history.today)
    _draw_numbers(canvas, box.inside(left - box.left + _STEP * WEEKS + 34, 0, 32, 0), history)


def month_labels(monday: date) -> list[tuple[int, str]]:
    """Return the columns over which a month's name stands: its first week, if its name has room there."""
    months = [(monday + timedelta(weeks=week)).month for week in range(WEEKS)]
    starts = [0] + [week for week in range(1, WEEKS) if months[week] != months[week - 1]]
    ends = [*starts[1:], WEEKS]
    return [
        (start, _MONTHS[months[start] - 1])
        for start, end in zip(starts, ends, strict=True)
        if end - start >= _MIN_MONTH_WEEKS
    ]


_FILL = {
    Day.ANSWERED: BLUE,
    Day.SAVED: PALE_BLUE,
    Day.MISSED: TRACK,
    Day.BEFORE: "#F6F8FA",
    Day.OPEN: CARD,
}


def _draw_day(canvas: Canvas, place: Box, kind: Day, *, is_today: bool = False) -> None:
    if is_today:
        place = place.inside(2, 2, 2, 2)  # its outline lies half outside
    canvas.rounded(place, _FILL[kind], 7, AMBER if is_today else None)
    if kind is Day.SAVED:
        x, y = place.left + place.width / 2, place.top + place.height / 2
        canvas.write(x, y, _SNOWFLAKE, size=24, colour=INK, align="center", valign="center")


def _draw_numbers(canvas: Canvas, box: Box, history: ProgressHistory) -> None:
    canvas.write(box.left, box.top + 44, "Streak", size=TITLE, bold=True)
    number, unit = f"{history.streak:,}", "day" if history.streak == 1 else "days"
    room = box.width - canvas.width_of(unit) - 12
    size = min(HUGE, HUGE * room / canvas.width_of(number, size=HUGE, bold=True))
    line = canvas.write(box.left - 3, box.top + 152, number, size=size, bold=True, valign="baseline").get_text()
    end = box.left + canvas.width_of(line, size=size, bold=True)
    canvas.write(end + 12, box.top + 152, unit, colour=MUTED, valign="baseline")
    canvas.write(box.left, box.top + 196, f"best: {history.best_streak:,}", size=SMALL, colour=MUTED)
    for row, (kind, words) in enumerate(
        ((Day.ANSWERED, "answered"), (Day.SAVED, f"freeze: {history.freezes_left} left"))
    ):
        place = Box(box.left, box.top + 68 + _STEP * (row + 5), _CELL, _CELL)
        _draw_day(canvas, place, kind)
        canvas.write(place.right + 14, place.top + _CELL / 2, words, size=SMALL, colour=MUTED)
