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

from domain.catalog import QuizKind
from domain.ids import LearnerId
from domain.settings import Settings
from fuzz.client import ask
from fuzz.inputs import TAKEN, Input
from fuzz.judge import Judge
from fuzz.kinds import make_input
from fuzz.updates import Crowd, Person
from fuzz.wire import AT_ONCE as TALKS_AT_ONCE
from fuzz.wire import make_talk, talk
from quiz_generator import sync_bank
from quiz_session import serve_quizzes
from services import Wiring, open_services
from webhook import PATH, SECRET_HEADER, create_app
from worker import Worker

AT_ONCE = 24
"""Requests under way."""

SHOWN_EVERY = 10_000
TALKS_SHOWN_EVERY = 1_000
DRAIN_SECONDS = 900.0

Say = Callable[[str], None]


class Ear(logging.Handler):
    """Hears what the service complains of."""

    def __init__(self) -> None:
        """Hear errors, and nothing below them."""
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line.

        Args:
            record: of an error.
        """
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
    """Make the schema and load the bank, so that whatever starts next finds both, and let no commit wait for a disk.

    Args:
        settings: with a database.
    """
    async with open_services(settings) as wiring:
        await wiring.repository.database.prepare_schema()
        await sync_bank(wiring.repository, settings.question_bank_dir)
    connection = await asyncpg.connect(_database_url(settings), statement_cache_size=0)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    await connection.close()


def _database_url(settings: Settings) -> str:
    return settings.database_url.get_secret_value() if settings.database_url else ""


async def gather_crowd(wiring: Wiring, count: int) -> Crowd:
    """Return so many learners, each with a question in their chat.

    Args:
        wiring: open services, with a simulator.
        count: how many.
    """
    settings = wiring.settings
    bot_id, token = next(iter(settings.bots.items()))
    async with httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=60) as client:
        known = await client.get(f"/bot{token.get_secret_value()}/getMe")
        known.raise_for_status()  # from its first call on, the simulator knows a bot
        reply = await client.post("/api/crowd", json={"count": count, "text": "", "probability": 0})
        reply.raise_for_status()
    learner_ids = [LearnerId(learner_id) for learner_id in reply.json()["learners"]]
    for learner_id in learner_ids:
        await wiring.repository.add_learner(learner_id, bot_id, settings)
    await serve_quizzes(wiring.services, learner_ids, QuizKind.ON_DEMAND)
    quizzes = await wiring.repository.find_open_quizzes(learner_ids)
    return Crowd([Person(quiz.learner_id, quiz.id, quiz.message_id or 1) for quiz in quizzes.values()])


@asynccontextmanager
async def served_app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield the bot role's application, started.

    Args:
        settings: with every address resolved.
    """
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


async def try_inputs(app: FastAPI, inputs: Iterator[Input], judge: Judge, say: Say) -> None:
    """Send inputs, some at once.

    Args:
        app: started.
        inputs: what to send.
        judge: hears the answers.
        say: shows progress.
    """
    began = time.monotonic()

    async def send() -> None:
        for given in inputs:
            judge.hear(given, *await ask(app, PATH, SECRET_HEADER, given))
            if given.number % SHOWN_EVERY == 0 and given.number:
                say(f"{given.number:,} inputs after {time.monotonic() - began:.0f} s")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(send())


async def handle_all(wiring: Wiring) -> None:
    """Let a worker handle everything that is stored.

    Args:
        wiring: open services.
    """
    worker = Worker(wiring)
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while (await wiring.repository.count_waiting_updates())[0]:  # noqa: ASYNC110 - rows, in another process
                await asyncio.sleep(0.2)
    finally:
        worker.stop()
        await running


async def shake(port: int, talks: Talks, judge: Judge, say: Say) -> None:
    """Send nonsense over sockets, and see whether the server serves as before.

    Args:
        port: where the bot role listens.
        talks: how many.
        judge: hears the answers.
        say: shows progress.
    """
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
    """Try inputs of every kind, handle what was stored, and judge it all.

    Args:
        settings: of a database, a Valkey and a simulator that nobody else uses.
        size: how much.
        judge: hears and looks.
        say: shows progress.
        then: what else is to be done before the worker begins.
    """
    with listening() as ear:
        async with served_app(settings) as app, open_services(settings) as wiring:
            crowd = await gather_crowd(wiring, size.learners)
            inputs = (make_input(size.seed, number, crowd) for number in range(size.inputs))
            await try_inputs(app, inputs, judge, say)
            if then:
                await then()
            connection = await asyncpg.connect(_database_url(settings), statement_cache_size=0)
            try:
                await judge.look_at_stored(connection)
                say(f"{judge.stored.total():,} updates are stored; a worker handles them")
                await handle_all(wiring)
                await judge.look_at_handled(connection)
            finally:
                await connection.close()
    for line in ear.lines:
        judge.find(f"logged: {line}")
