"""The state machine of levels and streaks: what one answer changes. Pure: no clock, no randomness, no storage."""

# Theory of operation
# -------------------
# The ratings hold all that is known of a learner's ability, as an estimate and a doubt (adaptation/ratings.py). A level
# is only their name for the learner, so it follows the estimate, with hysteresis against luck:
#
#   - A right answer raises the level by one if the estimate is nearer to a higher level.
#   - A wrong answer lowers it by one if a lower level is nearer even 1.6 standard deviations above the estimate.
#   - "I don't know" changes neither level nor points, only the estimate. In the placement it is a wrong answer.
#   - The first answers of a new learner, six by default, change nothing; the last of them does either, all the way.
#
# A level is near when the learner would be right on about the target share of its questions, 77.5%. The estimate goes
# from one level to the next where success misses the target on both by as much.
#
# Rising is quick and falling is slow, on purpose: who is on too low a level is told so by being right too often, and
# one answer too early costs little, since questions are chosen by rating. Who answers at the target is hardly ever
# lowered by a run of bad luck. After a rise the estimate must fall by the whole doubt before the level does, so levels
# do not flicker. What each number costs is measured in docs/adaptation.md.
#
# TRANSITIONS has one row for every (occasion, estimate); the diagram in docs/adaptation.md is drawn from it. Points say
# how near the next level is, in hundredths: where the estimate stands between both ends of the level. They decide
# nothing. The lowest level has no lower end, so it is taken to be as wide as it is far to the next. No right answer
# takes points away: after "I don't know", which takes none, they wait until the estimate has come back to them.
#
# The daily streak is apart from all of this: it counts local days in a row on which anything was answered, right or
# wrong. Each seven days of a streak earn a freeze, two are kept at most, and each saves one missed day.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum, IntEnum

from adaptation.ratings import LEVEL_DIFFICULTY, TARGET_SUCCESS, expected_success, level_boundary, nearest_level
from domain.catalog import Level
from domain.learning import Rating
from domain.models import Grade, Progress, Streak
from domain.settings import Settings

LEVEL_RULES = 2
"""Which rules a grade was made by; stored with it, since a replay can only work out again what its own rules made."""

WHOLE_WAY = 100
"""Points at which the estimate is as near to the next level as to this one."""


class Answer(Enum):
    """How a question was answered."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    """The learner said so: a wrong answer for the ratings and the placement, and none for points and run."""


class Occasion(Enum):
    """When an answer comes."""

    PLACING = "before the last answer of the placement"
    PLACED = "last answer of the placement"
    RIGHT = "a right answer"
    WRONG = "a wrong answer"
    UNKNOWN = '"I don\'t know"'


class Estimate(Enum):
    """Where the estimate of a learner's ability stands, seen from their level."""

    HIGHER = "nearer to a higher level"
    HERE = "neither"
    LOWER = "surely nearer to a lower level"


class Move(IntEnum):
    """What happens to the level."""

    FALL = -1
    STAY = 0
    RISE = 1


