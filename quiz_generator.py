"""Where questions come from: several sources, one policy of who is asked first, and fallbacks between them."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from redis.asyncio import Redis

from adaptation.ratings import QUESTION_PRIORS, TARGET_SUCCESS, expected_success
from adaptation.selection import LEVELS_AROUND
from domain.bank import TemplateUse
from domain.catalog import QuestionSource, Topic
from domain.errors import GenerationError
from domain.ids import LearnerId
from domain.learning import Rating
from domain.models import Learner, Question
from domain.settings import Settings
from llm.source import LlmSource
from observability import metrics
from question_bank.format import Question as BankQuestion
from question_bank.loader import Bank, load_bank
from question_bank.rows import question_columns
from question_bank.templates import TEMPLATES
from question_bank.templates.base import Template
from question_bank.workbench import Workbench
from question_picker import KEEP_SECONDS, QuestionPicker
from repository import Repository

logger = logging.getLogger(__name__)

# ---------------------------------------------------------------- the policy
#
# Theory of operation. What a learner missed comes back first, once it is due, in at most one quiz of four. Otherwise
# their answers so far choose a row of the table below, so that the sources take turns. The
# row's sources are asked from left to right, each only for the learners whom no earlier one served:
#
#   LLM       a proved question from the stock; a single learner who waits may also get one that is being made, if it
#             is ready before the deadline. Has nothing without an API key, when the stock is used up, when the budget
#             is spent, or while the model fails.
#   STATIC    a question of the bank (or imported) that the learner has not seen: one near their level that they will
#             probably get right, else any of their topics. Has nothing once all are seen.
#   COMPUTED  the template that the learner met least often, with fresh numbers. Always has something, except for
#             a choice of topics that no template covers near the learner's level.
#
# Whoever is left gets a stored question again, the one they have seen least often. A source that fails is passed over.

TURNS: tuple[tuple[QuestionSource, ...], ...] = (
    (QuestionSource.STATIC, QuestionSource.LLM, QuestionSource.COMPUTED),
    (QuestionSource.LLM, QuestionSource.STATIC, QuestionSource.COMPUTED),
    (QuestionSource.COMPUTED, QuestionSource.LLM, QuestionSource.STATIC),
)


def sources_for(learner: Learner) -> tuple[QuestionSource, ...]:
    """Return the sources to ask for a learner's next question, in order.

    Args:
        learner: their state; each answer moves them on to the next row of the policy.
    """
    return TURNS[learner.version % len(TURNS)]


class QuestionSourceStrategy(Protocol):
    """Something that can draw questions for learners."""

    name: QuestionSource

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, Question]:
        """Return a question for each learner that this source has one for.

        Args:
            learners: their states.
            live: whether somebody waits for it in the chat.

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
        """Take the sources.

        Args:
            sources: at most one of each name; a name of the policy that is absent is passed over.
            last: asked for whoever got nothing; should always have something.
            reviews: brings back what was missed.
        """
        self._sources = {source.name: source for source in sources}
        self._last = last
        self._reviews = reviews

    async def draw_reviews(
        self, learners: Sequence[Learner], at: datetime, every: int, *, asked_for: bool
    ) -> dict[LearnerId, Question]:
        """Return for each learner the missed question whose time has come, if there is one and it is its turn.

        Args:
            learners: their states.
            at: the moment.
            every: at most one quiz in so many is a review.
            asked_for: True if they want one now, however many they had.

        Raises:
            StorageUnavailableError: the database is away.
        """
        return await self._reviews.draw(learners, at, every, asked_for=asked_for) if self._reviews else {}

    async def generate(self, learners: Sequence[Learner], *, live: bool = False) -> dict[LearnerId, Question]:
        """Return a question for each learner, from the first source of their turn that has one.

        Args:
            learners: their states.
            live: whether somebody waits for it in the chat, so that a question may be made for them alone.

        Returns:
            Questions by learner; one for whom no source has anything is absent.

        Raises:
            StorageUnavailableError: the database is away.
        """
        drawn: dict[LearnerId, Question] = {}
        for place in range(max(map(len, TURNS))):
            for name, source in self._sources.items():
                asking = [x for x in learners if x.id not in drawn and sources_for(x)[place : place + 1] == (name,)]
                drawn |= await self._draw(source, asking, live=live)
        left = [learner for learner in learners if learner.id not in drawn]
        if left and self._last:
            drawn |= await self._draw(self._last, left, live=live)
        return drawn

    async def _draw(
        self, source: QuestionSourceStrategy, learners: Sequence[Learner], *, live: bool
    ) -> Mapping[LearnerId, Question]:
        if not learners:
            return {}
        try:
            found = await source.draw(learners, live=live)
        except GenerationError as error:
            metrics.GENERATION_FAILED.labels(source.name, type(error.__cause__ or error).__name__).inc()
            logger.warning("%s questions are not to be had, the next source serves: %s", source.name, error)
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


