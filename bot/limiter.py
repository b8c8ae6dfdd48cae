"""Telegram's rate, shared by every process of a bot through one script in Redis.

Two limits hold, the bot's and each chat's; `bot/buckets.py` has the algorithm. A learner who taps during a distribution
never stands behind it, and whoever floods their own chat waits for it alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from uuid import uuid4
from weakref import WeakValueDictionary

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from bot.buckets import BURST, CHAT_BURST, CHAT_WAITS, PAUSE, SCRIPT, Hold, LocalBucket, Slot
from domain.catalog import Priority
from observability import metrics
from redis_store import AWAY

logger = logging.getLogger(__name__)

CHAT_RATE = 1.0
"""Messages a second that Telegram takes for one chat."""

LEAST_SENDERS = 2
"""While Redis is away, one process counts on at least one other that sends as well."""

SENDER_SECONDS = 600
"""A process that has not asked for so long is no sender any more."""

RETRY_REDIS_SECONDS = 5.0

_SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RateLimiter:
    """Makes callers wait until Telegram's rate allows a message."""

    def __init__(self, redis: Redis | None, bot_id: int, rate: float, chat_rate: float = CHAT_RATE) -> None:
        """Take the shared store and the rates.

        Args:
            redis: where the buckets are; None keeps them in this process.
            bot_id: whose rate it is.
            rate: messages a second.
            chat_rate: messages a second to one chat.
        """
        self._redis = redis
        self._prefix = f"quiz:rate:{{{bot_id}}}"  # the braces keep a bot's keys on one node of a cluster
        self._rate = rate
        self._chat_rate = chat_rate
        self._sender = uuid4().hex
        self._senders = LEAST_SENDERS
        self._local = LocalBucket(rate, chat_rate)
        self._turn = asyncio.Lock()
        self._lines: WeakValueDictionary[tuple[int, Priority], asyncio.Lock] = WeakValueDictionary()
        self._redis_away = False
        self._ask_redis_at = 0.0

    async def wait(self, priority: Priority, chat_id: int | None = None) -> None:
        """Return when a message may be sent.

        Args:
            priority: whether a learner waits for it, or it is part of a broadcast.
            chat_id: whom it is for; None if it is for nobody's chat.
        """
        if chat_id is None:
            await self._wait(priority, None)
            return
        async with self._lines.setdefault((chat_id, priority), asyncio.Lock()):  # in order, and one asker at a time
            await self._wait(priority, chat_id)

    async def _wait(self, priority: Priority, chat_id: int | None) -> None:
        ask = self._ask_in_turn if priority is Priority.BROADCAST else self._take
        while True:
            slot = await ask(priority, chat_id)
            if slot.wait > 0:
                await asyncio.sleep(slot.wait)
            if slot.granted and not self._local.is_paused(time.monotonic()):  # Telegram may have spoken meanwhile
                return

    async def _ask_in_turn(self, priority: Priority, chat_id: int | None) -> Slot:
        """Ask while the others of the broadcast wait, who would ask in vain; but let none of them wait for a chat."""
        async with self._turn:
            while True:
                slot = await self._take(priority, chat_id)
                if slot.granted or slot.hold is Hold.CHAT:
                    return slot
                await asyncio.sleep(slot.wait)

    async def _take(self, priority: Priority, chat_id: int | None) -> Slot:
        if self._redis is not None and time.monotonic() >= self._ask_redis_at:
            keys = [f"{self._prefix}:{name}" for name in ("free", "pause", "senders")]
            if chat_id is not None:
                keys.append(self._chat_key(chat_id))
            limits = (1 / self._rate, BURST[priority], int(priority), 1 / self._chat_rate, CHAT_BURST)
            try:
                micros, granted, hold, senders = await _run(self._redis, keys, *limits, self._sender, SENDER_SECONDS)
            except AWAY as error:
                self._note_redis_away(error)
            else:
                self._note_redis_there(senders)
                return self._remember(Slot(micros / 1e6, bool(granted), Hold(hold)))
        return self._local.take(priority, time.monotonic(), chat_id)

    async def chat_waits(self, chat_ids: Sequence[int]) -> dict[int, float]:
        """Return the chats that take no message at this moment, and for how many seconds; asking takes nothing.

        Args:
            chat_ids: which to ask about.
        """
        if not chat_ids:
            return {}
        if self._redis is not None and time.monotonic() >= self._ask_redis_at:
            keys = [self._chat_key(chat_id) for chat_id in chat_ids]
            try:
                waits = [micros / 1e6 for micros in await self._redis.eval(CHAT_WAITS, len(keys), *keys)]
            except AWAY as error:
                self._note_redis_away(error)
            else:
                return {chat_id: wait for chat_id, wait in zip(chat_ids, waits, strict=True) if wait > 0}
        now = time.monotonic()
        waits = [self._local.chat_wait(chat_id, now) for chat_id in chat_ids]
        return {chat_id: wait for chat_id, wait in zip(chat_ids, waits, strict=True) if wait > 0}

    def _chat_key(self, chat_id: int) -> str:
        return f"{self._prefix}:chat:{chat_id}"

    def _remember(self, slot: Slot) -> Slot:
        if slot.hold is Hold.PAUSE:  # it must hold even if Redis is lost meanwhile
            self._local.pause(slot.wait, time.monotonic())
        return slot

    async def pause(self, seconds: float) -> None:
        """Hold every process of this bot back, since Telegram said so.

        Args:
            seconds: how long, as in ``retry_after``.
        """
        metrics.TELEGRAM_RATE_LIMITED.inc()
        self._local.pause(seconds, time.monotonic())
        if self._redis is None:
            return
        try:
            await self._redis.eval(PAUSE, 1, f"{self._prefix}:pause", str(seconds))
        except AWAY as error:
            self._note_redis_away(error)

    def _note_redis_away(self, error: Exception) -> None:
        metrics.REDIS_ERRORS.inc()
        self._ask_redis_at = time.monotonic() + RETRY_REDIS_SECONDS
        if self._redis_away:
            return
        self._redis_away = True
        metrics.REDIS_AWAY.set(1)
        share = self._rate / self._senders
        self._local.change_rate(share)
        logger.warning(
            "Redis is away (%s): this process sends at its share, %.3g messages a second, until it is back",
            type(error).__name__,
            share,
        )

    def _note_redis_there(self, senders: int) -> None:
        self._senders = max(LEAST_SENDERS, senders)
        if self._redis_away:
            self._ask_redis_at = 0.0
            self._redis_away = False
            metrics.REDIS_AWAY.set(0)
            logger.warning("Redis is back: all processes share one rate again")


async def _run(redis: Redis, keys: Sequence[str], *arguments: float | str) -> list[int]:
    """Run the script where the keys are, and send its text only there: other nodes of a cluster may be away."""
    words = [str(word) for word in (*keys, *arguments)]
    try:
        return list(await redis.evalsha(_SCRIPT_SHA, len(keys), *words))
    except NoScriptError:
        return list(await redis.eval(SCRIPT, len(keys), *words))