TRANSITIONS: dict[tuple[Occasion, Estimate], Move] = {
    (Occasion.PLACING, Estimate.HIGHER): Move.STAY,
    (Occasion.PLACING, Estimate.HERE): Move.STAY,
    (Occasion.PLACING, Estimate.LOWER): Move.STAY,
    (Occasion.PLACED, Estimate.HIGHER): Move.RISE,
    (Occasion.PLACED, Estimate.HERE): Move.STAY,
    (Occasion.PLACED, Estimate.LOWER): Move.FALL,
    (Occasion.RIGHT, Estimate.HIGHER): Move.RISE,
    (Occasion.RIGHT, Estimate.HERE): Move.STAY,
    (Occasion.RIGHT, Estimate.LOWER): Move.STAY,
    (Occasion.WRONG, Estimate.HIGHER): Move.STAY,
    (Occasion.WRONG, Estimate.HERE): Move.STAY,
    (Occasion.WRONG, Estimate.LOWER): Move.FALL,
    (Occasion.UNKNOWN, Estimate.HIGHER): Move.STAY,
    (Occasion.UNKNOWN, Estimate.HERE): Move.STAY,
    (Occasion.UNKNOWN, Estimate.LOWER): Move.STAY,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of the machine. All are settings."""

    placement_answers: int = 6
    """First answers that place a new learner."""
    target_success: float = TARGET_SUCCESS
    confidence: float = 1.6
    """Standard deviations of the ability by which the estimate may be wrong before a level falls: 1.6 leaves one doubt
    in eighteen. Measured in docs/adaptation.md."""
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
    estimate: Estimate


def calculate_adaptation(
    progress: Progress,
    answer: Answer,
    local_day: date,
    ability: Rating,
    rules: Rules = DEFAULT_RULES,
    difficulties: Mapping[Level, float] = LEVEL_DIFFICULTY,
) -> Adaptation:
    """Return where a learner stands after one more answer.

    Args:
        ability: the learner's rating with this answer counted.
        difficulties: mean difficulty of each level's questions, in logits.
    """
    occasion = _occasion(progress.placement_left, answer)
    nearest = fitting_level(progress.level, ability, rules, difficulties)
    estimate = _estimate(progress.level, nearest)
    move = TRANSITIONS[occasion, estimate]
    step = nearest - progress.level if occasion is Occasion.PLACED else move.value
    level = Level(progress.level + step) if move else progress.level
    points = points_of(level, ability, difficulties, rules.target_success)
    if occasion is Occasion.UNKNOWN:
        points = progress.points
    elif occasion is Occasion.RIGHT and move is Move.STAY:
        points = max(points, progress.points)
    after = Progress(
        level,
        points,
        _next_run(progress.run, answer) if level == progress.level else 0,
        max(0, progress.placement_left - 1),
        advance_streak(progress.streak, local_day, rules),
    )
    return Adaptation(progress, after, move, estimate)


def fitting_level(
    level: Level,
    ability: Rating,
    rules: Rules = DEFAULT_RULES,
    difficulties: Mapping[Level, float] = LEVEL_DIFFICULTY,
) -> Level:
    """Return where a learner of a level belongs: on the nearest one, but on no lower one while there is doubt.

    Args:
        difficulties: mean difficulty of each level's questions, in logits.
    """
    doubt = rules.confidence * ability.variance**0.5
    lowest = nearest_level(ability.mean, difficulties, rules.target_success)
    highest = nearest_level(ability.mean + doubt, difficulties, rules.target_success)
    return max(lowest, min(level, highest))


def points_of(
    level: Level,
    ability: Rating,
    difficulties: Mapping[Level, float] = LEVEL_DIFFICULTY,
    target: float = TARGET_SUCCESS,
) -> int:
    """Return how near the next level is, from 0 to `WHOLE_WAY`; 0 on the highest level.

    Args:
        difficulties: mean difficulty of each level's questions, in logits.
        target: the share of right answers to aim at.
    """
    if level is Level.EXPERT:
        return 0
    above = level_boundary(difficulties[level], difficulties[Level(level + 1)], target)
    if level is Level.BEGINNER:
        width = difficulties[Level(level + 1)] - difficulties[level]
    else:
        width = above - level_boundary(difficulties[Level(level - 1)], difficulties[level], target)
    missing = (above - ability.mean) / max(width, _NARROW)
    return int(WHOLE_WAY * min(1.0, max(0.0, 1 - missing)))


def success_on(level: Level, grade: Grade) -> float | None:
    """Return the share of a level's questions that a learner was expected to get right at a grade; None if not kept."""
    if grade.ability is None or grade.difficulties is None:
        return None
    return expected_success(grade.ability, grade.difficulties[level])


_NARROW = 0.01
"""Logits that a level is taken to be wide where learners found it harder than the next one."""


def _occasion(placement_left: int, answer: Answer) -> Occasion:
    if placement_left:
        return Occasion.PLACED if placement_left == 1 else Occasion.PLACING
    return {Answer.RIGHT: Occasion.RIGHT, Answer.WRONG: Occasion.WRONG, Answer.UNKNOWN: Occasion.UNKNOWN}[answer]


def _estimate(level: Level, nearest: Level) -> Estimate:
    if nearest == level:
        return Estimate.HERE
    return Estimate.HIGHER if nearest > level else Estimate.LOWER


def _next_run(run: int, answer: Answer) -> int:
    if answer is Answer.UNKNOWN:
        return run
    return max(run, 0) + 1 if answer is Answer.RIGHT else min(run, 0) - 1


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
        placement_answers=settings.placement_answers,
        target_success=settings.target_success,
        confidence=settings.gate_confidence,
        freeze_days=settings.streak_freeze_days,
        max_freezes=settings.streak_freezes_kept,
    )
