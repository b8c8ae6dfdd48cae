"""Telegram's rate, shared by every process of a bot through one script in Redis.

Two limits hold, the bot's and each chat's; `bot/rate_algorithm.py` has the algorithm. A learner who taps during a
distribution never waits behind it, and one who floods their own chat delays nobody else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from uuid import uuid4
from weakref import WeakValueDictionary

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from bot.rate_algorithm import (
    CHAT_BURST,
    CHAT_WAITS,
    MAX_BATCH,
    PAUSE_CHAT,
    SCRIPT,
    SECOND_CHAT_SECONDS,
    Decision,
    LocalBucket,
    Verdict,
    look_ahead,
)
from domain.catalog import Priority
from domain.errors import RateLimitedError
from observability import metrics
from storage.redis_client import REDIS_UNAVAILABLE

logger = logging.getLogger(__name__)

CHAT_RATE = 1.0
"""Messages a second that Telegram takes for one chat."""

TOLERANCE_SECONDS = 0.05
"""How late after its slot a message may go without delaying the next one of its process."""

MIN_PROCESSES = 2
"""While Redis is unavailable, one process counts on at least one other that sends as well."""

PROCESS_SECONDS = 600
"""A process that has not asked for so long is not counted any more."""

RETRY_REDIS_SECONDS = 5.0

MAX_WAIT_SECONDS = 5.0
"""A broadcast asks again after so long, since Redis may have lost what it went by."""

_SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(eq=False, frozen=True, slots=True)
class _Request:
    """A message of a broadcast that waits to be decided on."""

    chat_id: int | None
    decision: asyncio.Future[Decision]


class RateLimiter:
    """Makes callers wait until Telegram's rate allows a message."""

    def __init__(self, redis: Redis | None, bot_id: int, rate: float, chat_rate: float = CHAT_RATE) -> None:
        """Keep the buckets in Redis, or in this process without it; rates are in messages a second."""
        self._redis = redis
        self._prefix = f"quiz:rate:{{{bot_id}}}"  # the braces keep a bot's keys on one node of a cluster
        self._rate = rate
        self._chat_rate = chat_rate
        self._process = uuid4().hex
        self._processes = MIN_PROCESSES
        self._local = LocalBucket(rate, chat_rate)
        self._waiting: list[_Request] = []
        self._asking: asyncio.Task[None] | None = None
        self._next_send = -math.inf
        self._pacing = asyncio.Lock()
        self._chat_locks: WeakValueDictionary[tuple[int, Priority], asyncio.Lock] = WeakValueDictionary()
        self._redis_unavailable = False
        self._ask_redis_at = 0.0
        self._redis_changed_at = -math.inf

    async def wait(self, priority: Priority, chat_id: int | None = None, patience: float = math.inf) -> None:
        """Return when a message may be sent.

        Args:
            priority: whether a learner waits for it, or it is part of a broadcast.
            chat_id: whom it is for; None if it is for nobody's chat.
            patience: how many seconds a chat may need until it takes a message, so that nobody stands behind it.

        Raises:
            RateLimitedError: the chat needs longer.
        """
        if chat_id is None:
            await self._wait(priority, None, patience)
            return
        lock = self._chat_locks.setdefault((chat_id, priority), asyncio.Lock())
        async with lock:  # in order, and one asker at a time
            await self._wait(priority, chat_id, patience)

    async def _wait(self, priority: Priority, chat_id: int | None, patience: float) -> None:
        while True:
            if priority is Priority.BROADCAST:
                decision = await self._ask_together(chat_id)
            else:
                (decision,) = await self._ask(priority, [chat_id])
            wait = decision.at - time.monotonic()
            if decision.verdict is Verdict.CHAT_LIMITED and wait > patience:
                raise RateLimitedError(wait)
            if wait > 0:
                await asyncio.sleep(wait)
            if decision.verdict is not Verdict.GRANTED:
                continue
            await self._pace()
            if not self._local.is_paused(time.monotonic()):  # Telegram may have spoken meanwhile
                return

    async def _pace(self) -> None:
        """Let those whose slots passed while this process was held up go one after another, and not all at once."""
        async with self._pacing:
            if (wait := self._next_send - TOLERANCE_SECONDS - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self._next_send = max(self._next_send, time.monotonic()) + 1 / self._rate

    async def _ask_together(self, chat_id: int | None) -> Decision:
        """Ask for one message of a broadcast together with the others that wait."""
        request = _Request(chat_id, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._asking is None or self._asking.done():
            # In a context of its own: it is for all, and not for the flow run of whoever is first.
            self._asking = asyncio.create_task(self._ask_for_broadcast(), context=Context())
            self._asking.add_done_callback(self._end_asking)
        return await request.decision

    async def _ask_for_broadcast(self) -> None:
        """Ask for all who wait until none does; in a task of its own, so that cancelling one holds up no other."""
        while batch := self._next_batch():
            decisions = await self._ask(Priority.BROADCAST, [request.chat_id for request in batch])
            for request, decision in zip(batch, decisions, strict=False):
                if decision.verdict is Verdict.BOT_LIMITED:
                    await asyncio.sleep(min(decision.at - time.monotonic(), MAX_WAIT_SECONDS))
                elif not request.decision.done():
                    request.decision.set_result(decision)

    def _end_asking(self, asking: asyncio.Task[None]) -> None:
        """Let nobody wait for a task that has failed or was cancelled."""
        error = asyncio.CancelledError() if asking.cancelled() else asking.exception()
        for request in self._waiting:
            if error and not request.decision.done():
                request.decision.set_exception(error)

    def _next_batch(self) -> list[_Request]:
        self._waiting = [request for request in self._waiting if not request.decision.done()]
        return self._waiting[:MAX_BATCH]

    async def _ask(self, priority: Priority, chat_ids: Sequence[int | None]) -> list[Decision]:
        """Ask for a slot for each message, until the bot's limit ends it; the moments are of this process's clock."""
        asked_at = time.monotonic()
        if self._redis is not None and asked_at >= self._ask_redis_at:
            bot = [f"{self._prefix}:{name}" for name in ("free", "pause", "processes")]
            chats = [bot[0] if chat_id is None else self._chat_key(chat_id) for chat_id in chat_ids]
            limits = (1 / self._rate, look_ahead(priority, self._rate), 1 / self._chat_rate, CHAT_BURST)
            try:
                processes, now, *told = await _run(self._redis, [*bot, *chats], *limits, self._process, PROCESS_SECONDS)
            except REDIS_UNAVAILABLE as error:
                self._note_redis_unavailable(error, asked_at)
            else:
                self._note_redis_there(processes, asked_at)
                answered_at = time.monotonic()
                return [
                    self._remember(Decision(answered_at + (at - now) / 1e6, Verdict(verdict)))
                    for at, verdict in zip(told[::2], told[1::2], strict=True)
                ]
        return self._local.take_all(priority, time.monotonic(), chat_ids)

    async def chat_waits(self, chat_ids: Sequence[int]) -> dict[int, float]:
        """Return the chats that take no message at this moment, and for how many seconds; asking takes nothing."""
        if not chat_ids:
            return {}
        asked_at = time.monotonic()
        if self._redis is not None and asked_at >= self._ask_redis_at:
            keys = [self._chat_key(chat_id) for chat_id in chat_ids]
            try:
                waits = [micros / 1e6 for micros in await self._redis.eval(CHAT_WAITS, len(keys), *keys)]
            except REDIS_UNAVAILABLE as error:
                self._note_redis_unavailable(error, asked_at)
            else:
                return {chat_id: wait for chat_id, wait in zip(chat_ids, waits, strict=True) if wait > 0}
        now = time.monotonic()
        waits = [self._local.chat_wait(chat_id, now) for chat_id in chat_ids]
        return {chat_id: wait for chat_id, wait in zip(chat_ids, waits, strict=True) if wait > 0}

    def _chat_key(self, chat_id: int) -> str:
        return f"{self._prefix}:chat:{chat_id}"

    def _remember(self, decision: Decision) -> Decision:
        if decision.verdict is Verdict.PAUSED:  # it must hold even if Redis is lost meanwhile
            now = time.monotonic()
            self._local.pause(decision.at - now, now)
        return decision

    async def pause_chat(self, chat_id: int, seconds: float) -> None:
        """Hold a chat back in every process, since Telegram said so; and the bot, once it says so of a second chat.

        Args:
            seconds: how long, as in ``retry_after``.
        """
        asked_at = time.monotonic()
        self._local.pause_chat(chat_id, seconds, asked_at)
        if self._redis is None:
            return
        keys = (self._chat_key(chat_id), f"{self._prefix}:refused", f"{self._prefix}:pause")
        try:
            whole = await self._redis.eval(PAUSE_CHAT, 3, *keys, str(chat_id), str(seconds), str(SECOND_CHAT_SECONDS))
        except REDIS_UNAVAILABLE as error:
            self._note_redis_unavailable(error, asked_at)
        else:
            if whole:
                self._local.pause(seconds, time.monotonic())

    def _note_redis_unavailable(self, error: Exception, asked_at: float) -> None:
        metrics.REDIS_ERRORS.inc()
        if asked_at < self._redis_changed_at:  # it was on its way at the time, and says nothing about now
            return
        self._ask_redis_at = time.monotonic() + RETRY_REDIS_SECONDS
        if self._redis_unavailable:
            return
        self._redis_unavailable, self._redis_changed_at = True, time.monotonic()
        metrics.REDIS_UNAVAILABLE.set(1)
        share = self._rate / self._processes
        self._local.change_rate(share)
        logger.warning(
            "Redis is unavailable (%s): this process sends at its share, %.3g messages a second, until it is back",
            type(error).__name__,
            share,
        )

    def _note_redis_there(self, processes: int, asked_at: float) -> None:
        self._processes = max(MIN_PROCESSES, processes)
        if self._redis_unavailable and asked_at >= self._redis_changed_at:
            self._ask_redis_at = 0.0
            self._redis_unavailable, self._redis_changed_at = False, time.monotonic()
            metrics.REDIS_UNAVAILABLE.set(0)
            logger.warning("Redis is back: all processes share one rate again")


async def _run(redis: Redis, keys: Sequence[str], *arguments: float | str) -> list[int]:
    """Run the script where the keys are, and send its text only there: other nodes of a cluster may be unavailable."""
    words = [str(word) for word in (*keys, *arguments)]
    try:
        return list(await redis.evalsha(_SCRIPT_SHA, len(keys), *words))
    except NoScriptError:
        return list(await redis.eval(SCRIPT, len(keys), *words))
