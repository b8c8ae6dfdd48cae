"""Where questions come from: several sources, one policy of who is asked first, and fallbacks between them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from redis.asyncio import Redis

from domain.catalog import QuestionSource
from domain.errors import GenerationError
from domain.ids import LearnerId
from domain.models import Learner, StoredQuestion
from domain.settings import Settings
from observability import metrics, tracing
from question_sources.computed import ComputedSource, ReviewSource
from question_sources.llm.source import LlmSource
from question_sources.picker import KEEP_SECONDS, QuestionPicker
from question_sources.stored import BANK, SeenSource, StaticSource
from repository import Repository

logger = logging.getLogger(__name__)

# ---------------------------------------------------------------- the policy
#
# Theory of operation. What a learner missed comes back first, once it is due, in at most one quiz of four. Otherwise
# their answers so far choose a row of the table below, so that the sources take turns. The
# row's sources are asked from left to right, each only for the learners whom no earlier one served:
#
#   LLM       a verified question from the stock; a single learner who waits may also get one that is being made, if it
#             is ready before the deadline. Has nothing without an API key, when the stock is used up, when the budget
#             is spent, or while the model fails.
#   STATIC    a question of the bank (or imported) that the learner has not seen: one near their level that they will
#             probably get right, else any of their topics. Has nothing once all are seen.
#   COMPUTED  the template that the learner met least often, with fresh numbers. Always has something, except for
#             a choice of topics that no template covers near the learner's level.
#
# Learners who are left get a stored question again, the one they have seen least often. A source that fails is skipped.

TURNS: tuple[tuple[QuestionSource, ...], ...] = (
    (QuestionSource.STATIC, QuestionSource.LLM, QuestionSource.COMPUTED),
    (QuestionSource.LLM, QuestionSource.STATIC, QuestionSource.COMPUTED),
    (QuestionSource.COMPUTED, QuestionSource.LLM, QuestionSource.STATIC),
)


def sources_for(learner: Learner) -> tuple[QuestionSource, ...]:
    """Return the sources to ask for a learner's next question, in order."""
    return TURNS[learner.version % len(TURNS)]


class QuestionSourceStrategy(Protocol):
    """Something that can draw questions for learners."""

    name: QuestionSource

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, StoredQuestion]:
        """Return a question for each learner that this source has one for.

        Raises:
            GenerationError: the source cannot draw at all just now.
        """


class QuestionGenerator:
    """Draws questions as the policy says."""

    def __init__(
        self,
        sources: Sequence[QuestionSourceStrategy],
        last: QuestionSourceStrategy | None = None,
        reviews: ReviewSource | None = None,
    ) -> None:
        """Take at most one source of each name; a name of the policy that is absent is skipped."""
        self._sources = {source.name: source for source in sources}
        self._last = last
        self._reviews = reviews

    async def draw_reviews(
        self, learners: Sequence[Learner], at: datetime, every: int, *, asked_for: bool
    ) -> dict[LearnerId, StoredQuestion]:
        """Return for each learner the missed question whose time has come, if there is one and it is its turn.

        Args:
            every: at most one quiz in so many is a review.
            asked_for: True if they want one now, however many they had.

        Raises:
            StorageUnavailableError: the database is unavailable.
        """
        if self._reviews is None:
            return {}
        with tracing.steps("draw review", [learner.id for learner in learners]):
            return await self._reviews.draw(learners, at, every, asked_for=asked_for)

    async def generate(self, learners: Sequence[Learner], *, live: bool = False) -> dict[LearnerId, StoredQuestion]:
        """Return a question for each learner, from the first source of their turn that has one.

        Args:
            live: whether somebody waits for it in the chat, so that a question may be made for them alone.

        Returns:
            Questions by learner; one for whom no source has anything is absent.

        Raises:
            StorageUnavailableError: the database is unavailable.
        """
        drawn: dict[LearnerId, StoredQuestion] = {}
        for place in range(len(TURNS[0])):
            for name, source in self._sources.items():
                asking = [one for one in learners if one.id not in drawn and sources_for(one)[place] == name]
                drawn |= await self._draw(source, asking, live=live)
        left = [learner for learner in learners if learner.id not in drawn]
        if left and self._last:
            drawn |= await self._draw(self._last, left, live=live)
        return drawn

    async def _draw(
        self, source: QuestionSourceStrategy, learners: Sequence[Learner], *, live: bool
    ) -> Mapping[LearnerId, StoredQuestion]:
        if not learners:
            return {}
        try:
            with tracing.steps(f"draw {source.name} question", [learner.id for learner in learners]):
                found = await source.draw(learners, live=live)
        except GenerationError as error:
            metrics.GENERATION_FAILED.labels(source.name, type(error.__cause__ or error).__name__).inc()
            logger.warning("the source %s has no questions, the next one serves: %s", source.name, error)
            return {}
        metrics.QUESTIONS_GENERATED.labels(source.name).inc(len(found))
        return found

    @property
    def llm(self) -> LlmSource | None:
        """Return the source that writes questions, if the settings ask for one."""
        source = self._sources.get(QuestionSource.LLM)
        return source if isinstance(source, LlmSource) else None

    async def close(self) -> None:
        """Give up what is being made."""
        if self.llm:
            await self.llm.close()


def make_generator(repository: Repository, settings: Settings, redis: Redis | None = None) -> QuestionGenerator:
    """Build the generator that the settings ask for.

    Args:
        redis: where processes agree on who asks the model; the model takes no part without it.
    """
    picker = QuestionPicker.of(repository, settings, BANK, KEEP_SECONDS)
    computed = ComputedSource(repository, target=settings.target_success)
    sources: list[QuestionSourceStrategy] = [StaticSource(picker), computed]
    if settings.openai_api_key and redis is not None:
        sources.append(LlmSource.connect(repository, settings, redis))
    return QuestionGenerator(sources, last=SeenSource(repository), reviews=ReviewSource(repository, computed))
