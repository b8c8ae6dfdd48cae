"""The usual ways of choosing questions, each given what it needs to do well."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptation.ratings import LEVEL_DIFFICULTY, TARGET_SUCCESS, expected_success
from adaptation.selection import DEFAULT_SELECTION
from dev.benchmarks.adaptivity.production import FIRST_LEVEL
from dev.benchmarks.adaptivity.strategy import Bank, Passive
from dev.benchmarks.adaptivity.world import Floats, Questions
from domain.catalog import Level
from domain.learning import Rating

ELO_STEP = 0.4
"""Logits that a full surprise moves both sides."""


class Staircase(Passive):
    """So many right in a row and the level rises, so many wrong in a row and it falls; any question of the level."""

    def __init__(
        self, bank: Bank, learners: int, questions: Sequence[Rating], rng: random.Random, steps: tuple[int, int]
    ) -> None:
        """Begin with new learners where the service begins.

        Args:
            questions: what is believed of each; only to compare, nothing depends on it.
        """
        super().__init__(bank, learners, questions, rng)
        self.up, self.down = steps
        self.levels = [FIRST_LEVEL] * learners
        self.runs = [0] * learners

    def choose(self, learner: int) -> int:
        """Return any question of the level, or of all when they are used up."""
        unseen = [place for place in range(len(self.bank)) if place not in self.seen[learner]]
        fitting = [place for place in unseen if self.bank.levels[place] == self.levels[learner]]
        return self.rng.choice(fitting or unseen)

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Take a step if the run is long enough."""
        super().learn(learner, question, correct=correct)
        run = self.runs[learner]
        run = max(run, 0) + 1 if correct else min(run, 0) - 1
        step = (run >= self.up) - (run <= -self.down)
        self.runs[learner] = 0 if step else run
        self.levels[learner] = Level(min(Level.EXPERT, max(Level.BEGINNER, self.levels[learner] + step)))

    def level(self, learner: int) -> int:
        """Return the learner's level."""
        return self.levels[learner]


class Levelless:
    """A strategy that keeps one number for each learner, and no levels."""

    abilities: list[float]

    def ability(self, learner: int) -> float:
        """Return the estimate."""
        return self.abilities[learner]

    def level(self, learner: int) -> int:
        """Return 0: there are no levels."""
        del learner
        return 0


class Elo(Levelless):
    """Elo's rule with a fixed step; one of the unseen questions nearest to the target, as many as the service has."""

    def __init__(self, bank: Bank, learners: int, questions: Sequence[float] | None, rng: random.Random) -> None:
        """Begin with new learners.

        Args:
            questions: difficulties that earlier learners left behind; None takes the authors' levels.
        """
        self.rng = rng
        self.abilities = [0.0] * learners
        self.difficulties: Floats = np.array(questions or [LEVEL_DIFFICULTY[level] for level in bank.levels])
        self.seen = np.zeros((learners, len(bank)), dtype=bool)

    def choose(self, learner: int) -> int:
        """Return one of the best unseen questions."""
        wanted = self.abilities[learner] - TARGET_LOGIT
        distance = np.where(self.seen[learner], np.inf, np.abs(self.difficulties - wanted))
        among = min(DEFAULT_SELECTION.choose_among, int((~self.seen[learner]).sum()))
        return int(self.rng.choice(np.argsort(distance, kind="stable")[:among]))

    def predict(self, learner: int, question: int) -> float:
        """Return the expected chance of a right answer, guessing among the options included."""
        return expected_success(self.abilities[learner], float(self.difficulties[question]))

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Move both sides by the surprise."""
        self.seen[learner, question] = True
        surprise = ELO_STEP * (correct - self.predict(learner, question))
        self.abilities[learner] += surprise
        self.difficulties[question] -= surprise


def _logit_at(success: float) -> float:
    chance = (success - expected_success(-100, 100)) / (1 - expected_success(-100, 100))
    return float(np.log(chance / (1 - chance)))


TARGET_LOGIT = _logit_at(TARGET_SUCCESS)
"""How far a learner stands above the questions that they answer right as often as is aimed at."""


class MaximumInformation(Levelless):
    """What a computerised test does: the most informative question, and the likeliest ability; by catsim.

    It knows every question's true parameters, and its estimate has no prior, as catsim's estimators have none.
    """

    def __init__(self, questions: Questions, learners: int) -> None:
        from catsim import ItemBank  # noqa: PLC0415 - only a whole run needs it
        from catsim.estimation import NumericalSearchEstimator  # noqa: PLC0415
        from catsim.selection import MaxInfoSelector  # noqa: PLC0415

        count = len(questions.levels)
        columns = [questions.slope, questions.difficulty, np.full(count, questions.guess), np.ones(count)]
        self.questions = questions
        self.items: Any = ItemBank(np.column_stack(columns))
        self.selector: Any = MaxInfoSelector()
        self.estimator: Any = NumericalSearchEstimator()
        self.abilities = [0.0] * learners
        self.asked: list[list[int]] = [[] for _ in range(learners)]
        self.answers: list[list[bool]] = [[] for _ in range(learners)]

    def choose(self, learner: int) -> int:
        """Return the question that tells most about an ability like the estimate."""
        return int(
            self.selector.select(
                item_bank=self.items, administered_items=self.asked[learner], est_theta=self.abilities[learner]
            )
        )

    def predict(self, learner: int, question: int) -> float:
        """Return the true curve's chance at the estimated ability."""
        return float(self.questions.success(self.abilities[learner], question))

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Estimate the ability anew from all answers."""
        self.asked[learner].append(question)
        self.answers[learner].append(correct)
        self.abilities[learner] = float(
            self.estimator.estimate(
                item_bank=self.items,
                administered_items=self.asked[learner],
                response_vector=self.answers[learner],
                est_theta=self.abilities[learner],
            )
        )
