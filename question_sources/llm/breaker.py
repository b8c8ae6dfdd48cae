"""What all processes agree on about the language model, in Redis: whether to ask it, and who does.

Theory of operation. After `FAILURES` failures in a row the breaker opens for a minute, and for twice as long each time
that it opens again without a success in between, up to an hour; a provider that asks to be left alone opens it for as
long as it says. Nothing shortens a pause; an open breaker closes by itself when its key expires, so nobody has to be
alive for that. A question for a topic and level is made by one process at a time; others who want one wait for
it and find it in the cache.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

from redis.asyncio import Redis

from domain.catalog import Level, Topic
from domain.errors import ModelError, ModelUnavailableError
from observability import metrics
from storage.redis_client import REDIS_UNAVAILABLE, redis_optional

logger = logging.getLogger(__name__)

FAILURES = 5
"""Failures in a row after which the model is left alone."""

FIRST_PAUSE = 60
MAX_PAUSE = 3600
"""Seconds."""

FORGET_SECONDS = 6 * 3600
"""A failure counts no longer than this."""

CACHE_SECONDS = 3600
"""How long a question that was made for one learner is found by others of that topic and level."""

SUPPRESSED_SECONDS = 600
"""A topic and level for which no question could be made are left alone for this long by learners who wait."""

_OPEN, _FAILURES, _OPENINGS = "quiz:llm:closed", "quiz:llm:failures", "quiz:llm:closings"


class LlmBreaker:
    """Whether the model is asked, and by whom."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def check(self) -> None:
        """Return if the model may be asked.

        Raises:
            ModelUnavailableError: it may not, and why; or Redis is unavailable, which would tell.
        """
        with metrics.known(metrics.LLM_CLOSED), _redis_required():
            reason = await self._redis.get(_OPEN)
            left = await self._redis.ttl(_OPEN) if reason else 0
            metrics.LLM_CLOSED.set(1 if reason else 0)
        if reason:
            raise ModelUnavailableError(f"{_text(reason)}, for another {max(left, 0)} s")

    async def note_success(self) -> None:
        """The model answered: past failures count no more."""
        with redis_optional():
            await self._redis.delete(_FAILURES, _OPENINGS)

    async def note_failure(self, error: ModelError) -> None:
        """Count a failure, and open the breaker if it is one too many or the provider asks for it."""
        with redis_optional():
            failures = await self._redis.incr(_FAILURES)
            await self._redis.expire(_FAILURES, FORGET_SECONDS)
            if error.retry_after:
                await self._open(f"the provider asks to wait ({error.message})", error.retry_after)
            if failures >= FAILURES:  # also of a provider that asks for too short a wait each time
                openings = await self._redis.incr(_OPENINGS)
                await self._redis.expire(_OPENINGS, FORGET_SECONDS)
                pause = min(FIRST_PAUSE * 2 ** min(openings - 1, 10), MAX_PAUSE)
                await self._open(f"{failures} failures in a row, the last: {error.message}", pause)
                await self._redis.delete(_FAILURES)

    async def _open(self, reason: str, seconds: float) -> None:
        logger.warning("the language model is not called for %.0f s: %s", seconds, reason)
        with metrics.known(metrics.LLM_CLOSED):
            metrics.LLM_CLOSED.set(1)
        pause = max(1, int(seconds * 1000))
        if not await self._redis.set(_OPEN, reason, px=pause, nx=True):
            await self._redis.pexpire(_OPEN, pause, gt=True)  # another process may have been told to wait longer

    # ------------------------------------------------------------ one question at a time for a topic and level

    @contextlib.asynccontextmanager
    async def generation_lock(self, topic: Topic, level: Level, seconds: float) -> AsyncIterator[bool]:
        """Yield whether this process acquired the lock to generate a question, and hold it.

        Args:
            seconds: after which the lock expires, even if this process is gone.

        Raises:
            ModelUnavailableError: Redis is unavailable.
        """
        lock = self._redis.lock(_key("making", topic, level), timeout=seconds)
        with _redis_required():
            acquired = await lock.acquire(blocking=False)
        try:
            yield acquired
        finally:
            if acquired:
                with contextlib.suppress(*REDIS_UNAVAILABLE):  # or the lock expired
                    await lock.release()

    async def is_generating(self, topic: Topic, level: Level) -> bool:
        """Return whether some process holds the lock to generate a question.

        Raises:
            ModelUnavailableError: Redis is unavailable.
        """
        return await self._exists("making", topic, level)

    async def remember(self, topic: Topic, level: Level, key: str) -> None:
        """Let others find a question that was just made."""
        with redis_optional():
            await self._redis.set(_key("made", topic, level), key, ex=CACHE_SECONDS)

    async def last_generated(self, topic: Topic, level: Level) -> str | None:
        """Return the id of the question that was made last, if that is not long ago.

        Raises:
            ModelUnavailableError: Redis is unavailable.
        """
        with _redis_required():
            key = await self._redis.get(_key("made", topic, level))
        return _text(key) if key else None

    async def suppress(self, topic: Topic, level: Level) -> None:
        """Let nobody wait for this topic and level for a while, since nothing came of it."""
        with redis_optional():
            await self._redis.set(_key("rest", topic, level), "1", ex=SUPPRESSED_SECONDS)

    async def is_suppressed(self, topic: Topic, level: Level) -> bool:
        """Return whether generation for this topic and level failed lately.

        Raises:
            ModelUnavailableError: Redis is unavailable.
        """
        return await self._exists("rest", topic, level)

    async def _exists(self, purpose: str, topic: Topic, level: Level) -> bool:
        with _redis_required():
            return bool(await self._redis.exists(_key(purpose, topic, level)))


@contextlib.contextmanager
def _redis_required() -> Iterator[None]:
    try:
        yield
    except REDIS_UNAVAILABLE as error:
        raise ModelUnavailableError(f"Redis is unavailable: {type(error).__name__}") from error


def _key(purpose: str, topic: Topic, level: Level) -> str:
    return f"quiz:llm:{purpose}:{topic}:{int(level)}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
