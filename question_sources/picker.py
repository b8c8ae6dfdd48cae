"""Picks each learner's next stored question: reads what the choice depends on and leaves the choice to adaptation."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Collection, Mapping, Sequence

from adaptation.ratings import LEVEL_DIFFICULTY
from adaptation.selection import LEVELS_AROUND, Chooser, SelectionRules, choose_question
from domain.catalog import Level, QuestionSource
from domain.ids import LearnerId
from domain.learning import Candidate, History
from domain.models import Learner, StoredQuestion
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
        max_exposure: float = 0.5,
        keep_seconds: float = 0.0,
        rng: random.Random | None = None,
    ) -> None:
        """Take what to read and the numbers to go by.

        Args:
            max_exposure: share of a level's learners that a question is shown to, as long as there are others.
        """
        self._repository = repository
        self._sources = frozenset(sources)
        self._rules = rules or SelectionRules()
        self._max_exposure = max_exposure
        self._keep_seconds = keep_seconds
        self._rng = rng or random.Random()  # noqa: S311 - a guessed question helps nobody
        self._candidates: list[Candidate] = []
        self._asked: Mapping[Level, int] = {}
        self._looked_at = -math.inf

    @classmethod
    def of(
        cls,
        repository: Repository,
        settings: Settings,
        sources: Collection[QuestionSource],
        keep_seconds: float = 0.0,
    ) -> QuestionPicker:
        """Return a picker with the numbers of the settings."""
        rules = SelectionRules(settings.target_success, settings.choose_among)
        return cls(repository, sources, rules, max_exposure=settings.most_exposure, keep_seconds=keep_seconds)

    async def pick(self, learners: Sequence[Learner], *, near: bool = False) -> dict[LearnerId, StoredQuestion]:
        """Return a question for each learner who has not seen all of their topics, in a few queries for all of them.

        Args:
            near: True to leave out levels that are far from the learner's.
        """
        if not learners:
            return {}
        histories = await self._repository.get_histories([learner.id for learner in learners])
        picked, gone = await self._pick(learners, histories, near=near)
        if gone:
            self._looked_at = -math.inf
            again, _ = await self._pick(gone, histories, near=near)
            picked |= again
        return picked

    async def _pick(
        self, learners: Sequence[Learner], histories: Mapping[LearnerId, History], *, near: bool
    ) -> tuple[dict[LearnerId, StoredQuestion], list[Learner]]:
        """Return questions by learner, and those learners whose question is asked no more since the bank was looked at.

        A learner who has seen all of their topics is in neither, and costs no second look.
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
        chooser = Chooser(
            level=learner.level,
            ability=learner.ability,
            topics=learner.topics,
            being_placed=learner.placement_left > 0,
            scores=history.scores,
            max_shown=self._max_exposure * self._asked.get(learner.level, 0),
        )
        return choose_question(candidates, history.seen, chooser, self._rng, self._rules)

    async def _look(self) -> list[Candidate]:
        if time.monotonic() - self._looked_at > self._keep_seconds:
            self._asked = await self._repository.count_learners_asked()
            self._candidates = await self._repository.list_candidates(self._sources, LEVEL_DIFFICULTY)
            self._looked_at = time.monotonic()
        return self._candidates
