"""The service's own adaptation, held in memory instead of in its database."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from adaptation.ratings import nearest_level
from adaptation.selection import DEFAULT_SELECTION, Chooser, SelectionRules, choose_question
from dev.benchmarks.adaptivity.strategy import Bank, Rated, Ratings
from difficulty_adapter import DEFAULT_RULES, Answer, Rules, calculate_adaptation
from domain.catalog import Level, Topic
from domain.ids import QuestionId
from domain.learning import UNKNOWN_ABILITY, Candidate, Rating
from domain.models import Progress

EXPOSURE_LIMIT = 0.5
"""Share of a level's learners that a question is shown to, as long as there are others."""
FIRST_LEVEL = Level.INTERMEDIATE
"""Where a new learner stands who said nothing about themselves."""
SOME_DAY = date(2026, 1, 1)
"""Streaks do not matter here."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The production adaptation with its numbers, and what may be varied besides."""

    rules: Rules = DEFAULT_RULES
    selection: SelectionRules = DEFAULT_SELECTION
    exposure_limit: float = EXPOSURE_LIMIT


class Exposure:
    """How many learners of each level were shown each question."""

    def __init__(self, questions: int) -> None:
        self.shown: list[dict[Level, int]] = [{} for _ in range(questions)]
        self.learners: dict[Level, int] = dict.fromkeys(Level, 0)

    def add(self, question: int, level: Level, *, newcomer: bool) -> None:
        """Count that a question was shown."""
        self.shown[question][level] = self.shown[question].get(level, 0) + 1
        self.learners[level] += newcomer


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier learners leave behind."""

    questions: Sequence[Rating]
    exposure: Exposure


class _Learner:
    def __init__(self, level: Level, placement_answers: int) -> None:
        self.progress = Progress(level, placement_left=placement_answers)
        self.seen: set[QuestionId] = set()
        self.levels: set[Level] = set()
        self.scores: dict[Topic, tuple[int, int]] = {}


class Production(Rated):
    """Chooses, rates and moves levels with the code that the service runs."""

    def __init__(
        self,
        bank: Bank,
        learners: int | Sequence[Rating],
        past: Past | None,
        rng: random.Random,
        variant: Variant = Variant(),
    ) -> None:
        """Begin with new learners.

        Args:
            past: of earlier learners; None if there were none. It is continued, not copied.
        """
        told = not isinstance(learners, int)
        priors = [UNKNOWN_ABILITY] * learners if isinstance(learners, int) else learners
        self.rng, self.variant = rng, variant
        self.ratings = Ratings(priors, past.questions if past else bank.priors())
        self.exposure = past.exposure if past else Exposure(len(bank))
        self.people = [
            _Learner(nearest_level(prior.mean) if told else FIRST_LEVEL, variant.rules.placement_answers)
            for prior in priors
        ]
        self.candidates = [
            Candidate(QuestionId(place), topic, level, rating.mean, self.exposure.shown[place])
            for place, (topic, level, rating) in enumerate(
                zip(bank.topics, bank.levels, self.ratings.questions, strict=True)
            )
        ]
        self.sizes = {level: list(bank.levels).count(level) for level in Level}
        self.sums = {level: sum(one.difficulty for one in self.candidates if one.level == level) for level in Level}

    def past(self) -> Past:
        """Return what these learners leave behind."""
        return Past(self.ratings.questions, self.exposure)

    def choose(self, learner: int) -> int:
        """Return the next question, and count that it was shown."""
        person = self.people[learner]
        level = person.progress.level
        chooser = Chooser(
            level=level,
            ability=self.ratings.learners[learner].mean,
            being_placed=person.progress.placement_left > 0,
            scores=person.scores,
            max_shown=self.variant.exposure_limit * self.exposure.learners[level],
        )
        chosen = choose_question(self.candidates, person.seen, chooser, self.rng, self.variant.selection)
        if chosen is None:
            raise LookupError("the learner has had every question")
        self._show(int(chosen.id), person)
        return int(chosen.id)

    def _show(self, question: int, person: _Learner) -> None:
        level = person.progress.level
        self.exposure.add(question, level, newcomer=level not in person.levels)
        person.levels.add(level)
        person.seen.add(QuestionId(question))

    def learn(self, learner: int, question: int, *, correct: bool) -> None:
        """Move ratings and level."""
        self.ratings.learn(learner, question, correct=correct)
        candidate, difficulty = self.candidates[question], self.ratings.questions[question].mean
        self.sums[candidate.level] += difficulty - candidate.difficulty
        self.candidates[question] = replace(candidate, difficulty=difficulty)
        person = self.people[learner]
        answered, right = person.scores.get(candidate.topic, (0, 0))
        person.scores[candidate.topic] = (answered + 1, right + correct)
        person.progress = calculate_adaptation(
            person.progress,
            Answer.RIGHT if correct else Answer.WRONG,
            SOME_DAY,
            self.ratings.learners[learner],
            self.variant.rules,
            {level: self.sums[level] / size for level, size in self.sizes.items() if size},
        ).after

    def level(self, learner: int) -> int:
        """Return the learner's level."""
        return self.people[learner].progress.level
