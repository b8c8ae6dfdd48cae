"""The truth that a simulation knows and a strategy does not: how hard questions are, and how able learners are.

Abilities and difficulties are logits. A question with slope ``a``, difficulty ``b`` and guessing ``c`` is answered
right with probability ``c + (1 - c) * sigmoid(a * (ability - b))`` (Birnbaum, in Lord and Novick 1968, chapter 17): 1PL
has ``a = 1, c = 0``, in 2PL slopes differ, and in 3PL learners also guess among four options.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from adaptation.ratings import GUESS, LEVEL_DIFFICULTY, QUESTION_PRIORS
from domain.catalog import Level, Topic

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

SLOPE_SPREAD = 0.3
"""Standard deviation of the logarithm of a question's slope, in 2PL and 3PL."""
GROWTH_PER_ANSWER = 0.003
"""Logits that a learner gains with each answer, on average."""
GROWTH_NOISE = 0.02
"""Standard deviation of what a learner gains with one answer, in logits."""
REPORT_CORRELATION = 0.6
"""Of what learners say about their experience with their ability."""


class Model(StrEnum):
    """How answers come about."""

    ONE = "1PL"
    TWO = "2PL"
    THREE = "3PL"


@dataclass(frozen=True, slots=True)
class Questions:
    """A bank as it truly is; one entry a question."""

    levels: tuple[Level, ...]
    topics: tuple[Topic, ...]
    difficulty: Floats
    slope: Floats
    guess: float

    def success(self, ability: float | Floats, question: int | Numbers) -> Floats:
        """Return the true chance of a right answer.

        Args:
            ability: of one learner or of many, in logits.
            question: one or many, to go with the abilities.
        """
        logit = self.slope[question] * (np.asarray(ability) - self.difficulty[question])
        chance: Floats = self.guess + (1 - self.guess) / (1 + np.exp(-logit))
        return chance


@dataclass(frozen=True, slots=True)
class Learners:
    """Learners as they truly are."""

    ability: Floats
    """Learners × (answers + 1): before the first answer, after the first, and so on, in logits."""
    luck: Floats
    """Learners × questions, uniform: an answer is right if this is below the chance, whatever strategy asks."""
    report: Floats
    """What each says about their experience; standard normal over all."""

    def __len__(self) -> int:
        return len(self.ability)


def make_questions(model: Model, count: int, rng: np.random.Generator) -> Questions:
    """Return a bank whose authors' levels are as right as the ratings assume: levels of equal size, topics in turn."""
    levels = tuple(list(Level)[place % len(Level)] for place in range(count))
    means = np.array([LEVEL_DIFFICULTY[level] for level in levels])
    spreads = np.array([QUESTION_PRIORS[level].variance ** 0.5 for level in levels])
    topics = list(Topic)
    return Questions(
        levels=levels,
        topics=tuple(topics[int(number)] for number in rng.permutation(count) % len(topics)),
        difficulty=means + spreads * rng.standard_normal(count),
        slope=np.ones(count) if model is Model.ONE else rng.lognormal(0, SLOPE_SPREAD, count),
        guess=GUESS if model is Model.THREE else 0.0,
    )


def make_learners(ability: Floats, answers: int, questions: int, rng: np.random.Generator) -> Learners:
    """Return learners who become a little better with each answer.

    Args:
        ability: of each when they begin, in logits.
    """
    count, first = len(ability), ability[:, None]
    gains = GROWTH_PER_ANSWER + GROWTH_NOISE * rng.standard_normal((count, answers))
    noise = rng.standard_normal(count)
    return Learners(
        ability=np.hstack([first, first + np.cumsum(gains, axis=1)]),
        luck=rng.random((count, questions)),
        report=REPORT_CORRELATION * first[:, 0] + (1 - REPORT_CORRELATION**2) ** 0.5 * noise,
    )


def correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Pearson's correlation, or NaN where a side does not vary."""
    if np.ptp(np.asarray(first)) == 0 or np.ptp(np.asarray(second)) == 0:
        return float("nan")
    return float(np.corrcoef(np.asarray(first), np.asarray(second))[0, 1])
