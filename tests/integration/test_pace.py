"""The gateway at Telegram's limits, as the simulator keeps them: no 429, whatever is sent to whom."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from PIL import Image
from pydantic import SecretStr
from redis.asyncio import Redis

from bot.breaker import BotBreaker
from bot.client import TelegramGateway, make_bot
from bot.rate_algorithm import CHAT_BURST
from bot.rate_limiter import RateLimiter
from domain.catalog import Priority
from domain.ids import BotId, LearnerId
from domain.settings import PAID_RATE, Settings
from simulator.core import Simulator
from simulator.options import Options
from simulator.server import create_app
from tests.integration.simulator.support import ALICE, served
from tests.integration.simulator.test_refusals import keys
from tests.support.factories import BOT_ID, TOKEN, some_id
from wiring import open_runtime

LEARNER = LearnerId(ALICE)
NEVER = 0.0001
"""A rate at which a second slot comes after the test."""


@asynccontextmanager
async def gateway(
    options: Options, valkey_url: str, rate: float = 1000, chat_rate: float = 1000
) -> AsyncIterator[tuple[TelegramGateway, Simulator]]:
    """Yield a gateway to a simulator, with a chat open and a limiter of its own."""
    app = create_app(options)
    redis = Redis.from_url(valkey_url)
    async with served(app) as url:
        settings = Settings(_env_file=None, telegram_bot_token=SecretStr(TOKEN), telegram_api_base_url=url)
        bot = make_bot(settings, SecretStr(TOKEN))
        async with bot:
            here = app.simulator.bots[BOT_ID]
            app.simulator.open_chat(here, app.simulator.learners[ALICE])
            yield (
                TelegramGateway(bot, RateLimiter(redis, some_id(), rate, chat_rate), BotBreaker(BotId(BOT_ID))),
                app.simulator,
            )
    await redis.aclose()


def picture() -> bytes:
    """Return a small one."""
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    return content.getvalue()


async def write_and_edit(one: TelegramGateway, count: int) -> None:
    """Send messages to one chat and edit each, all at once."""

    async def send(number: int) -> None:
        message_id = await one.send(LEARNER, str(number))
        await one.edit(LEARNER, message_id, f"{number} again")
        await one.edit_keyboard(LEARNER, message_id, keys(["a"]))

    await asyncio.gather(*(send(number) for number in range(count)))


async def test_a_flood_to_one_chat_never_meets_its_limit(valkey_url: str) -> None:
    async with gateway(Options(bot_rate=0, chat_rate=20), valkey_url, chat_rate=20) as (one, simulator):
        await write_and_edit(one, 10)
        told = simulator.stats.summary()
    assert (told["messages_sent"], told["too_many_requests"]) == (10, 0)


async def test_a_flood_meets_the_chats_limit_where_nobody_keeps_it(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")  # the library warns about the older form of retry_after
    async with gateway(Options(bot_rate=0, chat_rate=5), valkey_url) as (one, simulator):
        await asyncio.gather(*(one.send(LEARNER, str(number)) for number in range(8)))
        told = simulator.stats.summary()
    assert told["messages_sent"] == 8
    assert told["too_many_requests_to_a_chat"] == told["too_many_requests"] > 0


async def test_messages_to_many_never_meet_the_bots_limit(valkey_url: str) -> None:
    async with gateway(Options(chat_rate=0), valkey_url, rate=30) as (one, simulator):
        learners = [simulator.add_learner() for _ in range(60)]
        for learner in learners:
            simulator.open_chat(simulator.bots[BOT_ID], learner)
        priorities = [Priority.BROADCAST, Priority.INTERACTIVE]
        await asyncio.gather(
            *(one.send(LearnerId(learner.id), "x", None, priorities[learner.id % 2]) for learner in learners)
        )
        told = simulator.stats.summary()
    assert (told["messages_sent"], told["too_many_requests"]) == (60, 0)


async def test_edits_and_files_count_against_the_chat_and_acknowledgements_do_not(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.client.CHAT_PATIENCE_SECONDS", 1 / NEVER * CHAT_BURST)
    async with gateway(Options(bot_rate=0, chat_rate=0), valkey_url, chat_rate=NEVER) as (one, simulator):
        message_id = await one.send(LEARNER, "?", keys(["a"]))
        await one.edit(LEARNER, message_id, "??", keys(["a"]))
        await one.send_file(LEARNER, b"content", "name", "caption")
        assert CHAT_BURST == 3  # which are used up now
        held: list[asyncio.Task[object]] = [
            asyncio.create_task(one.send_photo(LEARNER, picture(), "caption")),
            asyncio.create_task(one.edit_keyboard(LEARNER, message_id, keys(["b"]))),
            asyncio.create_task(one.send(LEARNER, "later", None, Priority.BROADCAST)),
        ]
        bot, learner = simulator.bots[BOT_ID], simulator.learners[ALICE]
        for _ in range(10):
            await one.acknowledge(simulator.tap(bot, learner, message_id, "a"))
        assert simulator.stats.counts["callback_answers"] == 10
        assert not any(task.done() for task in held)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


@pytest.mark.parametrize("paid", [True, False])
async def test_paid_broadcasts_are_asked_for_only_where_they_are_set(settings: Settings, *, paid: bool) -> None:
    app = create_app(Options(bot_rate=0, chat_rate=0))
    async with served(app) as url:
        changes = {"telegram_paid_broadcast": paid, "telegram_api_base_url": url}
        async with open_runtime(settings.model_copy(update=changes)) as runtime:
            await runtime.accounts.first.gateway.bot.get_me()
            app.simulator.open_chat(app.simulator.bots[BOT_ID], app.simulator.learners[ALICE])
            message_id = await runtime.accounts.first.gateway.send(LEARNER, "hello")
            await runtime.accounts.first.gateway.send_file(LEARNER, b"content", "name", "caption")
            await runtime.accounts.first.gateway.send_photo(LEARNER, picture(), "caption")
            await runtime.accounts.first.gateway.edit(LEARNER, message_id, "hello again")
    asked = {one.method: one.values.get("allow_paid_broadcast") for one in app.simulator.stats.requests}
    expected = "true" if paid else None
    sent = ("sendmessage", "senddocument", "sendphoto")
    assert asked == {"getme": None, "editmessagetext": None, **dict.fromkeys(sent, expected)}
    assert runtime.settings.messages_per_second == (PAID_RATE if paid else 30)
