"""The source of generated questions: a stock of verified ones, and at most a short wait for a new one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError
from redis.asyncio import Redis

from domain.catalog import GenerationOutcome, Level, QuestionSource, Topic
from domain.errors import (
    GenerationError,
    ModelError,
    ModelUnavailableError,
    QuizServiceError,
    SandboxError,
    StorageUnavailableError,
)
from domain.ids import LearnerId, QuestionId
from domain.models import Learner, StoredQuestion
from domain.settings import Settings
from observability import metrics
from question_bank.format import BankQuestion
from question_bank.rows import question_columns
from question_sources.llm.breaker import LlmBreaker
from question_sources.llm.client import LlmClient, Meter
from question_sources.llm.forms import WrittenQuestion
from question_sources.llm.prompts import INSTRUCTIONS, Brief, request
from question_sources.llm.verification import MAX_REASON_LENGTH, find_duplicate, find_flaw
from question_sources.picker import QuestionPicker
from repository import Repository
from storage.generation_store import Spending

logger = logging.getLogger(__name__)

EXAMPLES = 2
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Generation:
    """What became of an attempt to generate a question."""

    topic: Topic
    level: Level
    outcome: GenerationOutcome
    reason: str | None = None
    key: str | None = None
    spending: Spending = field(default_factory=Spending)


class LlmSource:
    """Questions written by a language model, none of which reaches a learner unverified."""

    name = QuestionSource.LLM

    def __init__(self, client: LlmClient, breaker: LlmBreaker, repository: Repository, settings: Settings) -> None:
        self._picker = QuestionPicker.of(repository, settings, {QuestionSource.LLM})
        self._client = client
        self.breaker = breaker
        self._repository = repository
        self._settings = settings
        self._under_way: dict[tuple[Topic, Level], asyncio.Task[StoredQuestion | None]] = {}
        self._keeping = asyncio.Lock()

    @classmethod
    def connect(cls, repository: Repository, settings: Settings, redis: Redis) -> LlmSource:
        """Return a source for what the settings name."""
        return cls(LlmClient.connect(settings), LlmBreaker(redis), repository, settings)

    async def close(self) -> None:
        """Cancel what is being generated."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    # ------------------------------------------------------------ serving learners

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, StoredQuestion]:
        """Return verified questions of the stock; for one learner who waits, perhaps one that is generated now.

        Raises:
            GenerationError: none is in stock, and none was generated before the deadline.
        """
        found = await self._picker.pick(learners, near=True)
        if live and len(learners) == 1 and not found and self._settings.openai_live_seconds > 0:
            question = await self._wait_for_one(learners[0])
            if question:
                found[learners[0].id] = question
        return found

    async def _wait_for_one(self, learner: Learner) -> StoredQuestion | None:
        """Wait for a new question until the deadline; what comes later goes into the stock."""
        topic = _topic_for(learner)
        try:
            async with asyncio.timeout(self._settings.openai_live_seconds):
                question = await self._join(topic, learner)
        except TimeoutError as error:
            metrics.LLM_LIVE.labels("too_late").inc()
            raise GenerationError("none was ready in time") from error
        except (ModelUnavailableError, SandboxError) as error:
            metrics.LLM_LIVE.labels("unavailable").inc()
            raise GenerationError(str(error)) from error
        except StorageUnavailableError:
            raise
        except Exception as error:  # a model can answer with anything, and none of it may cost a learner their quiz
            metrics.LLM_LIVE.labels("unavailable").inc()
            raise GenerationError(type(error).__name__) from error
        metrics.LLM_LIVE.labels("served" if question else "unavailable").inc()
        return question

    async def _join(self, topic: Topic, learner: Learner) -> StoredQuestion | None:
        await self.breaker.check()
        if await self.breaker.is_suppressed(topic, learner.level):
            return None
        cell = (topic, learner.level)
        if cell in self._under_way:
            metrics.LLM_SHARED.inc()
        else:
            task = asyncio.create_task(self._generate_or_follow(topic, learner.level, learner.id))
            self._under_way[cell] = task
            task.add_done_callback(lambda done: self._log_end(cell, done))
        generating = self._under_way[cell]
        await asyncio.wait([generating])
        if generating.cancelled():  # by `close`, which does not cancel those who wait here
            raise ModelUnavailableError("the source is closed")
        return generating.result()

    def _log_end(self, cell: tuple[Topic, Level], task: asyncio.Task[StoredQuestion | None]) -> None:
        self._under_way.pop(cell, None)
        error = None if task.cancelled() else task.exception()
        if error and not isinstance(error, ModelUnavailableError):  # which the breaker or the budget has logged
            said = error if isinstance(error, QuizServiceError) else type(error).__name__
            logger.warning("the language model gave no question on %s, level %d: %s", *cell, said)

    async def _generate_or_follow(self, topic: Topic, level: Level, learner_id: LearnerId) -> StoredQuestion | None:
        """Generate a question, or wait for the process that already does for this topic and level."""
        before = await self.breaker.last_generated(topic, level)
        async with self.breaker.generation_lock(topic, level, self._max_generation_seconds) as acquired:
            if acquired:
                key = await self.breaker.last_generated(topic, level)
                if key and key != before:  # another process finished one before the lock was acquired
                    return await self._repository.get_question(key)
                try:
                    generation = await self.generate(topic, level, learner_id)
                except SandboxError:
                    await self.breaker.suppress(topic, level)  # else each learner who waits would cost another question
                    raise
                if generation.key is None or generation.outcome is not GenerationOutcome.ACCEPTED:
                    await self.breaker.suppress(topic, level)
                    return None
                await self.breaker.remember(topic, level, generation.key)
                return await self._repository.get_question(generation.key)
        metrics.LLM_SHARED.inc()
        while await self.breaker.is_generating(topic, level):  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(POLL_SECONDS)
        key = await self.breaker.last_generated(topic, level)
        return await self._repository.get_question(key) if key and key != before else None

    @property
    def _max_generation_seconds(self) -> float:
        return 2 * self._settings.openai_timeout_seconds + 60

    # ------------------------------------------------------------ generating

    async def generate(self, topic: Topic, level: Level, learner_id: LearnerId | None = None) -> Generation:
        """Write a question, verify it, keep it and what it cost.

        Args:
            learner_id: whose recent misses it is to take up; those of everybody at that level when None.

        Returns:
            What became of it: accepted, quarantined with the reason, or failed.

        Raises:
            ModelUnavailableError: the breaker is open, or today's budget is used up.
            StorageUnavailableError: the database is unavailable.
            SandboxError: the question cannot be executed; it is dropped.
        """
        await self.breaker.check()
        reserve, budget = self._client.highest_cost, self._settings.openai_daily_budget_usd
        if not budget:  # also of a model that costs nothing
            raise ModelUnavailableError("the daily budget is 0")
        brief = await self._brief(topic, level, learner_id)
        generation_id = await self._repository.begin_generation(topic, level, self._client.model, reserve, budget)
        if generation_id is None:
            raise ModelUnavailableError(f"today's budget of ${budget} does not hold another question (${reserve:.3f})")
        meter = self._client.new_meter()
        try:
            question, flaw = await self._write_and_prove(brief, meter)
        except SandboxError as error:
            reason = f"sandbox: {error}"[:MAX_REASON_LENGTH]
            await self._repository.end_generation(generation_id, GenerationOutcome.FAILED, reason, None, meter.spending)
            raise
        question_id, outcome = None, GenerationOutcome.FAILED
        if question:
            question_id, flaw = await self._keep(question, topic, flaw)
            outcome = GenerationOutcome.QUARANTINED if flaw else GenerationOutcome.ACCEPTED
        await self._repository.end_generation(generation_id, outcome, flaw, question_id, meter.spending)
        return Generation(topic, level, outcome, flaw, question.id if question else None, meter.spending)

    async def _write_and_prove(self, brief: Brief, meter: Meter) -> tuple[BankQuestion | None, str | None]:
        """Return the question if one came, and what is wrong with it or with the model if anything is."""
        question: BankQuestion | None = None
        try:
            question = await self._generate_llm_question(brief, meter)
            known = await self._repository.list_question_texts()
            flaw = await find_flaw(question, brief.topic, known, self._client, self._settings, meter)
        except (StorageUnavailableError, SandboxError):
            raise
        except Exception as error:  # noqa: BLE001 - what a model writes may break whatever is to verify it
            failure = error if isinstance(error, ModelError) else ModelError(type(error).__name__)
            await self.breaker.note_failure(failure)
            logger.warning(
                "the language model gave no question on %s, level %d: %s", brief.topic, brief.level, failure.message
            )
            return question, f"unverified: {failure.message}" if question else failure.message
        await self.breaker.note_success()
        return question, flaw

    async def _brief(self, topic: Topic, level: Level, learner_id: LearnerId | None) -> Brief:
        if learner_id is None:
            missed = await self._repository.find_tags_missed_at(topic, level)
        else:
            missed = await self._repository.find_missed_tags(learner_id, topic)
        return Brief(topic, level, missed, await self._repository.pick_examples(topic, level, EXAMPLES))

    async def _generate_llm_question(self, brief: Brief, meter: Meter) -> BankQuestion:
        """Ask the model for a question and hold it to every rule for a single question of the bank.

        Raises:
            ModelError: the model failed, refused, or broke a rule.
        """
        written = await self._client.write(INSTRUCTIONS, request(brief), WrittenQuestion, meter)
        try:
            return written.to_bank(brief.topic, brief.level)
        except ValidationError as error:
            detail = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in detail["loc"])
            raise ModelError(f"schema: {where} {detail['msg'].removeprefix('Value error, ')}"[:200]) from error
        except ValueError as error:
            raise ModelError(f"schema: {error}") from error

    async def _keep(
        self, question: BankQuestion, topic: Topic, flaw: str | None
    ) -> tuple[QuestionId | None, str | None]:
        """Store a question, active or quarantined, and return its id and its flaw.

        Another generation may have stored a duplicate meanwhile, so that is checked again.
        """
        async with self._keeping:
            flaw = flaw or find_duplicate(question, await self._repository.list_question_texts())
            columns = question_columns(question, topic, QuestionSource.LLM, doubt=flaw)
            question_id = await self._repository.store_question(columns)
        if question_id is None and flaw is None:
            flaw = f"duplicate: asks the same as {question.id}"
        return question_id, flaw


def _topic_for(learner: Learner) -> Topic:
    """Choose by how many answers the learner has given, so that topics take turns."""
    topics = learner.topics or tuple(Topic)
    return topics[learner.version % len(topics)]
