"""A run: learners with questions, thousands of inputs without a socket, and a worker over whatever was stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg
import httpx
from fastapi import FastAPI

from dev.fuzz.client import ask
from dev.fuzz.inputs import TAKEN, Input
from dev.fuzz.judge import Judge
from dev.fuzz.kinds import make_input
from dev.fuzz.updates import Crowd, Person
from dev.fuzz.wire import AT_ONCE as TALKS_AT_ONCE
from dev.fuzz.wire import make_talk, talk
from domain.catalog import QuizKind
from domain.ids import LearnerId
from domain.settings import Settings
from question_sources.bank_sync import sync_bank
from quizzes.delivery import serve_quizzes
from roles.webhook import create_app
from roles.webhook_registration import PATH, SECRET_HEADER
from roles.worker import Worker
from wiring import Runtime, open_runtime

AT_ONCE = 24
"""Requests under way."""

SHOWN_EVERY = 10_000
TALKS_SHOWN_EVERY = 1_000
DRAIN_SECONDS = 900.0

Say = Callable[[str], None]


class Ear(logging.Handler):
    """Hears what the service complains of."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        trace = record.exc_info[1] if record.exc_info else None
        self.lines.append(f"{record.name}: {record.getMessage()}" + (f" ({trace!r})" if trace else ""))


@contextmanager
def listening() -> Iterator[Ear]:
    """Yield what hears every error that is logged."""
    ear = Ear()
    logging.getLogger().addHandler(ear)
    try:
        yield ear
    finally:
        logging.getLogger().removeHandler(ear)


@dataclass(frozen=True, slots=True)
class Size:
    """How much to try."""

    inputs: int
    learners: int
    seed: int = 20261125


@dataclass(frozen=True, slots=True)
class Talks:
    """How much to try on sockets."""

    count: int
    seed: int = 20261125


async def prepare(settings: Settings) -> None:
    """Make the schema and load the bank, so that whatever starts next finds both, and let no commit wait for a disk."""
    async with open_runtime(settings) as runtime:
        await runtime.repository.database.prepare_schema()
        await sync_bank(runtime.repository, settings.question_bank_dir)
    connection = await asyncpg.connect(_database_url(settings), statement_cache_size=0)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    await connection.close()


def _database_url(settings: Settings) -> str:
    return settings.database_url.get_secret_value() if settings.database_url else ""


async def gather_crowd(runtime: Runtime, count: int) -> Crowd:
    """Return so many learners, each with a question in their chat."""
    settings = runtime.settings
    bot_id, token = next(iter(settings.bots.items()))
    async with httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=60) as client:
        known = await client.get(f"/bot{token.get_secret_value()}/getMe")
        known.raise_for_status()  # from its first call on, the simulator knows a bot
        reply = await client.post("/api/crowd", json={"count": count, "text": "", "probability": 0})
        reply.raise_for_status()
    learner_ids = [LearnerId(learner_id) for learner_id in reply.json()["learners"]]
    for learner_id in learner_ids:
        await runtime.repository.add_learner(learner_id, bot_id, settings)
    await serve_quizzes(runtime.context, learner_ids, QuizKind.ON_DEMAND)
    quizzes = await runtime.repository.find_open_quizzes(learner_ids)
    return Crowd([Person(quiz.learner_id, quiz.id, quiz.message_id or 1) for quiz in quizzes.values()])


@asynccontextmanager
async def served_app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield the bot role's application, started."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


async def try_inputs(app: FastAPI, inputs: Iterator[Input], judge: Judge, say: Say) -> None:
    """Send inputs, some at once."""
    began = time.monotonic()

    async def send() -> None:
        for given in inputs:
            judge.hear(given, *await ask(app, PATH, SECRET_HEADER, given))
            if given.number % SHOWN_EVERY == 0 and given.number:
                say(f"{given.number:,} inputs after {time.monotonic() - began:.0f} s")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(send())


async def handle_all(runtime: Runtime) -> None:
    """Let a worker handle everything that is stored."""
    worker = Worker(runtime)
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while (await runtime.repository.count_waiting_updates())[0]:  # noqa: ASYNC110 - rows, in another process
                await asyncio.sleep(0.2)
    finally:
        worker.stop()
        await running


async def shake(port: int, talks: Talks, judge: Judge, say: Say) -> None:
    """Send nonsense over sockets, and see whether the server serves as before."""
    say(f"{talks.count:,} connections with nonsense on them")
    began = time.monotonic()
    numbers = iter(range(talks.count))

    async def speak() -> None:
        for number in numbers:
            said = make_talk(talks.seed, number, PATH, SECRET_HEADER)
            judge.allow(f"socket: {said.kind}", said.body)
            judge.hear_talk(number, said, await talk(port, said))
            if number % TALKS_SHOWN_EVERY == 0 and number:
                say(f"{number:,} connections after {time.monotonic() - began:.0f} s")

    async with asyncio.TaskGroup() as group:
        for _ in range(TALKS_AT_ONCE):
            group.create_task(speak())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        if (await client.get("/health")).status_code != TAKEN:
            judge.find("after all this, the server is not well")


async def fuzz(
    settings: Settings, size: Size, judge: Judge, say: Say, then: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Try inputs of every kind, handle what was stored, and judge it all."""
    with listening() as ear:
        async with served_app(settings) as app, open_runtime(settings) as runtime:
            crowd = await gather_crowd(runtime, size.learners)
            inputs = (make_input(size.seed, number, crowd) for number in range(size.inputs))
            await try_inputs(app, inputs, judge, say)
            if then:
                await then()
            connection = await asyncpg.connect(_database_url(settings), statement_cache_size=0)
            try:
                await judge.look_at_stored(connection)
                say(f"{judge.stored.total():,} updates are stored; a worker handles them")
                await handle_all(runtime)
                await judge.look_at_handled(connection)
            finally:
                await connection.close()
    for line in ear.lines:
        judge.find(f"logged: {line}")
