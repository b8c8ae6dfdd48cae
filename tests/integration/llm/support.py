"""What these tests share: questions as a model writes them, and a look at the rows and metrics that they leave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from domain.catalog import Level, QuestionSource, QuestionState, Topic
from domain.settings import Settings
from question_sources.llm.source import Generation, LlmSource
from repository import Repository
from tests.support.factories import make_learner, some_id
from tests.support.llm_server import Json, LlmServer, Reply, completion, written, written_question

KEY = "sk-test-0123456789abcdef"
TOPIC, LEVEL = Topic.STREAMING, Level.ADVANCED


def fresh_question(**changes: object) -> Json:
    """Return a written question unlike any other."""
    marker = some_id()
    options = [
        {"text": f"{marker + step} of {some_id()}", "why": f"{step} more.", "correct": step == 1, "value": None}
        for step in range(4)
    ]
    prompt = f"Group {some_id()} reads {some_id()} partitions with {marker} consumers. How many of them are busy?"
    return written_question(prompt=prompt, options=options) | changes


def executed_question(engine: str, code: str, values: tuple[str, ...], **changes: object) -> Json:
    """Return a written question with code that is executed, whose first value is marked as right."""
    options = [
        {
            "text": f"It is {value}, as it ran here ({some_id():09})",
            "why": "So it is.",
            "correct": place == 0,
            "value": value,
        }
        for place, value in enumerate(values)
    ]
    language = "sql" if engine == "duckdb" else engine
    marks = {"code": code, "language": language, "engine": engine, "options": options}
    return fresh_question(**(marks | changes))


def content(question: Json) -> Reply:
    """Return a completion that holds a question which nobody knows the right answer of."""
    return completion(json.dumps(question))


def keep_writing(llm: LlmServer, delay: float = 0.0) -> None:
    """Let the server write another question each time."""
    llm.compose = lambda: written(fresh_question(), delay=delay)


@dataclass(slots=True)
class Desk:
    """A source on a database and a Valkey of its own, and what a test looks at."""

    source: LlmSource
    repository: Repository
    redis: Redis
    settings: Settings
    llm: LlmServer

    async def make(self, question: Json | None = None, **place: Any) -> Generation:
        """Have one question made."""
        if question is not None:
            self.llm.answer(written(question))
        return await self.source.generate(place.get("topic", TOPIC), place.get("level", LEVEL))

    async def rows(self) -> list[asyncpg.Record]:
        """Return every generation with its question's standing, in order."""
        statement = """
            SELECT g.*, q.key, q.state, q.state_reason
            FROM generations g LEFT JOIN questions q ON q.id = g.question_id ORDER BY g.id
        """
        rows: list[asyncpg.Record] = await self.repository.database._pool.fetch(statement)  # noqa: SLF001 - a look
        return rows

    async def spent(self) -> Decimal:
        """Return what is spent and reserved."""
        return sum((row["cost"] for row in await self.rows()), start=Decimal(0))

    async def stock(self) -> list[str]:
        """Return the keys of the model's questions that learners may be asked."""
        entries = await self.repository.list_questions(source=QuestionSource.LLM, state=QuestionState.ACTIVE)
        return [entry.question.key for entry in entries]

    async def reaches_nobody(self) -> bool:
        """Say whether no learner of any level would get a question of the model."""
        learners = [make_learner(level=level) for level in Level]
        return await self.repository.pick_questions(learners, {QuestionSource.LLM}) == {}


def metric(name: str, **labels: str) -> float:
    """Return a metric's value now, 0 if it has none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
