"""In a group the bot says once that it works in private chats, and is silent from then on."""

from __future__ import annotations

import asyncio
import logging

from redis.asyncio import Redis

from bot import texts
from bot.accounts import Account
from bot.updates import GroupUpdate
from domain.errors import TelegramError
from domain.ids import BotId
from storage.redis_client import redis_optional

logger = logging.getLogger(__name__)

MAX_GREETINGS = 5
"""Under way at once in a process: learners' messages share Telegram's pace with them."""


class GroupGreeter:
    """Greets groups in the background, so that no update waits for it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._under_way: dict[tuple[BotId, int], asyncio.Task[None]] = {}

    def greet(self, account: Account, group: GroupUpdate) -> None:
        """Begin to greet a group; while `MAX_GREETINGS` are under way, its next command has to ask again."""
        key = account.id, group.chat_id
        if key in self._under_way or len(self._under_way) >= MAX_GREETINGS:
            return
        task = asyncio.create_task(self._greet(account, group))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key))

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _greet(self, account: Account, group: GroupUpdate) -> None:
        try:
            await greet_group(self._redis, account, group)
        except Exception as error:  # noqa: BLE001 - nobody waits for this task, and its words may be a learner's
            logger.error("bot %d: a group is not greeted: %s", account.id, type(error).__name__)  # noqa: TRY400


async def greet_group(redis: Redis, account: Account, group: GroupUpdate) -> None:
    """Say where the bot works, unless it has said so in this group; at most once, whether it arrived or not.

    Redis keeps the group without an end. While it or the bot's name at Telegram is unavailable, nothing is said.
    """
    name = await account.gateway.name()
    if name is None or group.addressee not in {"", name.lower()}:
        return
    is_first = None
    with redis_optional():
        is_first = await redis.set(f"quiz:group:{account.id}:{group.chat_id}", 1, nx=True)
    if not is_first:
        return
    try:
        await account.gateway.send_to_group(group.chat_id, texts.group_text(name), group.topic_id)
    except TelegramError as error:
        logger.info("bot %d could not say in a group where it works: %s", account.id, error)
