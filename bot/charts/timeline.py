"""The upper part of the picture: the share of right answers and the level, over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import pairwise

from matplotlib.axes import Axes

from bot.charts.canvas import AMBER, BLUE, GRID, INK, MUTED, SLATE, SMALL, TITLE, WASH, Box, Canvas, font
from domain.catalog import Level
from domain.history import PastAnswer, ProgressHistory
from domain.words import plural

MIN_WINDOW = 20
"""Answers that one point of the curve sums up, at least: fewer would dance."""
WINDOWS = 30
"""Windows that a long history is made of, so that its curve stays a curve."""
FIRST_POINT = 5
"""Answers before the curve begins: fewer say nothing."""
MAX_POINTS = 240
"""Points of the curve that a phone can still tell apart; more only take time to draw."""
MAX_STEPS = 24
"""Changes of level that can be told apart."""

HEIGHT = 482
_HEAD, _SHARE, _GAP, _LEVELS = 80, 180, 28, 132
_LOW_SHARE = 0.4
"""Where the axis of shares begins while the curve stays above; most curves do, and move little."""
_LETTER_ROOM = 34
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SPAN_WITH_YEARS = 300
_SPAN_WITH_MIDDLE = 6

Point = tuple[float, float]


def draw_timeline(canvas: Canvas, box: Box, history: ProgressHistory, aim: float) -> None:
    """Draw both curves over one axis of time.

    Args:
        history: with at least one answer.
        aim: the share of right answers that questions are chosen for.
    """
    canvas.card(box)
    inner = box.inside(36, 0, 36, 0)
    canvas.write(inner.left, box.top + 44, "Accuracy and level", size=TITLE, bold=True)
    window = window_of(len(history.answers))
    canvas.write(
        inner.right, box.top + 44, _what_counts(len(history.answers), window), size=SMALL, colour=MUTED, align="right"
    )
    left = inner.left + max(canvas.width_of(level.label, size=SMALL, bold=True) for level in Level) + 22
    width = inner.right - left - canvas.width_of("100%", bold=True) - 22
    times = positions(history.answers)
    span = (history.answers[0].day.toordinal(), history.today.toordinal() + 1)
    span = (min(span[0], int(times[0])), max(span[1], int(max(times)) + 1))
    upper = Box(left, box.top + _HEAD, width, _SHARE)
    lower = Box(left, upper.bottom + _GAP, width, _LEVELS)
    _draw_share(canvas, upper, thin_out(rolling_share(history.answers, times, window)), span, aim)
    _draw_levels(canvas, lower, level_steps(history.answers, times, span), history.level, span)
    for x, words, align in time_labels(*span):
        canvas.write(left + x * width, lower.bottom + 26, words, size=SMALL, colour=MUTED, align=align)


def window_of(count: int) -> int:
    """Return how many answers one point of the curve sums up: a round number that grows with the history."""
    return max(MIN_WINDOW, round(count // WINDOWS, -1))


def _what_counts(count: int, window: int) -> str:
    if count > window:
        return f"last {window} answers"
    return f"{count} {plural(count, 'answer')}"


def positions(answers: Sequence[PastAnswer]) -> list[float]:
    """Return when each answer was given, in days; those of one day are spread over it evenly."""
    counts: dict[date, int] = {}
    for answer in answers:
        counts[answer.day] = counts.get(answer.day, 0) + 1
    seen: dict[date, int] = {}
    times: list[float] = []
    for answer in answers:
        place = seen.get(answer.day, 0)
        seen[answer.day] = place + 1
        time = answer.day.toordinal() + (place + 0.5) / counts[answer.day]
        times.append(max(time, times[-1]) if times else time)  # a learner who flies west lives a date twice
    return times


def rolling_share(answers: Sequence[PastAnswer], times: Sequence[float], window: int) -> list[Point]:
    """Return the curve of right answers: each point sums up the latest answers until then.

    Args:
        answers: at least one, the oldest first.
        window: how many answers a point sums up, at least 2; the first points sum up all there are.
    """
    right = [0]
    for answer in answers:
        right.append(right[-1] + answer.correct)
    first = min(FIRST_POINT, len(answers)) if len(answers) <= window else window // 2
    ends = range(first, len(answers) + 1)
    return [(times[end - 1], (right[end] - right[max(0, end - window)]) / min(end, window)) for end in ends]


def thin_out(curve: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """Return a curve of fewer points over the same time: the first, and the last of each stretch.

    Args:
        curve: in order of time.
    """
    if len(curve) <= limit:
        return list(curve)
    begin, end = curve[0][0], curve[-1][0]
    scale = (limit - 1) / (end - begin) if end > begin else 0
    kept = {-1: curve[0]} | {min(limit - 2, int((x - begin) * scale)): (x, y) for x, y in curve}
    return [kept[place] for place in sorted(kept)]


def level_steps(answers: Sequence[PastAnswer], times: Sequence[float], span: tuple[int, int]) -> list[Point]:
    """Return when the level became what, from the beginning of the time to its end.

    A history with too many changes to tell apart is cut into stretches, each on the level that most of its answers had.

    Args:
        answers: at least one, the oldest first.
        span: the first day's number, and that of the day after the last.
    """
    steps = [(float(span[0]), answers[0].level)]
    steps += [
        (time, answer.level)
        for (before, answer), time in zip(pairwise(answers), times[1:], strict=True)
        if answer.level != before.level
    ]
    if len(steps) > MAX_STEPS:
        steps = _usual_levels(answers, times, span)
    return [*((time, float(level)) for time, level in steps), (float(span[1]), float(answers[-1].level))]


def _usual_levels(
    answers: Sequence[PastAnswer], times: Sequence[float], span: tuple[int, int]
) -> list[tuple[float, Level]]:
    width = (span[1] - span[0]) / MAX_STEPS
    stretches: dict[int, Counter[Level]] = {}
    for answer, time in zip(answers, times, strict=True):
        stretches.setdefault(int((time - span[0]) / width), Counter())[answer.level] += 1
    return [
        (span[0] + place * width, max(counts, key=lambda level: (counts[level], level)))
        for place, counts in sorted(stretches.items())
    ]


def time_labels(begin: int, end: int) -> list[tuple[float, str, str]]:
    """Return the words under the axis of time: where, from 0 to 1, what, and which part of the word is there.

    Args:
        end: the number of the day after today.
    """
    days = end - 1 - begin
    labels = [(1.0, "today", "right")]
    if days > 0:
        labels.insert(0, (0.0, _day_name(begin, days), "left"))
    if days >= _SPAN_WITH_MIDDLE:
        labels.insert(1, (0.5, _day_name(begin + (days + 1) // 2, days), "center"))
    return labels


def _day_name(number: int, span: int) -> str:
    day = date.fromordinal(number)
    month = _MONTHS[day.month - 1]
    return f"{month} {day.year}" if span > _SPAN_WITH_YEARS else f"{day.day} {month}"


def _draw_share(canvas: Canvas, box: Box, curve: list[Point], span: tuple[int, int], aim: float) -> None:
    xs, ys = zip(*curve, strict=True)
    floor = _LOW_SHARE if min(ys) >= _LOW_SHARE else 0.0
    pad = 0.04 * (1 - floor)
    axes = canvas.axes(box)
    axes.set_xlim(*span)
    axes.set_ylim(floor - pad, 1 + pad)
    lines = [share for share in (0.0, 0.5, 1.0) if share >= floor]
    axes.hlines(lines, *span, colors=GRID, linewidth=2.5)
    axes.axhline(aim, color=AMBER, linewidth=3, linestyle=(0, (4, 3)))
    _label(axes, span[0], aim, f"aim {aim:.0%}", AMBER)
    for share in lines:
        if abs(share - aim) / (1 - floor) * box.height > _LETTER_ROOM:
            _label(axes, span[0], share, f"{share:.0%}", MUTED)
    axes.plot(xs, ys, color=BLUE, linewidth=6, solid_capstyle="round", solid_joinstyle="round", clip_on=False)
    axes.plot(xs[-1], ys[-1], "o", color=BLUE, markersize=18, markeredgewidth=0, clip_on=False)
    y = box.bottom - (ys[-1] - floor + pad) / (1 - floor + 2 * pad) * box.height
    canvas.write(box.right + 22, y, f"{ys[-1]:.0%}", size=SMALL, bold=True, colour=BLUE)


def _draw_levels(canvas: Canvas, box: Box, steps: list[Point], now: Level, span: tuple[int, int]) -> None:
    axes = canvas.axes(box)
    axes.set_xlim(*span)
    axes.set_ylim(Level.BEGINNER - 0.5, Level.EXPERT + 0.5)
    axes.hlines(list(Level), *span, colors=GRID, linewidth=2.5)
    xs, ys = zip(*steps, strict=True)
    axes.fill_between(xs, ys, Level.BEGINNER - 0.5, step="post", color=WASH, linewidth=0)
    axes.step(xs, ys, where="post", color=SLATE, linewidth=6, solid_capstyle="round", solid_joinstyle="round")
    for level in Level:
        _label(axes, span[0], level, level.label, INK if level is now else MUTED, bold=level is now)


def _label(axes: Axes, x: float, y: float, words: str, colour: str, *, bold: bool = False) -> None:
    """Write left of the axes, at a value of theirs."""
    axes.annotate(
        words, (x, y), (-22, 0), textcoords="offset pixels", color=colour, fontproperties=font(SMALL, bold=bold),
        horizontalalignment="right", verticalalignment="center_baseline", annotation_clip=False,
    )  # fmt: skip
