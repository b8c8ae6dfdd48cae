"""What every way of choosing questions must be able to do, and what most of them share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from adaptation.ratings import QUESTION_PRIORS, expected_success, update_ratings
from domain.catalog import Level, Topic
from domain.learning import UNKNOWN_ABILITY, Rating


@dataclass(frozen=True, slots=True)
class Bank:
    """As much of the questions as a strategy may know: what the authors say."""

    levels: Sequence[Level]
    topics: Sequence[Topic]

    def __len__(self) -> int:
        return len(self.levels)

    def priors(self) -> list[Rating]:
        """Return what is believed of each question before anybody answered it."""
        return [QUESTION_PRIORS[level] for level in self.levels]


class Strategy(Protocol):
    """A way of choosing questions; learners and questions are numbered from 0."""

    def choose(self, learner: int) -> int:
        """Return a question that the learner has not had."""

    def predict(self, learner: int, question: int) -> float:
        """Return the chance of a right answer that the strategy expects."""

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Take note of an answer."""

    def ability(self, learner: int) -> float:
        """Return the estimate of a learner's ability, in logits."""

    def level(self, learner: int) -> int:
        """Return the learner's level, or 0 if the strategy knows none."""


class Ratings:
    """The production ratings of all learners and questions."""

    def __init__(self, learners: Sequence[Rating], questions: Sequence[Rating]) -> None:
        self.learners = list(learners)
        self.questions = list(questions)

    def predict(self, learner: int, question: int) -> float:
        """Return the expected chance of a right answer."""
        return expected_success(self.learners[learner].mean, self.questions[question].mean)

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Move both ratings."""
        after = update_ratings(self.learners[learner], self.questions[question], correct=correct)
        self.learners[learner], self.questions[question] = after


class Rated:
    """A strategy that expects and estimates what the production ratings say."""

    ratings: Ratings

    def predict(self, learner: int, question: int) -> float:
        """Return what the ratings expect."""
        return self.ratings.predict(learner, question)

    def ability(self, learner: int) -> float:
        """Return what the ratings say."""
        return self.ratings.learners[learner].mean


class Passive(Rated):
    """A way of choosing that needs no estimate; the production ratings look on, so that it can be compared."""

    def __init__(self, bank: Bank, learners: int, questions: Sequence[Rating], rng: random.Random) -> None:
        self.bank = bank
        self.rng = rng
        self.ratings = Ratings([UNKNOWN_ABILITY] * learners, questions)
        self.seen: list[set[int]] = [set() for _ in range(learners)]

    def choose(self, learner: int) -> int:
        """Return any question that the learner has not had."""
        return self.rng.choice([place for place in range(len(self.bank)) if place not in self.seen[learner]])

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Take note of an answer."""
        self.seen[learner].add(question)
        self.ratings.learn(learner, question, correct=correct)

    def level(self, learner: int) -> int:
        """Return 0: there are no levels."""
        del learner
        return 0
