"""Picks each learner's next stored question: reads what the choice depends on and leaves the choice to adaptation."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Collection, Mapping, Sequence

from adaptation.ratings import LEVEL_DIFFICULTY
from adaptation.selection import LEVELS_AROUND, Candidate, Chooser, SelectionRules, choose_question, worn_levels
from domain.catalog import Level, QuestionSource
from domain.ids import LearnerId
from domain.learning import Askable, History
from domain.models import Learner, Question
from domain.settings import Settings
from repository import Repository

KEEP_SECONDS = 10.0
"""How long a look at the bank serves. One look takes 20 ms for 720 questions on a slow machine, which is most of what a
single pick takes; what changes meanwhile moves a choice a little, and what was quarantined is still not asked."""


class QuestionPicker:
    """Picks unseen questions that learners will probably, but not surely, answer rightly."""

    def __init__(
        self,
        repository: Repository,
        sources: Collection[QuestionSource],
        rules: SelectionRules | None = None,
        *,
        most_exposure: float = 0.5,
        keep_seconds: float = 0.0,
        rng: random.Random | None = None,
    ) -> None:
        """Take what to read and the numbers to go by.

        Args:
            repository: with the bank loaded.
            sources: where questions may come from.
            rules: of the choice.
            most_exposure: share of a level's learners that a question is shown to, as long as there are others.
            keep_seconds: how long a look at the bank serves.
            rng: the source of chance.
        """
        self._repository = repository
        self._sources = frozenset(sources)
        self._rules = rules or SelectionRules()
        self._most_exposure = most_exposure
        self._keep_seconds = keep_seconds
        self._rng = rng or random.Random()  # noqa: S311 - a guessed question helps nobody
        self._candidates: list[Candidate] = []
        self._looked_at = -math.inf

    @classmethod
    def of(
        cls,
        repository: Repository,
        settings: Settings,
        sources: Collection[QuestionSource],
        keep_seconds: float = 0.0,
    ) -> QuestionPicker:
        """Return a picker with the numbers of the settings.

        Args:
            repository: with the bank loaded.
            settings: with bounds checked.
            sources: where questions may come from.
            keep_seconds: how long a look at the bank serves.
        """
        rules = SelectionRules(settings.target_success, settings.choose_among)
        return cls(repository, sources, rules, most_exposure=settings.most_exposure, keep_seconds=keep_seconds)

    async def pick(self, learners: Sequence[Learner], *, near: bool = False) -> dict[LearnerId, Question]:
        """Return a question for each learner who has not seen all of their topics, in a few queries for all of them.

        Args:
            learners: their states.
            near: True to leave out levels that are far from the learner's.
        """
        if not learners:
            return {}
        histories = await self._repository.read_histories([learner.id for learner in learners])
        picked, gone = await self._pick(learners, histories, near=near)
        if gone:
            self._looked_at = -math.inf
            again, _ = await self._pick(gone, histories, near=near)
            picked |= again
        return picked

    async def _pick(
        self, learners: Sequence[Learner], histories: Mapping[LearnerId, History], *, near: bool
    ) -> tuple[dict[LearnerId, Question], list[Learner]]:
        """Return questions by learner, and those learners whose question is asked no more since the bank was looked at.

        Whoever has seen all of their topics is in neither, and costs no second look.
        """
        candidates = await self._look()
        chosen = {
            learner.id: found.id
            for learner in learners
            if (found := self._choose(candidates, learner, histories[learner.id], near=near))
        }
        questions = await self._repository.get_questions_by_id(set(chosen.values())) if chosen else {}
        picked = {learner_id: questions[key] for learner_id, key in chosen.items() if key in questions}
        return picked, [learner for learner in learners if learner.id in chosen and learner.id not in picked]

    def _choose(
        self, candidates: Sequence[Candidate], learner: Learner, history: History, *, near: bool
    ) -> Candidate | None:
        if near:
            candidates = [one for one in candidates if abs(one.level - learner.level) <= LEVELS_AROUND]
        chooser = Chooser(learner.level, learner.ability, learner.topics, learner.placement_left > 0, history.scores)
        return choose_question(candidates, history.seen, chooser, self._rng, self._rules)

    async def _look(self) -> list[Candidate]:
        if time.monotonic() - self._looked_at > self._keep_seconds:
            asked = await self._repository.count_learners_asked()
            askable = await self._repository.list_askable(self._sources)
            self._candidates = [self._candidate(question, asked) for question in askable]
            self._looked_at = time.monotonic()
        return self._candidates

    def _candidate(self, question: Askable, asked: Mapping[Level, int]) -> Candidate:
        difficulty = LEVEL_DIFFICULTY[question.level] if question.difficulty is None else question.difficulty
        worn = worn_levels(question.shown, asked, self._most_exposure)
        return Candidate(question.id, question.topic, question.level, difficulty, worn)
