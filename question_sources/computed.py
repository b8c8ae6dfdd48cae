"""Questions that templates compute."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from adaptation.ratings import QUESTION_PRIORS, TARGET_SUCCESS, expected_success
from adaptation.selection import LEVELS_AROUND
from domain.bank import TemplateUse
from domain.catalog import QuestionSource
from domain.ids import LearnerId
from domain.learning import Rating
from domain.models import Learner, StoredQuestion
from observability import metrics
from question_bank.executor import Executor
from question_bank.format import BankQuestion
from question_bank.rows import question_columns
from question_bank.templates import TEMPLATES
from question_bank.templates.base import Template
from repository import Repository

logger = logging.getLogger(__name__)


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
        """Aim at a share of right answers, from 0 to 1."""
        self._repository = repository
        self._templates = templates
        self._target = target
        self._at_work = asyncio.Lock()

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, StoredQuestion]:  # noqa: ARG002
        """Return the next question of the template that each learner met least often; of several, the one that suits.

        Args:
            learners: their states; one for whose level and topics there is no template is absent from the result.
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

    async def review(self, requests: Mapping[LearnerId, tuple[str, int]]) -> dict[LearnerId, StoredQuestion]:
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

    async def _make_for(self, wanted: Mapping[LearnerId, tuple[Template, int]]) -> dict[LearnerId, StoredQuestion]:
        made = await self._make(set(wanted.values()))
        return {learner_id: made[request] for learner_id, request in wanted.items() if request in made}

    async def _make(self, requests: set[tuple[Template, int]]) -> dict[tuple[Template, int], StoredQuestion]:
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
    with Executor() as executor:
        made = [(template, seed, _make_one(template, seed, executor)) for template, seed in requests]
    return [
        question_columns(question, template.topic, QuestionSource.COMPUTED, template=template.name, seed=seed)
        for template, seed, question in made
        if question
    ]


def _make_one(template: Template, seed: int, executor: Executor) -> BankQuestion | None:
    try:
        return template.make(seed, executor)
    except Exception as error:  # a template's own code may raise anything; another source serves the learner
        metrics.GENERATION_FAILED.labels(QuestionSource.COMPUTED, type(error).__name__).inc()
        logger.exception("template %s is broken for seed %d", template.name, seed)
        return None


class ReviewSource:
    """Questions that were missed, once their time has come; a computed one returns with fresh numbers."""

    def __init__(self, repository: Repository, computed: ComputedSource) -> None:
        self._repository = repository
        self._computed = computed

    async def draw(
        self, learners: Sequence[Learner], at: datetime, every: int, *, asked_for: bool
    ) -> dict[LearnerId, StoredQuestion]:
        """Return the missed question that has been due for longest, for each learner who is to have one.

        Args:
            every: at most one quiz in so many is a review.
            asked_for: True if they want one now, however many they had.
        """
        ids = [learner.id for learner in learners]
        due = await self._repository.find_due_reviews(ids, at, every, asked_for=asked_for)
        stored = {i: review.question for i, review in due.items() if review.template is None}
        again = {i: (review.template, review.next_seed) for i, review in due.items() if review.template is not None}
        return stored | (await self._computed.review(again) if again else {})
