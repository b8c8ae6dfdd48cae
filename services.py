"""Opens and closes what the use cases work with: all wiring in one place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from telegram import Bot

from bot.accounts import Account, Accounts
from bot.gateway import TelegramGateway, make_bot
from bot.limiter import CHAT_RATE, RateLimiter
from bot.picture_cache import PictureCache
from domain.errors import StartupError, StorageUnavailableError
from domain.ids import BotId
from domain.settings import Settings
from quiz_generator import make_generator
from quiz_grading import rules_of
from quiz_session import Services
from redis_store import open_redis
from repository import Repository
from telegram_bot import TelegramMessenger

HEARTBEAT_SECONDS = 5.0
LOCAL_REDIS = "redis://127.0.0.1:6379"


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything that a role needs, open."""

    services: Services
    accounts: Accounts
    redis: Redis

    @property
    def repository(self) -> Repository:
        """Return the storage."""
        return self.services.repository

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return self.services.settings


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Wiring]:
    """Connect to everything, and disconnect at the end.

    Args:
        settings: with every address resolved.

    Raises:
        StartupError: there is no bot token, or one is none.
        StorageUnavailableError: the database does not answer.
    """
    bots = make_bots(settings)
    async with AsyncExitStack() as stack:
        repository = await Repository.open(settings)
        stack.push_async_callback(repository.close)
        redis = open_redis(settings.redis_url.get_secret_value() if settings.redis_url else LOCAL_REDIS)
        stack.push_async_callback(redis.aclose)
        accounts = Accounts([await _open_account(stack, settings, redis, bot_id, bot) for bot_id, bot in bots.items()])
        generator = make_generator(repository, settings, redis)
        stack.push_async_callback(generator.close)
        services = Services(
            settings=settings,
            repository=repository,
            generator=generator,
            messenger=TelegramMessenger(accounts, rules_of(settings)),
        )
        yield Wiring(services, accounts, redis)


def make_bots(settings: Settings) -> dict[BotId, Bot]:
    """Build the library's Bot for each token.

    Args:
        settings: with at least one.

    Raises:
        StartupError: there is no bot token, or one is none.
    """
    if not settings.bots:
        raise StartupError("TELEGRAM_BOT_TOKEN is not set")
    return {bot_id: make_bot(settings, token) for bot_id, token in settings.bots.items()}


async def _open_account(stack: AsyncExitStack, settings: Settings, redis: Redis, bot_id: BotId, bot: Bot) -> Account:
    for request in bot._request:  # noqa: SLF001 - initialize() would also call getMe, which needs Telegram up
        await request.initialize()
        stack.push_async_callback(request.shutdown)
    limiter = RateLimiter(redis, bot_id, settings.messages_per_second, CHAT_RATE)
    gateway = TelegramGateway(bot, limiter, paid_broadcast=settings.telegram_paid_broadcast)
    return Account(bot_id, gateway, PictureCache(redis, bot_id))


async def keep_beating(repository: Repository, role: str) -> None:
    """Say every few seconds that this process is alive, until cancelled.

    Args:
        repository: where to say it.
        role: what the process does.
    """
    name = f"{role}:{socket.gethostname()}:{os.getpid()}"
    while True:
        with contextlib.suppress(StorageUnavailableError):
            await repository.beat(name, role)
        await asyncio.sleep(HEARTBEAT_SECONDS)