# ---------------------------------------------------------------- sources


BANK = frozenset({QuestionSource.STATIC, QuestionSource.IMPORTED})
"""What stands in files, the project's own or an operator's."""


class StaticSource:
    """The question bank, with what operators imported."""

    name = QuestionSource.STATIC

    def __init__(self, picker: QuestionPicker) -> None:
        """Take what picks.

        Args:
            picker: reads the stored bank.
        """
        self._picker = picker

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, Question]:  # noqa: ARG002
        """Return a question of the learner's topics, as near as can be to what suits them.

        Args:
            learners: their states; one who has seen all of their topics is absent from the result.
            live: makes no difference here.
        """
        return await self._picker.pick(learners)


class SeenSource:
    """Stored questions again, whatever wrote them: for learners who have seen everything."""

    name = QuestionSource.STATIC

    def __init__(self, repository: Repository) -> None:
        """Take where questions are stored.

        Args:
            repository: with the bank loaded.
        """
        self._repository = repository

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, Question]:  # noqa: ARG002
        """Return the question of the learner's level and topics that they have seen least often.

        Args:
            learners: their states.
            live: makes no difference here.
        """
        return await self._repository.pick_questions(learners, BANK | {QuestionSource.LLM})


class ComputedSource:
    """Templates that make a fresh question from a seed.

    A learner's seeds count up from 0 for each template, so learners share the questions that are made, and each is
    made once.
    """

    name = QuestionSource.COMPUTED

    def __init__(
        self,
        repository: Repository,
        templates: Mapping[str, Template] = TEMPLATES,
        target: float = TARGET_SUCCESS,
    ) -> None:
        """Take where questions are kept and what makes them.

        Args:
            repository: where what is made is kept.
            templates: by name.
            target: the share of right answers to aim at.
        """
        self._repository = repository
        self._templates = templates
        self._target = target
        self._at_work = asyncio.Lock()

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, Question]:  # noqa: ARG002
        """Return the next question of the template that each learner met least often; of several, the one that suits.

        Args:
            learners: their states; one for whose level and topics there is no template is absent from the result.
            live: makes no difference here.
        """
        ratings = await self._repository.get_item_ratings(self._templates)
        uses = await self._repository.count_template_uses([learner.id for learner in learners])
        resting = await self._repository.list_resting_templates()
        wanted: dict[LearnerId, tuple[Template, int]] = {}
        for learner in learners:
            had = uses.get(learner.id, {})
            fitting = [t for t in self._templates.values() if t.name not in resting and _fits(t, learner)]
            if fitting:
                chosen = min(fitting, key=partial(self._rank, ratings, had, learner))
                wanted[learner.id] = chosen, had[chosen.name].next_seed if chosen.name in had else 0
        return await self._make_for(wanted)

    async def review(self, requests: Mapping[LearnerId, tuple[str, int]]) -> dict[LearnerId, Question]:
        """Return a new question of the template that each learner missed once.

        Args:
            requests: template and seed by learner; one whose template is gone is absent from the result.
        """
        known = {i: (self._templates[name], seed) for i, (name, seed) in requests.items() if name in self._templates}
        return await self._make_for(known)

    def _rank(
        self, ratings: Mapping[str, Rating], had: Mapping[str, TemplateUse], learner: Learner, template: Template
    ) -> tuple[int, float, int]:
        """Order templates by how often the learner had them, then by how well they suit, then by chance."""
        times = had[template.name].times if template.name in had else 0
        rating = ratings.get(template.name, QUESTION_PRIORS[template.level])
        distance = abs(expected_success(learner.ability, rating.mean) - self._target)
        return times, round(distance, 2), hash((int(learner.id), learner.version, zlib.crc32(template.name.encode())))

    async def _make_for(self, wanted: Mapping[LearnerId, tuple[Template, int]]) -> dict[LearnerId, Question]:
        made = await self._make(set(wanted.values()))
        return {learner_id: made[request] for learner_id, request in wanted.items() if request in made}

    async def _make(self, requests: set[tuple[Template, int]]) -> dict[tuple[Template, int], Question]:
        keys = {request: request[0].key(request[1]) for request in requests}
        stored = await self._repository.get_questions(keys.values())
        missing = [request for request, key in keys.items() if key not in stored]
        if missing:
            async with self._at_work:
                rows = await asyncio.to_thread(_compute, missing)
            if rows:
                await self._repository.store_questions(rows)
            stored |= await self._repository.get_questions([keys[request] for request in missing])
        return {request: stored[key] for request, key in keys.items() if key in stored}


