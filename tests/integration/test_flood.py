"""A flood of one learner, through the real webhook and worker at Telegram's limits: it slows only that learner."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client import REGISTRY

from bot.rate_algorithm import CHAT_BURST
from dev.benchmarks.load import Connection, format_request
from domain.settings import Settings
from local import servers
from repository import Repository
from roles.flood import BURST
from roles.webhook import create_app
from roles.webhook_registration import PATH, SECRET_HEADER, webhook_secret
from simulator.options import Options
from simulator.server import create_app as create_simulator
from tests.support.factories import BOT_ID
from tests.support.service import Learner, Service, is_question, rows, running_service, running_worker
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS

QUICKER = 10
"""So many times Telegram's limits, and the pace that is nothing remarkable: the test is as much shorter."""

CONNECTIONS = 16
UPDATES = 2_000
Update = dict[str, Any]


@pytest.fixture
async def telegram_url() -> AsyncIterator[str]:
    """Yield the address of a simulator that keeps Telegram's limits, in a hurry."""
    options = Options(fast_retries=True, bot_rate=30 * QUICKER, bot_burst=30 * QUICKER, chat_rate=QUICKER)
    async with serving(create_simulator(options), servers.free_port()) as url:
        yield url


@pytest.fixture
def limited(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings under which the service keeps the same limits."""
    monkeypatch.setattr("wiring.CHAT_RATE", float(QUICKER))
    monkeypatch.setattr("roles.intake.UPDATES_PER_SECOND", float(QUICKER))
    return settings.model_copy(update={"telegram_rate_per_second": 30.0 * QUICKER})


class Flood:
    """Posts updates of one learner to the webhook, past the simulator, about a thousand a second."""

    def __init__(self, service: Service, learner: Learner, question: Update) -> None:
        """Take who floods whom, and the question whose buttons are tapped."""
        self._port = int(service.url.rpartition(":")[2])
        self._secret = webhook_secret(service.runtime.settings, BOT_ID)
        self._learner, self._question = learner, question
        self._numbers = itertools.count(10**9)
        self._rng = random.Random(20261125)
        self.sent = 0

    async def run(self, count: int, make: Callable[[], Update]) -> None:
        """Post so many updates, each answered with 200."""
        connections = [await Connection.open(self._port) for _ in range(CONNECTIONS)]
        numbers = iter(range(count))

        async def drive(connection: Connection) -> None:
            for _ in numbers:
                body = json.dumps(make() | {"update_id": next(self._numbers)}).encode()
                status, _ = await connection.ask(format_request(PATH, body, {SECRET_HEADER: self._secret}))
                assert status == 200
                self.sent += 1

        await asyncio.gather(*(drive(connection) for connection in connections))
        for connection in connections:
            connection.close()

    def text(self) -> Update:
        """Return something written."""
        return {"message": self._message("hello")}

    def anything(self) -> Update:
        """Return a command, a text, or a tap on any button."""
        rng = self._rng
        texts = ["/help", "/quiz", "/settings", "/stop", "/resume", "/nonsense", "hello"]
        answers = [button["callback_data"] for row in rows(self._question) for button in row]
        if rng.random() < 0.5:
            return {"message": self._message(rng.choice(texts))}
        tap = {
            "id": "1",
            "from": self._user,
            "message": self._message(""),
            "data": rng.choice([*answers, "n", "t:streaming"]),
        }
        return {"callback_query": tap | {"message": self._message("") | {"message_id": self._question["message_id"]}}}

    @property
    def _user(self) -> Update:
        return {"id": self._learner.id, "is_bot": False, "first_name": "x"}

    def _message(self, text: str) -> Update:
        chat = {"id": self._learner.id, "type": "private"}
        return {"message_id": 1_000_000, "from": self._user, "chat": chat, "date": 1, "text": text}


def shed() -> Counter[str]:
    """Return how many updates were not stored so far, and why."""
    names = ("repeated", "waiting")
    values = {name: REGISTRY.get_sample_value("quiz_updates_shed_total", {"why": name}) or 0 for name in names}
    return Counter({name: int(value) for name, value in values.items()})


async def test_a_flood_slows_only_the_learner_who_floods(limited: Settings, database_url: str) -> None:
    before = shed()
    async with running_service(limited, servers.free_port()) as service:
        connection = await asyncpg.connect(database_url, statement_cache_size=0)
        flooder, others = await service.new_learner(), [await service.new_learner() for _ in range(4)]
        flood = Flood(service, flooder, await flooder.get_question())
        await service.settled()
        known, began = len(await flooder.messages()), time.monotonic()
        flooding = asyncio.create_task(flood.run(UPDATES, flood.anything))
        max_held = 0
        served = asyncio.gather(*(use(other) for other in others))
        while not flooding.done():
            max_held = max(max_held, await held(connection, flooder))
            await asyncio.sleep(0.01)
        await served
        waiting, _ = await service.runtime.repository.count_waiting_updates()
        assert waiting > 0  # everybody else is served, and the flooder's turn goes on
        await service.settled()
        await flooding
        replies = [one for one in (await flooder.messages())[known:] if not one["out"]]
        seconds = time.monotonic() - began
        statistics = (await service.telegram.get("/api/statistics")).json()
    assert 1 <= max_held <= CONNECTIONS  # of the worker's places: one, but for what overtook something on its way
    assert len(replies) <= CHAT_BURST + QUICKER * seconds
    assert statistics["too_many_requests"] == 0
    stored = await connection.fetch(
        "SELECT state, attempts FROM updates WHERE learner_id = $1 AND update_id >= $2", flooder.id, 10**9
    )
    assert {(row["state"], row["attempts"]) for row in stored} == {("done", 1)}
    turned_away = shed() - before
    assert len(stored) + turned_away.total() == flood.sent == UPDATES
    assert turned_away["waiting"] > 0
    assert await connection.fetchval("SELECT count(*) FROM answers WHERE learner_id = $1", flooder.id) == 1
    await connection.close()


async def use(learner: Learner) -> None:
    """Ask for a question, answer it, and ask for another, as anybody does."""
    await learner.answer(await learner.get_question(), 0)
    await learner.get_question()


async def held(connection: asyncpg.Connection[asyncpg.Record], learner: Learner) -> int:
    """Return how many of somebody's updates a worker holds at this moment."""
    query = "SELECT count(*) FROM updates WHERE learner_id = $1 AND state = 'claimed'"
    return int(await connection.fetchval(query, learner.id))


async def test_a_thousand_texts_get_a_handful_of_replies(limited: Settings) -> None:
    async with running_service(limited, servers.free_port()) as service:
        writer = await service.new_learner()
        known = len(await writer.messages())
        flood = Flood(service, writer, {})
        await flood.run(1_000, flood.text)
        await service.settled()
        replies = (await writer.messages())[known:]
        assert 1 <= len(replies) <= BURST + CONNECTIONS  # what is on its way at once cannot know of one another
        await writer.ask("/help", "How it works")


async def test_nobody_waits_in_a_batch_for_somebody_elses_chat(
    settings: Settings, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.worker.DRAIN_SECONDS", 0.2)
    monkeypatch.setattr("wiring.CHAT_RATE", 1 / 600)  # a chat that has had its share takes nothing more in this test
    port = servers.free_port()
    async with running_service(settings, port) as service:
        busy, other = await service.new_learner(), await service.new_learner()
        for command, reply in (("/help", "How it works"), ("/privacy", "What is stored")):
            await busy.ask(command, reply)
        await service.settled()
    async with httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=WAIT_SECONDS) as telegram:
        busy, other = Learner(telegram, busy.id), Learner(telegram, other.id)
        await stored_together(settings.model_copy(update={"webhook_port": port}), repository, busy, other)
        async with running_worker(settings):
            await waiting_are(repository, 1)
            await other.wait_for(is_question)
            assert not any(is_question(message) for message in await busy.messages())
    assert (await repository.count_waiting_updates())[0] == 1  # left to the next worker


async def stored_together(settings: Settings, repository: Repository, *learners: Learner) -> None:
    """Let learners ask for a question while no worker is there, so that the next one takes them in one batch."""
    async with serving(create_app(settings), settings.webhook_port):
        for learner in learners:
            await learner.say("/quiz")
        await waiting_are(repository, len(learners))


async def waiting_are(repository: Repository, count: int) -> None:
    """Return once so many updates wait."""
    async with asyncio.timeout(WAIT_SECONDS):
        while (await repository.count_waiting_updates())[0] != count:
            await asyncio.sleep(0.02)
