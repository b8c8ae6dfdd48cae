"""In a group the bot says once that it works in private chats, and is silent from then on."""

from __future__ import annotations

import logging

from redis.asyncio import Redis

from bot import texts
from bot.accounts import Account
from bot.updates import GroupUpdate
from domain.errors import TelegramError
from storage.redis_client import redis_optional

logger = logging.getLogger(__name__)


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