def _fits(template: Template, learner: Learner) -> bool:
    near = abs(template.level - learner.level) <= LEVELS_AROUND
    return near and (not learner.topics or template.topic in learner.topics)


def _compute(requests: Sequence[tuple[Template, int]]) -> list[tuple[object, ...]]:
    """Make questions in a thread of their own, since executing takes some milliseconds each."""
    with Workbench() as workbench:
        made = [(template, seed, _make_one(template, seed, workbench)) for template, seed in requests]
    return [
        question_columns(question, template.topic, QuestionSource.COMPUTED, template=template.name, seed=seed)
        for template, seed, question in made
        if question
    ]


def _make_one(template: Template, seed: int, workbench: Workbench) -> BankQuestion | None:
    try:
        return template.make(seed, workbench)
    except Exception as error:  # a template's own code: another source serves whoever it was for
        metrics.GENERATION_FAILED.labels(QuestionSource.COMPUTED, type(error).__name__).inc()
        logger.exception("template %s is broken for seed %d", template.name, seed)
        return None


class ReviewSource:
    """Questions that were missed, once their time has come; a computed one returns with fresh numbers."""

    def __init__(self, repository: Repository, computed: ComputedSource) -> None:
        """Take where reviews are planned and what computes.

        Args:
            repository: with each learner's plan.
            computed: makes new questions of missed templates.
        """
        self._repository = repository
        self._computed = computed

    async def draw(
        self, learners: Sequence[Learner], at: datetime, every: int, *, asked_for: bool
    ) -> dict[LearnerId, Question]:
        """Return the missed question that has been due for longest, for each learner who is to have one.

        Args:
            learners: their states.
            at: the moment.
            every: at most one quiz in so many is a review.
            asked_for: True if they want one now, however many they had.
        """
        ids = [learner.id for learner in learners]
        due = await self._repository.find_due_reviews(ids, at, every, asked_for=asked_for)
        stored = {i: review.question for i, review in due.items() if review.template is None}
        again = {i: (review.template, review.next_seed) for i, review in due.items() if review.template is not None}
        return stored | (await self._computed.review(again) if again else {})


# ---------------------------------------------------------------- the bank's files


async def sync_bank(repository: Repository, folder: Path) -> Bank:
    """Load the bank's files into the database; files that are wrong are named in the log and left out.

    Args:
        repository: where to.
        folder: the bank's files.

    Returns:
        What was read.
    """
    bank = await asyncio.to_thread(load_bank, folder)
    for problem in bank.problems:
        logger.error("question bank: %s", problem)
    columns = {
        located.question.id: question_columns(located.question, located.topic, QuestionSource.STATIC)
        for located in bank.questions
    }
    changed, retired = await repository.sync_static_questions(columns, _topics_with_problems(bank))
    if changed or retired:
        logger.info("question bank: %d questions, %d new or changed, %d retired", len(columns), changed, retired)
    return bank


def _topics_with_problems(bank: Bank) -> set[Topic]:
    """Return the topics of refused files, whose stored questions must not be retired for it."""
    names = {problem.path.parent.name for problem in bank.problems}
    return {Topic(name) for name in names if name in set(Topic)}


def make_generator(repository: Repository, settings: Settings, redis: Redis | None = None) -> QuestionGenerator:
    """Build the generator that the settings ask for.

    Args:
        repository: where questions are kept.
        settings: with an API key, a language model takes part.
        redis: where processes agree on who asks the model; the model takes no part without it.
    """
    picker = QuestionPicker.of(repository, settings, BANK, KEEP_SECONDS)
    computed = ComputedSource(repository, target=settings.target_success)
    sources: list[QuestionSourceStrategy] = [StaticSource(picker), computed]
    if settings.openai_api_key and redis is not None:
        sources.append(LlmSource.connect(repository, settings, redis))
    return QuestionGenerator(sources, last=SeenSource(repository), reviews=ReviewSource(repository, computed))
