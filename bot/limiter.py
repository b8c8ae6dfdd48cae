"""Telegram's rate, shared by every process of a bot through one token bucket in Redis.

The bucket is the generic cell rate algorithm: it holds one number, the moment at which the next slot is free. An
interactive reply always gets the next slot and waits for it; a broadcast asks whether a slot is free and otherwise
comes again, so that a learner who taps during a distribution never stands behind it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.catalog import Priority
from observability import metrics

logger = logging.getLogger(__name__)

BROADCAST_BURST = 3
"""Unused slots that a broadcast may still take, so that a late wake-up does not lose them for good."""

INTERACTIVE_BURST = 10
"""Likewise for replies, which come in batches with pauses between them."""

BURST = {Priority.BROADCAST: BROADCAST_BURST, Priority.INTERACTIVE: INTERACTIVE_BURST}

FALLBACK_SHARE = 0.5
"""The part of the rate that one process takes while Redis is away: at least one other process sends as well."""

RETRY_REDIS_SECONDS = 5.0

# KEYS: next free slot, pause. ARGV: seconds a slot lasts, slots of burst, 1 if interactive.
# Returns what to wait in microseconds, and 1 if the slot is ours after it.
_SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local paused = tonumber(redis.call('GET', KEYS[2]) or '0') - now
local slot = tonumber(ARGV[1]) * 1000000
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now - slot * (tonumber(ARGV[2]) - 1))
if paused > 0 then return {paused, 0} end
if ARGV[3] == '0' and free > now then return {free - now, 0} end
local kept = math.ceil((math.max(free - now, 0) + 10 * slot) / 1000000) + 60
redis.call('SET', KEYS[1], string.format('%.0f', free + slot), 'EX', kept)
return {math.max(free - now, 0), 1}
"""


@dataclass(slots=True)
class Slot:
    """What the bucket answered."""

    wait: float
    """Seconds to wait."""
    granted: bool
    """Whether the slot is ours after that; if not, ask again."""


# KEYS: pause. ARGV: seconds. A pause that is under way may only be made longer.
_PAUSE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local ends = now + tonumber(ARGV[1]) * 1000000
if ends > tonumber(redis.call('GET', KEYS[1]) or '0') then
  redis.call('SET', KEYS[1], string.format('%.0f', ends), 'PX', math.max(1, math.ceil((ends - now) / 1000)))
end
"""


class LocalBucket:
    """The same algorithm within one process, for when Redis is away."""

    def __init__(self, rate: float) -> None:
        """Take the rate.

        Args:
            rate: slots a second.
        """
        self._slot = 1 / rate
        self._free = 0.0
        self._paused_until = 0.0

    def take(self, priority: Priority, now: float) -> Slot:
        """Ask for a slot.

        Args:
            priority: who asks.
            now: a monotonic clock, in seconds.
        """
        if now < self._paused_until:
            return Slot(self._paused_until - now, granted=False)
        free = max(self._free, now - self._slot * (BURST[priority] - 1))
        if priority is Priority.BROADCAST and free > now:
            return Slot(free - now, granted=False)
        self._free = free + self._slot
        return Slot(max(free - now, 0.0), granted=True)

    def is_paused(self, now: float) -> bool:
        """Return whether Telegram's pause still holds.

        Args:
            now: a monotonic clock, in seconds.
        """
        return now < self._paused_until

    def pause(self, seconds: float, now: float) -> None:
        """Grant nothing for a while.

        Args:
            seconds: how long.
            now: a monotonic clock, in seconds.
        """
        self._paused_until = max(self._paused_until, now + seconds)


class RateLimiter:
    """Makes callers wait until Telegram's rate allows a message."""

    def __init__(self, redis: Redis | None, bot_id: int, rate: float) -> None:
        """Take the shared store and the rate.

        Args:
            redis: where the bucket is; None keeps it in this process.
            bot_id: whose rate it is.
            rate: messages a second.
        """
        self._redis = redis
        self._keys = (f"quiz:rate:{{{bot_id}}}:free", f"quiz:rate:{{{bot_id}}}:pause")
        self._slot = 1 / rate
        self._local = LocalBucket(rate if redis is None else rate * FALLBACK_SHARE)
        self._script = redis.register_script(_SCRIPT) if redis is not None else None
        self._turn = asyncio.Lock()
        self._redis_away_until = 0.0

    async def wait(self, priority: Priority) -> None:
        """Return when a message may be sent.

        Args:
            priority: whether a learner waits for it, or it is part of a broadcast.
        """
        if priority is Priority.INTERACTIVE:
            await self._wait(priority)
            return
        async with self._turn:  # one asker at a time: the others would only ask in vain
            await self._wait(priority)

    async def _wait(self, priority: Priority) -> None:
        while True:
            slot = await self._take(priority)
            if slot.wait > 0:
                await asyncio.sleep(slot.wait)
            if slot.granted and not self._local.is_paused(time.monotonic()):  # Telegram may have spoken meanwhile
                return

    async def _take(self, priority: Priority) -> Slot:
        if self._script is not None and time.monotonic() >= self._redis_away_until:
            try:
                micros, granted = await self._script(self._keys, (self._slot, BURST[priority], int(priority)))
                return Slot(micros / 1e6, bool(granted))
            except (RedisError, OSError, TimeoutError) as error:
                self._note_redis_away(error)
        return self._local.take(priority, time.monotonic())

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
            await self._redis.eval(_PAUSE, 1, self._keys[1], str(seconds))
        except (RedisError, OSError, TimeoutError) as error:
            self._note_redis_away(error)

    def _note_redis_away(self, error: Exception) -> None:
        metrics.REDIS_ERRORS.inc()
        self._redis_away_until = time.monotonic() + RETRY_REDIS_SECONDS
        logger.warning("Redis is away (%s): sending at half the rate until it is back", type(error).__name__)
