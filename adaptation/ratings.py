"""How able learners are and how hard questions are, estimated answer by answer. Pure.

Theory of operation. Ability and difficulty stand on one scale of logits. A learner who answers a question of their own
difficulty and does not guess is right half of the time; guessing among the options lifts that:
``P = c + (1 - c) * sigmoid(ability - difficulty)`` with ``c = 1 / options`` (Birnbaum's three-parameter model with
equal slopes: Lord and Novick 1968, chapter 17). Both estimates carry a variance, and each answer moves them as an
extended Kalman filter would: by the surprise ``y - P``, times a step that shrinks as the estimate becomes certain. The
fixed step of Elo's rule lets them drift apart instead, the able ever upward and the others downward (Bolsinova et al.
2025).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from domain.catalog import OPTION_COUNT, Experience, Level
from domain.learning import Rating

GUESS = 1 / OPTION_COUNT
TARGET_SUCCESS = 0.775
"""Where learning is worth it: mostly right, and still wrong often enough to learn from (see docs/adaptation.md)."""

GROWTH = 0.004
"""Variance in logits² that a learner gains with each answer, since they learn; a question stays what it is."""

LEVEL_DIFFICULTY = {Level.BEGINNER: -1.18, Level.INTERMEDIATE: -0.39, Level.ADVANCED: 0.39, Level.EXPERT: 1.18}
"""Mean difficulty in logits of the questions that an author puts on a level, before anybody answered them."""


QUESTION_PRIORS = {level: Rating(mean, 0.8) for level, mean in LEVEL_DIFFICULTY.items()}
EXPERIENCE_PRIORS = {
    Experience.NEW: Rating(-0.76, 0.7),
    Experience.SOME: Rating(-0.2, 0.7),
    Experience.SOLID: Rating(0.2, 0.7),
    Experience.DEEP: Rating(0.76, 0.7),
}
"""What is believed of learners who say how experienced they are: somewhat apart, and not much surer than of others."""


def expected_success(ability: float, difficulty: float) -> float:
    """Return the chance of a right answer, between `GUESS` and 1, from ability and difficulty in logits."""
    return GUESS + (1 - GUESS) / (1 + math.exp(difficulty - ability))


def update_ratings(learner: Rating, question: Rating, *, correct: bool) -> tuple[Rating, Rating]:
    """Return the ratings of learner and question after an answer, from those before it."""
    success = expected_success(learner.mean, question.mean)
    known = (success - GUESS) / (1 - GUESS)
    slope = (1 - GUESS) * known * (1 - known)
    spread = (learner.variance + question.variance) * slope**2 + success * (1 - success)
    surprise = (correct - success) * slope / spread
    shrink = slope**2 / spread
    return (
        Rating(learner.mean + learner.variance * surprise, learner.variance * (1 - learner.variance * shrink) + GROWTH),
        Rating(question.mean - question.variance * surprise, question.variance * (1 - question.variance * shrink)),
    )


def nearest_level(
    ability: float, difficulties: Mapping[Level, float] = LEVEL_DIFFICULTY, target: float = TARGET_SUCCESS
) -> Level:
    """Return the level whose questions a learner is expected to answer nearest to the target.

    Args:
        ability: in logits.
        difficulties: mean difficulty of each level's questions, in logits.
        target: the share of right answers to aim at.
    """
    return min(Level, key=lambda level: abs(expected_success(ability, difficulties[level]) - target))


def level_boundary(lower: float, higher: float, target: float = TARGET_SUCCESS) -> float:
    """Return the ability in logits from which on the higher of two levels is the nearer one to the target.

    There success misses the target on both by as much: with ``u = exp(ability)``, what is known of a level is
    ``u / (u + exp(difficulty))``, and the sum of both is twice what the target asks for, a quadratic equation in u.

    Args:
        lower: mean difficulty of one level's questions, in logits.
        higher: that of the other level's.
        target: the share of right answers to aim at, above `GUESS`.
    """
    known = 2 * (target - GUESS) / (1 - GUESS)
    both, product = math.exp(lower) + math.exp(higher), math.exp(lower + higher)
    root = math.sqrt(((1 - known) * both) ** 2 + 4 * (2 - known) * known * product)
    return math.log(((known - 1) * both + root) / (2 * (2 - known)))
