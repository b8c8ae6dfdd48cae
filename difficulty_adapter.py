"""The state machine of levels and streaks: what one answer changes. Pure: no clock, no randomness, no storage."""

# Theory of operation
# -------------------
# A learner stands on a level and holds points between -threshold and +threshold. A right answer adds one point, a wrong
# one takes three. At +threshold the learner rises a level, at -threshold falls one, one step at most, and points and
# run start at 0 again. With the default of 6, six right in a row from zero rise, two wrong in a row fall, and three
# right make good one wrong.
#
# Where it settles: the points do not drift when (share right) * 1 = (share wrong) * 3, which is at three right in four.
# This is the weighted up-down method of Kaernbach (1991, doi 10.3758/bf03214307). The usual "three right up, two wrong
# down" settles where a learner is right six times in ten, which feels like failing.
#
# Points are few and luck is large, so the ratings hold a gate (adaptation/ratings.py). They say what share of the
# level's questions this learner would get right, as an interval. A level is left upward only if all of the interval is
# at the target or above, downward only if all of it is below; otherwise the points rest at their bound and wait.
# Without ratings the gate is open.
#
# The first answers of a new learner, six by default, place them: the ratings alone choose the questions, points stay at
# 0, and the last of these answers sets the level that fits. Six answers leave much doubt, so a learner is moved no
# further than to the nearest level that the rating, half a standard deviation up or down, would still call fitting.
#
# TRANSITIONS has one row for every (bound, evidence); the diagram in docs/adaptation.md is drawn from it.
#
# The daily streak is apart from all of this: it counts local days in a row on which anything was answered, right or
# wrong. Each seven days of a streak earn a freeze, two are kept at most, and each saves one missed day.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum, IntEnum

from adaptation.ratings import (
    LEVEL_DIFFICULTY,
    TARGET_SUCCESS,
    expected_success,
    nearest_level,
)
from domain.catalog import Level
from domain.learning import Rating
from domain.models import Progress, Streak
from domain.settings import Settings


class Answer(Enum):
    """How a question was answered."""

    RIGHT = "right"
    WRONG = "wrong"


class Bound(Enum):
    """Where the points are after an answer was counted."""

    INSIDE = "inside"
    UPPER = "at the upper bound"
    LOWER = "at the lower bound"


class Evidence(Enum):
    """What the ratings say about a learner's success on their level, beside the target."""

    NONE = "no ratings"
    ABOVE = "surely at the target or above"
    UNSURE = "above or below"
    BELOW = "surely below the target"


class Move(IntEnum):
    """What happens to the level."""

    FALL = -1
    STAY = 0
    RISE = 1


