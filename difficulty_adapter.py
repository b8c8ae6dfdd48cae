"""The state machine of levels and streaks: what one answer changes. Pure: no clock, no randomness, no storage."""

# Theory of operation
# -------------------
# A learner stands on a level and holds points between -limit and +limit. A right answer adds one point, a wrong one
# takes three. At +limit the learner rises a level, at -limit falls one, one step at most, and points start at 0 again.
# On the highest level there is nowhere to rise, on the lowest nowhere to fall: points then rest at the limit.
#
# With the default limit of 6 a learner can be told all of it in one line: six right in a row rise, two wrong in a row
# fall, three right make good one wrong.
#
# Where it settles: the points do not drift when (share right) * 1 = (share wrong) * 3, which is at three right in four.
# This is the weighted up-down method of Kaernbach (1991, doi 10.3758/bf03214307). The usual "three right up, two wrong
# down" settles where a learner is right six times in ten, which feels like failing.
#
# POINTS says what an answer is worth; TRANSITIONS says what happens when the points reach a bound. Every possible
# (answer, place) has one row, and the diagram in docs/ is drawn from these two tables.
#
# The daily streak is apart from all of this: it counts local days in a row on which anything was answered.

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum, IntEnum

from domain.catalog import Level

DEFAULT_LIMIT = 6


class Answer(Enum):
    """How a question was answered."""

    RIGHT = "right"
    WRONG = "wrong"


class Bound(Enum):
    """Where the points are after an answer was counted."""

    INSIDE = "inside"
    UPPER = "at the upper bound"
    LOWER = "at the lower bound"


class Move(IntEnum):
    """What happens to the level."""

    FALL = -1
    STAY = 0
    RISE = 1


POINTS: dict[Answer, int] = {Answer.RIGHT: +1, Answer.WRONG: -3}

TRANSITIONS: dict[Bound, Move] = {
    Bound.INSIDE: Move.STAY,
    Bound.UPPER: Move.RISE,
    Bound.LOWER: Move.FALL,
}


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a learner stands."""

    level: Level
    points: int = 0
    streak_days: int = 0
    last_answer_day: date | None = None


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What an answer changed."""

    before: Progress
    after: Progress
    move: Move


def calculate_adaptation(progress: Progress, answer: Answer, local_day: date, limit: int = DEFAULT_LIMIT) -> Adaptation:
    """Return where a learner stands after one more answer.

    Args:
        progress: where they stood.
        answer: whether they were right.
        local_day: the learner's own date of the answer.
        limit: points at which a level changes, at least 1 (``CORRECT_THRESHOLD_FOR_PROMOTION``).
    """
    points = max(-limit, min(limit, progress.points + POINTS[answer]))
    move = TRANSITIONS[_bound(points, limit)]
    level = Level(max(Level.BEGINNER, min(Level.EXPERT, progress.level + move)))
    if level != progress.level:
        points = 0
    else:
        move = Move.STAY
    streak, last_day = advance_streak(progress.streak_days, progress.last_answer_day, local_day)
    return Adaptation(progress, Progress(level, points, streak, last_day), move)


def _bound(points: int, limit: int) -> Bound:
    if points >= limit:
        return Bound.UPPER
    return Bound.LOWER if points <= -limit else Bound.INSIDE


def advance_streak(streak_days: int, last_day: date | None, local_day: date) -> tuple[int, date]:
    """Return the daily streak after an answer, and its latest day.

    A day that is not later than the latest one changes nothing: a learner who flies west may live a date twice, and
    answers that arrive out of order belong to days that are counted already.

    Args:
        streak_days: days in a row so far.
        last_day: the latest local day with an answer; None when there is none.
        local_day: the learner's own date of this answer.
    """
    if last_day is None:
        return 1, local_day
    gap = (local_day - last_day).days
    if gap <= 0:
        return max(streak_days, 1), last_day
    return (streak_days + 1 if gap == 1 else 1), local_day
