"""Questions that are stored already: the bank's, and those that a learner has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.catalog import QuestionSource
from domain.ids import LearnerId
from domain.models import Learner, StoredQuestion
from question_sources.picker import QuestionPicker
from repository import Repository

BANK = frozenset({QuestionSource.STATIC, QuestionSource.IMPORTED})
"""What stands in files, the project's own or an operator's."""


class StaticSource:
    """The question bank, with what operators imported."""

    name = QuestionSource.STATIC

    def __init__(self, picker: QuestionPicker) -> None:
        self._picker = picker

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, StoredQuestion]:  # noqa: ARG002
        """Return the question of a learner's topics that suits them best; none for who has seen all of their topics."""
        return await self._picker.pick(learners)


class SeenSource:
    """Stored questions again, whatever wrote them: for learners who have seen everything."""

    name = QuestionSource.STATIC

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, StoredQuestion]:  # noqa: ARG002
        """Return the question of the learner's level and topics that they have seen least often."""
        return await self._repository.pick_questions(learners, BANK | {QuestionSource.LLM})