TRANSITIONS: dict[tuple[Bound, Evidence], Move] = {
    (Bound.INSIDE, Evidence.NONE): Move.STAY,
    (Bound.INSIDE, Evidence.ABOVE): Move.STAY,
    (Bound.INSIDE, Evidence.UNSURE): Move.STAY,
    (Bound.INSIDE, Evidence.BELOW): Move.STAY,
    (Bound.UPPER, Evidence.NONE): Move.RISE,
    (Bound.UPPER, Evidence.ABOVE): Move.RISE,
    (Bound.UPPER, Evidence.UNSURE): Move.STAY,
    (Bound.UPPER, Evidence.BELOW): Move.STAY,
    (Bound.LOWER, Evidence.NONE): Move.FALL,
    (Bound.LOWER, Evidence.ABOVE): Move.STAY,
    (Bound.LOWER, Evidence.UNSURE): Move.STAY,
    (Bound.LOWER, Evidence.BELOW): Move.FALL,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of the machine. All are settings, but for the reward, which is their unit."""

    threshold: int = 6
    """Points at which a level changes, at least 1."""
    reward: int = 1
    """Points for a right answer; no setting, since only its ratio to the other two matters."""
    penalty: int = 3
    """Points that a wrong answer takes, at least 1."""
    placement_answers: int = 6
    """First answers that place a new learner."""
    placement_confidence: float = 0.5
    """Half the width of the interval that places a learner, in standard deviations of the ability."""
    target_success: float = TARGET_SUCCESS
    confidence: float = 1.65
    """Half the width of the gate's interval in standard deviations of the ability: 1.65 leaves one doubt in twenty on a
    side. Measured in docs/adaptation.md."""
    freeze_days: int = 7
    """Days of a streak that earn a freeze."""
    max_freezes: int = 2
    """Freezes that are kept at once."""


DEFAULT_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What an answer changed."""

    before: Progress
    after: Progress
    move: Move
    evidence: Evidence


def calculate_adaptation(
    progress: Progress,
    answer: Answer,
    local_day: date,
    rules: Rules = DEFAULT_RULES,
    ability: Rating | None = None,
    difficulties: Mapping[Level, float] = LEVEL_DIFFICULTY,
) -> Adaptation:
    """Return where a learner stands after one more answer.

    Args:
        ability: the learner's rating with this answer counted; None leaves the gate open and places nobody.
        difficulties: mean difficulty of each level's questions, in logits.
    """
    streak = advance_streak(progress.streak, local_day, rules)
    evidence = weigh(ability, difficulties[progress.level], rules)
    run = _next_run(progress.run, answer)
    if progress.placement_left > 0 and ability is not None:
        left = progress.placement_left - 1
        level = progress.level if left else place(progress.level, ability, rules, difficulties)
        after = Progress(level, 0, 0 if level != progress.level else run, left, streak)
        return Adaptation(progress, after, Move((level > progress.level) - (level < progress.level)), evidence)
    gain = rules.reward if answer is Answer.RIGHT else -rules.penalty
    points = max(-rules.threshold, min(rules.threshold, progress.points + gain))
    move = TRANSITIONS[_bound(points, rules.threshold), evidence]
    level = Level(max(Level.BEGINNER, min(Level.EXPERT, progress.level + move)))
    if level == progress.level:  # also where there is nowhere to rise or fall: the points rest at their bound
        after = Progress(level, points, run, max(0, progress.placement_left - 1), streak)
        return Adaptation(progress, after, Move.STAY, evidence)
    return Adaptation(progress, Progress(level, 0, 0, 0, streak), move, evidence)


def weigh(ability: Rating | None, difficulty: float, rules: Rules = DEFAULT_RULES) -> Evidence:
    """Return what a rating says about a learner's success on questions of some difficulty.

    Args:
        difficulty: mean difficulty of the level's questions, in logits.
    """
    if ability is None:
        return Evidence.NONE
    doubt = rules.confidence * ability.variance**0.5
    if expected_success(ability.mean - doubt, difficulty) >= rules.target_success:
        return Evidence.ABOVE
    if expected_success(ability.mean + doubt, difficulty) < rules.target_success:
        return Evidence.BELOW
    return Evidence.UNSURE


def place(
    level: Level,
    ability: Rating,
    rules: Rules = DEFAULT_RULES,
    difficulties: Mapping[Level, float] = LEVEL_DIFFICULTY,
) -> Level:
    """Return the level for a learner after their first answers: as near to where they began as the rating permits.

    Args:
        difficulties: mean difficulty of each level's questions, in logits.
    """
    doubt = rules.placement_confidence * ability.variance**0.5
    lowest = nearest_level(ability.mean - doubt, difficulties, rules.target_success)
    highest = nearest_level(ability.mean + doubt, difficulties, rules.target_success)
    return min(max(level, lowest), highest)


def _next_run(run: int, answer: Answer) -> int:
    return max(run, 0) + 1 if answer is Answer.RIGHT else min(run, 0) - 1


def _bound(points: int, threshold: int) -> Bound:
    if points >= threshold:
        return Bound.UPPER
    return Bound.LOWER if points <= -threshold else Bound.INSIDE


def advance_streak(streak: Streak, local_day: date, rules: Rules = DEFAULT_RULES) -> Streak:
    """Return the daily streak after an answer.

    A day that is not later than the latest one changes nothing: a learner who flies west may live a date twice, and
    answers that arrive out of order belong to days that are counted already.

    Args:
        streak: before the answer.
    """
    if streak.last_day is None:
        return Streak(1, local_day, streak.freezes)
    gap = (local_day - streak.last_day).days
    if gap <= 0:
        return Streak(max(streak.days, 1), streak.last_day, streak.freezes)
    missed = gap - 1
    if missed > streak.freezes:
        return Streak(1, local_day, streak.freezes)
    days = streak.days + 1
    earned = 1 if days % rules.freeze_days == 0 else 0
    return Streak(days, local_day, min(rules.max_freezes, streak.freezes - missed + earned))


def rules_of(settings: Settings) -> Rules:
    """Return the numbers of the level machine that the settings ask for."""
    return Rules(
        threshold=settings.correct_threshold_for_promotion,
        penalty=settings.points_per_miss,
        placement_answers=settings.placement_answers,
        placement_confidence=settings.placement_confidence,
        target_success=settings.target_success,
        confidence=settings.gate_confidence,
        freeze_days=settings.streak_freeze_days,
        max_freezes=settings.streak_freezes_kept,
    )
