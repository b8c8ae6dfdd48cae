"""Picks each learner's next stored question: reads what the choice depends on and leaves the choice to adaptation."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from adaptation.ratings import LEVEL_DIFFICULTY
from adaptation.selection import Candidate, Chooser, SelectionRules, Tier, choose_question, tier_of, worn_levels
from domain.catalog import Level, QuestionSource
from domain.ids import LearnerId
from domain.learning import Askable, History
from domain.models import Learner, Question
from domain.settings import Settings
from repository import Repository


class QuestionPicker:
    """Picks unseen questions that learners will probably, but not surely, answer rightly."""

    def __init__(
        self,
        repository: Repository,
        rules: SelectionRules | None = None,
        most_exposure: float = 0.5,
        rng: random.Random | None = None,
    ) -> None:
        """Take what to read and the numbers to go by.

        Args:
            repository: with the bank loaded.
            rules: of the choice.
            most_exposure: share of a level's learners that a question is shown to, as long as there are others.
            rng: the source of chance.
        """
        self._repository = repository
        self._rules = rules or SelectionRules()
        self._most_exposure = most_exposure
        self._rng = rng or random.Random()  # noqa: S311 - a guessed question helps nobody

    @classmethod
    def of(cls, repository: Repository, settings: Settings) -> QuestionPicker:
        """Return a picker with the numbers of the settings.

        Args:
            repository: with the bank loaded.
            settings: with bounds checked.
        """
        rules = SelectionRules(settings.target_success, settings.choose_among)
        return cls(repository, rules, settings.most_exposure)

    async def pick(
        self, learners: Sequence[Learner], sources: Collection[QuestionSource], *, near: bool = False
    ) -> dict[LearnerId, Question]:
        """Return a question for each learner who has not seen all of their topics, with four queries for all of them.

        Args:
            learners: their states.
            sources: where questions may come from.
            near: True to leave out levels that are far from the learner's.
        """
        askable = await self._repository.list_askable(sources)
        if not askable or not learners:
            return {}
        asked = await self._repository.count_learners_asked()
        candidates = [self._candidate(question, asked) for question in askable]
        histories = await self._repository.read_histories([learner.id for learner in learners])
        chosen = {
            learner.id: found.id
            for learner in learners
            if (found := self._choose(candidates, learner, histories[learner.id], near=near))
        }
        questions = await self._repository.get_questions_by_id(set(chosen.values()))
        return {learner_id: questions[key] for learner_id, key in chosen.items() if key in questions}

    def _choose(
        self, candidates: Sequence[Candidate], learner: Learner, history: History, *, near: bool
    ) -> Candidate | None:
        chooser = Chooser(learner.level, learner.ability, learner.topics, learner.placement_left > 0, history.scores)
        found = choose_question(candidates, history.seen, chooser, self._rng, self._rules)
        return None if near and found and tier_of(found, chooser) is Tier.DISTANT else found

    def _candidate(self, question: Askable, asked: Mapping[Level, int]) -> Candidate:
        difficulty = LEVEL_DIFFICULTY[question.level] if question.difficulty is None else question.difficulty
        worn = worn_levels(question.shown, asked, self._most_exposure)
        return Candidate(question.id, question.topic, question.level, difficulty, worn)
