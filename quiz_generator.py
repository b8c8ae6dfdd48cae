"""Where questions come from: one interface, several sources, and a fallback from each to the next."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from openai import AsyncOpenAI
from pydantic import BaseModel

from domain.catalog import Level, QuestionForm, QuestionSource, Topic
from domain.errors import GenerationError, StorageUnavailableError
from domain.ids import LearnerId
from domain.models import Learner, Question
from domain.settings import Settings
from observability import metrics
from question_bank.format import Question as BankQuestion
from question_bank.loader import Bank, load_bank
from repository import Repository

logger = logging.getLogger(__name__)


class QuestionSourceStrategy(Protocol):
    """Something that can draw questions for learners."""

    name: QuestionSource

    async def draw(self, learners: Sequence[Learner]) -> Mapping[LearnerId, Question]:
        """Return a question for each learner that this source has one for.

        Args:
            learners: their states.

        Raises:
            GenerationError: the source cannot draw at all just now.
        """


class QuestionGenerator:
    """Draws questions from the first source that has one."""

    def __init__(self, sources: Sequence[QuestionSourceStrategy]) -> None:
        """Take the sources.

        Args:
            sources: in order of preference; the last one should always have something.
        """
        self._sources = tuple(sources)

    async def generate(self, learners: Sequence[Learner]) -> dict[LearnerId, Question]:
        """Return a question for each learner, from the first source that has one.

        Args:
            learners: their states.

        Returns:
            Questions by learner; one for whom no source has anything is absent.

        Raises:
            StorageUnavailableError: the database is away.
        """
        drawn: dict[LearnerId, Question] = {}
        for source in self._sources:
            missing = [learner for learner in learners if learner.id not in drawn]
            if not missing:
                break
            try:
                found = await source.draw(missing)
            except GenerationError as error:
                metrics.GENERATION_FAILED.labels(source.name, type(error.__cause__ or error).__name__).inc()
                logger.warning("%s questions are not to be had, the next source serves: %s", source.name, error)
                continue
            drawn.update(found)
            metrics.QUESTIONS_GENERATED.labels(source.name).inc(len(found))
        return drawn


class StaticSource:
    """The question bank."""

    name = QuestionSource.STATIC

    def __init__(self, repository: Repository) -> None:
        """Take where the bank is stored.

        Args:
            repository: with the bank loaded.
        """
        self._repository = repository

    async def draw(self, learners: Sequence[Learner]) -> Mapping[LearnerId, Question]:
        """Return a question of the learner's level and topics that they have seen least often.

        Args:
            learners: their states.
        """
        return await self._repository.pick_questions(learners)


class LlmSource:
    """Questions written by a language model through any API that speaks OpenAI's protocol."""

    name = QuestionSource.LLM

    def __init__(self, client: AsyncOpenAI, repository: Repository, settings: Settings) -> None:
        """Take the client and where accepted questions are kept.

        Args:
            client: with its key and address.
            repository: where questions are stored.
            settings: model and deadline.
        """
        self._client = client
        self._repository = repository
        self._model = settings.openai_model
        self._seconds = settings.openai_timeout_seconds

    async def draw(self, learners: Sequence[Learner]) -> Mapping[LearnerId, Question]:
        """Write one question, for a learner who asked for one alone; a crowd is served from the bank.

        Args:
            learners: their states.

        Raises:
            GenerationError: the model did not answer in time, or not with a question that passes the bank's rules.
        """
        if len(learners) != 1:
            return {}
        learner = learners[0]
        topic = _topic_for(learner)
        try:
            async with asyncio.timeout(self._seconds):
                written = await self._generate_llm_question(topic, learner.level)
            return {learner.id: await self._keep(written, topic)}
        except StorageUnavailableError:
            raise
        except Exception as error:  # a model can answer with anything, and none of it may cost a learner their quiz
            raise GenerationError(type(error).__name__) from error

    async def _generate_llm_question(self, topic: Topic, level: Level) -> BankQuestion:
        """Ask the model for a question and hold it to every rule of the bank.

        Args:
            topic: what about.
            level: how hard.

        Raises:
            OpenAIError: the API refused or failed.
            ValueError: the answer is empty, or breaks a rule of the bank (pydantic's error is one as well).
        """
        completion = await self._client.chat.completions.parse(
            model=self._model,
            messages=[
                {"role": "system", "content": _INSTRUCTIONS},
                {"role": "user", "content": _request(topic, level)},
            ],
            response_format=_WrittenQuestion,
        )
        written = completion.choices[0].message.parsed if completion.choices else None
        if written is None:
            msg = "the model refused, or wrote no question"
            raise ValueError(msg)
        return written.to_bank(level)

    async def _keep(self, question: BankQuestion, topic: Topic) -> Question:
        columns = question_columns(question, topic, QuestionSource.LLM)
        question_id = await self._repository.store_question(columns)
        stored = await self._repository.get_question(str(columns[0]))
        if stored is None:
            raise StorageUnavailableError(f"question {question_id} is not there after it was stored")
        return stored


