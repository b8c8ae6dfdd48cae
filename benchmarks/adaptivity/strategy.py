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
        """Return how many questions there are."""
        return len(self.levels)

    def priors(self) -> list[Rating]:
        """Return what is believed of each question before anybody answered it."""
        return [QUESTION_PRIORS[level] for level in self.levels]


class Strategy(Protocol):
    """A way of choosing questions; learners and questions are numbered from 0."""

    def choose(self, learner: int) -> int:
        """Return a question that the learner has not had.

        Args:
            learner: who is asked.
        """

    def predict(self, learner: int, question: int) -> float:
        """Return the chance of a right answer that the strategy expects.

        Args:
            learner: who is asked.
            question: what is asked.
        """

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Take note of an answer.

        Args:
            learner: who answered.
            question: what was asked.
            correct: how it was answered.
        """

    def ability(self, learner: int) -> float:
        """Return the estimate of a learner's ability, in logits.

        Args:
            learner: whose.
        """

    def level(self, learner: int) -> int:
        """Return the learner's level, or 0 if the strategy knows none.

        Args:
            learner: whose.
        """


class Ratings:
    """The production ratings of all learners and questions."""

    def __init__(self, learners: Sequence[Rating], questions: Sequence[Rating]) -> None:
        """Begin with what is believed already.

        Args:
            learners: one rating each.
            questions: one rating each.
        """
        self.learners = list(learners)
        self.questions = list(questions)

    def predict(self, learner: int, question: int) -> float:
        """Return the expected chance of a right answer.

        Args:
            learner: who is asked.
            question: what is asked.
        """
        return expected_success(self.learners[learner].mean, self.questions[question].mean)

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Move both ratings.

        Args:
            learner: who answered.
            question: what was asked.
            correct: how it was answered.
        """
        after = update_ratings(self.learners[learner], self.questions[question], correct=correct)
        self.learners[learner], self.questions[question] = after


class Rated:
    """A strategy that expects and estimates what the production ratings say."""

    ratings: Ratings

    def predict(self, learner: int, question: int) -> float:
        """Return what the ratings expect.

        Args:
            learner: who is asked.
            question: what is asked.
        """
        return self.ratings.predict(learner, question)

    def ability(self, learner: int) -> float:
        """Return what the ratings say.

        Args:
            learner: whose.
        """
        return self.ratings.learners[learner].mean


class Passive(Rated):
    """A way of choosing that needs no estimate; the production ratings look on, so that it can be compared."""

    def __init__(self, bank: Bank, learners: int, questions: Sequence[Rating], rng: random.Random) -> None:
        """Begin with learners nothing is known of.

        Args:
            bank: what the authors say.
            learners: how many.
            questions: what is believed of each.
            rng: the source of chance.
        """
        self.bank = bank
        self.rng = rng
        self.ratings = Ratings([UNKNOWN_ABILITY] * learners, questions)
        self.seen: list[set[int]] = [set() for _ in range(learners)]

    def choose(self, learner: int) -> int:
        """Return any question that the learner has not had.

        Args:
            learner: who is asked.
        """
        return self.rng.choice([place for place in range(len(self.bank)) if place not in self.seen[learner]])

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Take note of an answer.

        Args:
            learner: who answered.
            question: what was asked.
            correct: how it was answered.
        """
        self.seen[learner].add(question)
        self.ratings.learn(learner, question, correct=correct)

    def level(self, learner: int) -> int:
        """Return 0: there are no levels.

        Args:
            learner: whose.
        """
        del learner
        return 0
