"""The source of written questions: a stock of proved ones, and at most a short wait for one in the making."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError
from redis.asyncio import Redis

from domain.catalog import GenerationOutcome, Level, QuestionSource, Topic
from domain.errors import GenerationError, ModelError, ModelUnavailableError, StorageUnavailableError
from domain.ids import LearnerId, QuestionId
from domain.models import Learner, Question
from domain.settings import Settings
from llm.client import LlmClient, Meter
from llm.forms import WrittenQuestion
from llm.gate import LlmGate
from llm.prompts import INSTRUCTIONS, Brief, request
from llm.proof import find_flaw, find_twin
from observability import metrics
from question_bank.format import Question as BankQuestion
from question_bank.rows import question_columns
from question_picker import QuestionPicker
from repository import Repository
from sql.generation_store import Spending

logger = logging.getLogger(__name__)

EXAMPLES = 2
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Made:
    """What became of the attempt to make a question."""

    topic: Topic
    level: Level
    outcome: GenerationOutcome
    reason: str | None = None
    key: str | None = None
    spending: Spending = field(default_factory=Spending)


class LlmSource:
    """Questions written by a language model, none of which reaches a learner unproved."""

    name = QuestionSource.LLM

    def __init__(self, client: LlmClient, gate: LlmGate, repository: Repository, settings: Settings) -> None:
        """Take what it works with.

        Args:
            client: asks the model.
            gate: what all processes agree on.
            repository: where questions and costs are kept.
            settings: budget and time limits.
        """
        self._picker = QuestionPicker.of(repository, settings, {QuestionSource.LLM})
        self._client = client
        self.gate = gate
        self._repository = repository
        self._settings = settings
        self._under_way: dict[tuple[Topic, Level], asyncio.Task[Question | None]] = {}
        self._keeping = asyncio.Lock()

    @classmethod
    def connect(cls, repository: Repository, settings: Settings, redis: Redis) -> LlmSource:
        """Return a source for what the settings name.

        Args:
            repository: where questions and costs are kept.
            settings: with an API key.
            redis: where processes agree.
        """
        return cls(LlmClient.connect(settings), LlmGate(redis), repository, settings)

    async def close(self) -> None:
        """Give up what is being made."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    # ------------------------------------------------------------ serving learners

    async def draw(self, learners: Sequence[Learner], *, live: bool) -> Mapping[LearnerId, Question]:
        """Return proved questions of the stock; for one learner who waits, perhaps one that is made just now.

        Args:
            learners: their states; one who has seen the whole stock is absent from the result.
            live: whether somebody waits in the chat.

        Raises:
            GenerationError: none is in stock, and none was made before the deadline.
        """
        found = await self._picker.pick(learners, near=True)
        if live and len(learners) == 1 and not found and self._settings.openai_live_seconds > 0:
            question = await self._wait_for_one(learners[0])
            if question:
                found[learners[0].id] = question
        return found

    async def _wait_for_one(self, learner: Learner) -> Question | None:
        """Wait for a question in the making until the deadline; what comes later goes into the stock."""
        topic = _topic_for(learner)
        try:
            async with asyncio.timeout(self._settings.openai_live_seconds):
                question = await self._join(topic, learner)
        except TimeoutError as error:
            metrics.LLM_LIVE.labels("too_late").inc()
            raise GenerationError("none was ready in time") from error
        except ModelUnavailableError as error:
            metrics.LLM_LIVE.labels("unavailable").inc()
            raise GenerationError(str(error)) from error
        except StorageUnavailableError:
            raise
        except Exception as error:  # a model can answer with anything, and none of it may cost a learner their quiz
            metrics.LLM_LIVE.labels("unavailable").inc()
            raise GenerationError(type(error).__name__) from error
        metrics.LLM_LIVE.labels("served" if question else "unavailable").inc()
        return question

    async def _join(self, topic: Topic, learner: Learner) -> Question | None:
        await self.gate.require_open()
        if await self.gate.is_resting(topic, learner.level):
            return None
        cell = (topic, learner.level)
        if cell in self._under_way:
            metrics.LLM_SHARED.inc()
        else:
            task = asyncio.create_task(self._make_or_follow(topic, learner.level, learner.id))
            self._under_way[cell] = task
            task.add_done_callback(lambda done: self._settle(cell, done))
        making = self._under_way[cell]
        await asyncio.wait([making])
        if making.cancelled():  # by `close`: whoever waits here is not cancelled with it
            raise ModelUnavailableError("the source is closed")
        return making.result()

    def _settle(self, cell: tuple[Topic, Level], task: asyncio.Task[Question | None]) -> None:
        self._under_way.pop(cell, None)
        error = None if task.cancelled() else task.exception()
        if error and not isinstance(error, ModelUnavailableError):  # of which the gate or the budget tells
            logger.warning("no question of the model for %s, level %d: %s", *cell, type(error).__name__)

    async def _make_or_follow(self, topic: Topic, level: Level, learner_id: LearnerId) -> Question | None:
        """Make a question, or wait for the process that makes one for this topic and level already."""
        before = await self.gate.recall(topic, level)
        async with self.gate.making(topic, level, self._longest_making) as ours:
            if ours:
                key = await self.gate.recall(topic, level)
                if key not in {None, before}:  # somebody's turn ended between those two looks
                    return await self._repository.get_question(key or "")
                made = await self.make(topic, level, learner_id)
                if made.key is None or made.outcome is not GenerationOutcome.ACCEPTED:
                    await self.gate.rest(topic, level)
                    return None
                await self.gate.remember(topic, level, made.key)
                return await self._repository.get_question(made.key)
        metrics.LLM_SHARED.inc()
        while await self.gate.is_making(topic, level):  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(POLL_SECONDS)
        key = await self.gate.recall(topic, level)
        return await self._repository.get_question(key) if key and key != before else None

    @property
    def _longest_making(self) -> float:
        return 2 * self._settings.openai_timeout_seconds + 60

    # ------------------------------------------------------------ making

    async def make(self, topic: Topic, level: Level, learner_id: LearnerId | None = None) -> Made:
        """Write a question, prove it, keep it and what it cost.

        Args:
            topic: what about.
            level: how hard.
            learner_id: whose recent misses it is to take up; those of everybody at that level when None.

        Returns:
            What became of it: accepted, quarantined with the reason, or failed.

        Raises:
            ModelUnavailableError: the model is left alone just now, or today's budget is used up.
            StorageUnavailableError: the database is away.
        """
        await self.gate.require_open()
        reserve, budget = self._client.highest_cost, self._settings.openai_daily_budget_usd
        if not budget:  # also of a model that costs nothing
            raise ModelUnavailableError("the daily budget is 0")
        brief = await self._brief(topic, level, learner_id)
        generation = await self._repository.begin_generation(topic, level, self._client.model, reserve, budget)
        if generation is None:
            raise ModelUnavailableError(f"today's budget of ${budget} does not hold another question (${reserve:.3f})")
        meter = self._client.new_meter()
        question, flaw = await self._write_and_prove(brief, meter)
        question_id = None
        if question:
            question_id, flaw = await self._keep(question, topic, flaw)
        outcome = (
            GenerationOutcome.FAILED
            if question is None
            else GenerationOutcome.QUARANTINED
            if flaw
            else GenerationOutcome.ACCEPTED
        )
        await self._repository.end_generation(generation, outcome, flaw, question_id, meter.spending)
        return Made(topic, level, outcome, flaw, question.id if question else None, meter.spending)

    async def _write_and_prove(self, brief: Brief, meter: Meter) -> tuple[BankQuestion | None, str | None]:
        """Return the question if one came, and what is wrong with it or with the model if anything is."""
        question: BankQuestion | None = None
        try:
            question = await self._generate_llm_question(brief, meter)
            known = await self._repository.list_question_texts()
            flaw = await find_flaw(question, brief.topic, known, self._client, self._settings, meter)
        except StorageUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - what a model writes may break whatever is to prove it
            failure = error if isinstance(error, ModelError) else ModelError(type(error).__name__)
            await self.gate.note_failure(failure)
            return question, f"unproved: {failure.reason}" if question else failure.reason
        await self.gate.note_success()
        return question, flaw

    async def _brief(self, topic: Topic, level: Level, learner_id: LearnerId | None) -> Brief:
        if learner_id is None:
            missed = await self._repository.find_tags_missed_at(topic, level)
        else:
            missed = await self._repository.find_missed_tags(learner_id, topic)
        return Brief(topic, level, missed, await self._repository.pick_examples(topic, level, EXAMPLES))

    async def _generate_llm_question(self, brief: Brief, meter: Meter) -> BankQuestion:
        """Ask the model for a question and hold it to every rule for a single question of the bank.

        Args:
            brief: what it is to be about.
            meter: counts what it takes.

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

        While it was being proved, another making may have stored its like, so that is looked at again.
        """
        async with self._keeping:
            flaw = flaw or find_twin(question, await self._repository.list_question_texts())
            columns = question_columns(question, topic, QuestionSource.LLM, doubt=flaw)
            question_id = await self._repository.store_question(columns)
        if question_id is None and flaw is None:
            flaw = f"duplicate: asks the same as {question.id}"
        return question_id, flaw


def _topic_for(learner: Learner) -> Topic:
    """Choose by how many answers the learner has given, so that topics take turns."""
    topics = learner.topics or tuple(Topic)
    return topics[learner.version % len(topics)]