class _WrittenOption(BaseModel):
    text: str
    why: str
    correct: bool


class _WrittenQuestion(BaseModel):
    """The form in which a model is to answer."""

    prompt: str
    code: str | None
    language: str
    options: list[_WrittenOption]
    explanation: str
    reference_title: str
    reference_url: str
    tags: list[str]

    def to_bank(self, level: Level) -> BankQuestion:
        """Return it as a question of the bank, whose rules it must pass.

        Args:
            level: the level it was asked for.

        Raises:
            ValidationError: it breaks one of them.
        """
        content = self.model_dump(exclude={"reference_title", "reference_url"})
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return BankQuestion.model_validate(
            content
            | {
                "id": f"llm-{digest}",
                "level": level,
                "form": QuestionForm.PRACTICAL,
                "reference": {"title": self.reference_title, "url": self.reference_url},
            }
        )


_INSTRUCTIONS = (
    "You write one multiple-choice question for working data engineers. Practical before trivia: show a query, plan, "
    "configuration, log line or situation, and ask what happens, what is wrong or what to change. Four options of like "
    "length, exactly one of them correct; each option has a `why` that says why it is right or which mistake leads to "
    "it. Options stand alone and never refer to each other. Plain text, no Markdown. `code` has at most 16 lines of "
    "46 columns, or is null with an empty `language`. `prompt` and `explanation` have at most 400 characters, options "
    "130, `why` 200. `reference_url` is https and leads to primary documentation. `tags` are 1 to 6 lower-case words "
    "in kebab-case."
)

_MEANING = {
    Level.BEGINNER: "knows the words of the field",
    Level.INTERMEDIATE: "has built pipelines for two to four years",
    Level.ADVANCED: "debugs and designs pipelines",
    Level.EXPERT: "knows internals and trade-offs",
}


def _request(topic: Topic, level: Level) -> str:
    return f"Topic: {topic.label}. Level: {level.label}, for someone who {_MEANING[level]}."


def _topic_for(learner: Learner) -> Topic:
    """Choose by how many answers the learner has given, so that topics take turns."""
    topics = learner.topics or tuple(Topic)
    return topics[learner.version % len(topics)]


def question_columns(question: BankQuestion, topic: Topic, source: QuestionSource) -> tuple[object, ...]:
    """Return the parameters of the query ``upsert_question``, in its order.

    Args:
        question: a question that passed the bank's rules.
        topic: the topic it stands under.
        source: where it came from.
    """
    options = [{"text": option.text, "why": option.why} for option in question.options]
    return (
        question.id,
        question.content_hash(topic),
        topic,
        question.level,
        source,
        question.prompt,
        question.code,
        question.language,
        json.dumps(options),
        question.correct_index,
        question.explanation,
        question.reference.title,
        question.reference.url,
        list(question.tags),
    )


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


def make_generator(repository: Repository, settings: Settings) -> QuestionGenerator:
    """Build the generator that the settings ask for.

    Args:
        repository: where the bank is stored.
        settings: with an API key, a language model serves first.
    """
    sources: list[QuestionSourceStrategy] = [StaticSource(repository)]
    if settings.openai_api_key:
        client = AsyncOpenAI(
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url,
            timeout=settings.openai_timeout_seconds,
            max_retries=1,
        )
        sources.insert(0, LlmSource(client, repository, settings))
    return QuestionGenerator(sources)
