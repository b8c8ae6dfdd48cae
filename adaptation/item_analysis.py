"""What learners' answers say against questions: their level, their distractors, whom they mislead. Pure.

Theory of operation. Questions are chosen by rating, which evens out how often they are answered rightly: a share of
right answers says nothing of a level, the rating does. Ratings are relative to the learners, and able ones make all
questions look easy; so what all items have in common is taken off first. A level is called wrong only if the rating,
moved by its doubt towards that level, is still nearer to another one. The rest is classical item analysis: how many
take each distractor, and whether being right goes with ability (Crocker and Algina 1986, chapter 14).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from adaptation.ratings import LEVEL_DIFFICULTY, QUESTION_PRIORS
from domain.bank import Finding, ItemAnswers
from domain.catalog import Level
from domain.learning import UNKNOWN_ABILITY, Rating

MIN_ANSWERS = 100
"""First answers below which nothing is said of an item, and choices below which nothing is said of its options."""

MIN_TAKEN = 0.03
"""Share of the choices below which a distractor might as well not be there."""

CONFIDENCE = 1.65
"""Standard deviations of doubt that each remark allows for, one-sided 95%: of questions that are just right one in
twenty is listed by chance, of others hardly any. The gate before a level falls asks for about as much."""


def analyze_items(items: Sequence[ItemAnswers]) -> list[Finding]:
    """Return what is to be said against items, those first that mislead the able, then those furthest from their level.

    Args:
        items: all that have `MIN_ANSWERS`, so that what they have in common can be told from what is their own.
    """
    shift = common_shift(items)
    findings = [
        Finding(item, observed_level(item, shift), find_untaken(item), misleads_able=_misleads_able(item))
        for item in items
    ]
    ranked = sorted(findings, key=lambda one: (not one.misleads_able, -abs(one.levels_off), one.item.name))
    return [finding for finding in ranked if finding.remarks]


def common_shift(items: Sequence[ItemAnswers]) -> Rating:
    """Return by how many logits items are harder than their levels say, on average.

    It is the posterior of a mean whose items differ as questions of a level do; before any, the learners at hand may be
    as far from the average learner as one of them (Gelman et al., Bayesian Data Analysis, section 2.5).
    """
    deviations = [(item.difficulty.mean - LEVEL_DIFFICULTY[item.level], QUESTION_PRIORS[item.level]) for item in items]
    precision = 1 / UNKNOWN_ABILITY.variance + sum(1 / prior.variance for _, prior in deviations)
    return Rating(sum(deviation / prior.variance for deviation, prior in deviations) / precision, 1 / precision)


def observed_level(item: ItemAnswers, shift: Rating) -> Level:
    """Return the level that is nearest to an item's difficulty, in doubt its own.

    Args:
        shift: what all items have in common, in logits.
    """
    own, difficulty = LEVEL_DIFFICULTY[item.level], item.difficulty.mean - shift.mean
    doubt = CONFIDENCE * math.sqrt(item.difficulty.variance + shift.variance)
    careful = max(own, difficulty - doubt) if difficulty > own else min(own, difficulty + doubt)
    return min(Level, key=lambda level: abs(LEVEL_DIFFICULTY[level] - careful))


def find_untaken(item: ItemAnswers) -> tuple[int, ...]:
    """Return the places of wrong options that surely fewer than `MIN_TAKEN` take of those who choose an option."""
    choices = sum(item.chosen)  # fewer than the answers: whoever does not know chooses none
    if choices < MIN_ANSWERS:
        return ()
    return tuple(
        place
        for place, taken in enumerate(item.chosen)
        if place != item.correct_index and _upper_bound(taken, choices) < MIN_TAKEN
    )


def _upper_bound(count: int, of: int) -> float:
    """Return the upper end of a share's score interval (Wilson 1927)."""
    share, square = count / of, CONFIDENCE**2 / of
    return (share + square / 2 + math.sqrt(square * (share * (1 - share) + square / 4))) / (1 + square)


def _misleads_able(item: ItemAnswers) -> bool:
    """Return whether a learner is surely the more often wrong, the abler they are.

    Between what has nothing to do with each other, a correlation of n pairs has a variance of 1 / (n - 1) around 0,
    however both are distributed (Pitman 1937).
    """
    return item.discrimination is not None and item.discrimination * math.sqrt(item.answers - 1) < -CONFIDENCE
