"""Puts the service together: opens its connections, and builds the use cases on them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from telegram import Bot

from bot.accounts import Account, Accounts
from bot.breaker import BotBreaker
from bot.client import TelegramGateway, make_bot
from bot.picture_cache import PictureCache
from bot.rate_limiter import CHAT_RATE, RateLimiter
from difficulty_adapter import rules_of
from domain.clock import make_clock
from domain.errors import StartupError
from domain.ids import BotId, LearnerId
from domain.service_state import Role
from domain.settings import Settings
from domain.version import VERSION
from observability.background import run_forever
from repository import Repository
from storage.redis_client import open_redis

if TYPE_CHECKING:
    from quizzes.context import QuizContext

HEARTBEAT_SECONDS = 5.0
LOCAL_REDIS = "redis://127.0.0.1:6379"


@dataclass(frozen=True, slots=True)
class Connections:
    """The open database, Redis and bots: all that receiving updates needs."""

    settings: Settings
    repository: Repository
    redis: Redis
    accounts: Accounts


@dataclass(frozen=True, slots=True)
class Runtime(Connections):
    """The connections, and the context of the use cases on top of them."""

    context: QuizContext


@asynccontextmanager
async def open_connections(settings: Settings) -> AsyncIterator[Connections]:
    """Connect to the database, Redis and Telegram, and disconnect at the end.

    Raises:
        StartupError: no bot token is set, or one is invalid.
        StorageUnavailableError: the database does not answer.
    """
    bots = make_bots(settings)
    async with AsyncExitStack() as stack:
        repository = await stack.enter_async_context(await Repository.open(settings))
        redis = open_redis(settings.redis_url.get_secret_value() if settings.redis_url else LOCAL_REDIS)
        stack.push_async_callback(redis.aclose)
        accounts = Accounts([await _open_account(stack, settings, redis, bot_id, bot) for bot_id, bot in bots.items()])
        yield Connections(settings, repository, redis, accounts)


@asynccontextmanager
async def open_runtime(
    settings: Settings, forget_runs: Callable[[LearnerId], Awaitable[None]] | None = None
) -> AsyncIterator[Runtime]:
    """Open the connections and build the use cases on them; close all at the end.

    Args:
        forget_runs: deletes the run records that are named after a learner; None without Prefect.

    Raises:
        StartupError: no bot token is set, or one is invalid.
        StorageUnavailableError: the database does not answer.
    """
    # The bot role does without these, which saves a quarter of its memory.
    from quiz_generator import make_generator  # noqa: PLC0415
    from quizzes.context import QuizContext  # noqa: PLC0415
    from telegram_bot import TelegramMessenger  # noqa: PLC0415

    async with open_connections(settings) as opened, AsyncExitStack() as stack:
        generator = make_generator(opened.repository, settings, opened.redis)
        stack.push_async_callback(generator.close)
        messenger = TelegramMessenger(opened.accounts, rules_of(settings))
        now = make_clock(settings.clock_file)
        context = QuizContext(settings, opened.repository, generator, messenger, forget_runs, now)
        yield Runtime(settings, opened.repository, opened.redis, opened.accounts, context)


def make_bots(settings: Settings) -> dict[BotId, Bot]:
    """Build the library's Bot for each token.

    Raises:
        StartupError: no bot token is set, or one is invalid.
    """
    if not settings.bots:
        raise StartupError("TELEGRAM_BOT_TOKEN is not set")
    return {bot_id: make_bot(settings, token) for bot_id, token in settings.bots.items()}


async def _open_account(stack: AsyncExitStack, settings: Settings, redis: Redis, bot_id: BotId, bot: Bot) -> Account:
    for request in bot._request:  # noqa: SLF001 - initialize() would also call getMe, which needs Telegram up
        await request.initialize()
        stack.push_async_callback(request.shutdown)
    limiter = RateLimiter(redis, bot_id, settings.messages_per_second, CHAT_RATE)
    breaker = BotBreaker(bot_id, redis)
    gateway = TelegramGateway(bot, limiter, breaker, paid_broadcast=settings.telegram_paid_broadcast)
    return Account(bot_id, gateway, PictureCache(redis, bot_id))


async def prepare_database(repository: Repository, settings: Settings) -> list[str]:
    """Bring the schema up to date, and see that the database knows the settings' time zone.

    Returns:
        What was applied to the schema, in order.

    Raises:
        StorageUnavailableError: the database is unavailable.
        StartupError: its role may not change the schema, or it does not know QUIZ_TIMEZONE.
    """
    applied = await repository.database.prepare_schema()
    if await repository.database.find_unknown_zones([settings.quiz_timezone]):
        raise StartupError(
            f"QUIZ_TIMEZONE: the database does not know {settings.quiz_timezone}; "
            "use the present name of a city's zone, such as America/New_York for US/Eastern"
        )
    return applied


def name_process(role: Role) -> str:
    """Return a name for this process that no other has: a container's first process has the same number every time."""
    return f"{role}:{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


async def send_heartbeats(repository: Repository, role: Role, name: str | None = None) -> None:
    """Record every few seconds that this process is alive, until cancelled.

    Args:
        name: the process's; a new one if it is None.
    """
    name = name or name_process(role)
    await run_forever("heartbeat", lambda: repository.record_heartbeat(name, role, VERSION), pause=HEARTBEAT_SECONDS)
