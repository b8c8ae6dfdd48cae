"""What all processes agree on about the language model, in Redis: whether to ask it, and who does.

Theory of operation. After `FAILURES` failures in a row the gate closes for a minute, and for twice as long each time
that it closes again without a success in between, up to an hour; a provider that asks to be left alone closes it for as
long as it says. Nothing shortens a pause; a closed gate opens by itself when its key expires, so nobody has to be alive
for that. A question for a topic and level is made by one process at a time; whoever else wants one waits for that one
and finds it in the cache.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import LockError

from domain.catalog import Level, Topic
from domain.errors import ModelError, ModelUnavailableError
from observability import metrics
from redis_store import AWAY

logger = logging.getLogger(__name__)

FAILURES = 5
"""Failures in a row after which the model is left alone."""

FIRST_PAUSE = 60
LONGEST_PAUSE = 3600
"""Seconds."""

FORGET_SECONDS = 6 * 3600
"""A failure counts no longer than this."""

CACHE_SECONDS = 3600
"""How long a question that was made for one learner is found by others of that topic and level."""

REST_SECONDS = 600
"""A topic and level for which no question could be made are left alone for this long by learners who wait."""

_CLOSED, _FAILURES, _CLOSINGS = "quiz:llm:closed", "quiz:llm:failures", "quiz:llm:closings"


class LlmGate:
    """Whether the model is asked, and by whom."""

    def __init__(self, redis: Redis) -> None:
        """Take the shared store.

        Args:
            redis: of all processes.
        """
        self._redis = redis

    async def require_open(self) -> None:
        """Return if the model may be asked.

        Raises:
            ModelUnavailableError: it may not, and why; or Redis is away, which would tell.
        """
        try:
            reason = await self._redis.get(_CLOSED)
            left = await self._redis.ttl(_CLOSED) if reason else 0
        except AWAY as error:
            raise ModelUnavailableError(f"Redis is away: {type(error).__name__}") from error
        metrics.LLM_CLOSED.set(1 if reason else 0)
        if reason:
            raise ModelUnavailableError(f"{_text(reason)}, for another {max(left, 0)} s")

    async def note_success(self) -> None:
        """The model answered: past failures count no more."""
        with contextlib.suppress(*AWAY):
            await self._redis.delete(_FAILURES, _CLOSINGS)

    async def note_failure(self, error: ModelError) -> None:
        """Count a failure, and close the gate if it is one too many or the provider asks for it.

        Args:
            error: what went wrong.
        """
        with contextlib.suppress(*AWAY):
            failures = await self._redis.incr(_FAILURES)
            await self._redis.expire(_FAILURES, FORGET_SECONDS)
            if error.retry_after:
                await self._close(f"the provider asks to wait ({error.reason})", error.retry_after)
            if failures >= FAILURES:  # also of a provider that asks for too short a wait each time
                closings = await self._redis.incr(_CLOSINGS)
                await self._redis.expire(_CLOSINGS, FORGET_SECONDS)
                pause = min(FIRST_PAUSE * 2 ** min(closings - 1, 10), LONGEST_PAUSE)
                await self._close(f"{failures} failures in a row, the last: {error.reason}", pause)
                await self._redis.delete(_FAILURES)

    async def _close(self, reason: str, seconds: float) -> None:
        logger.warning("the language model is left alone for %.0f s: %s", seconds, reason)
        metrics.LLM_CLOSED.set(1)
        pause = max(1, int(seconds * 1000))
        if not await self._redis.set(_CLOSED, reason, px=pause, nx=True):
            await self._redis.pexpire(_CLOSED, pause, gt=True)  # another process may have been told to wait longer

    # ------------------------------------------------------------ one question at a time for a topic and level

    @contextlib.asynccontextmanager
    async def making(self, topic: Topic, level: Level, seconds: float) -> AsyncIterator[bool]:
        """Yield whether it is this process's turn to make a question, and hold the turn.

        Args:
            topic: within which.
            level: at which.
            seconds: after which the turn ends even if this process is gone.

        Raises:
            ModelUnavailableError: Redis is away.
        """
        lock = self._redis.lock(_cell("making", topic, level), timeout=seconds)
        try:
            ours = await lock.acquire(blocking=False)
        except AWAY as error:
            raise ModelUnavailableError(f"Redis is away: {type(error).__name__}") from error
        try:
            yield ours
        finally:
            if ours:
                with contextlib.suppress(LockError, *AWAY):  # it ran out, or Redis went away
                    await lock.release()

    async def is_making(self, topic: Topic, level: Level) -> bool:
        """Return whether some process has its turn to make a question.

        Args:
            topic: within which.
            level: at which.

        Raises:
            ModelUnavailableError: Redis is away.
        """
        return await self._exists("making", topic, level)

    async def remember(self, topic: Topic, level: Level, key: str) -> None:
        """Let others find a question that was just made.

        Args:
            topic: within which.
            level: at which.
            key: the question's id in the bank.
        """
        with contextlib.suppress(*AWAY):
            await self._redis.set(_cell("made", topic, level), key, ex=CACHE_SECONDS)

    async def recall(self, topic: Topic, level: Level) -> str | None:
        """Return the id of the question that was made last, if that is not long ago.

        Args:
            topic: within which.
            level: at which.

        Raises:
            ModelUnavailableError: Redis is away.
        """
        try:
            key = await self._redis.get(_cell("made", topic, level))
        except AWAY as error:
            raise ModelUnavailableError(f"Redis is away: {type(error).__name__}") from error
        return _text(key) if key else None

    async def rest(self, topic: Topic, level: Level) -> None:
        """Let nobody wait for this topic and level for a while, since nothing came of it.

        Args:
            topic: within which.
            level: at which.
        """
        with contextlib.suppress(*AWAY):
            await self._redis.set(_cell("rest", topic, level), "1", ex=REST_SECONDS)

    async def is_resting(self, topic: Topic, level: Level) -> bool:
        """Return whether waiting for this topic and level was in vain lately.

        Args:
            topic: within which.
            level: at which.

        Raises:
            ModelUnavailableError: Redis is away.
        """
        return await self._exists("rest", topic, level)

    async def _exists(self, purpose: str, topic: Topic, level: Level) -> bool:
        try:
            return bool(await self._redis.exists(_cell(purpose, topic, level)))
        except AWAY as error:
            raise ModelUnavailableError(f"Redis is away: {type(error).__name__}") from error


def _cell(purpose: str, topic: Topic, level: Level) -> str:
    return f"quiz:llm:{purpose}:{topic}:{int(level)}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
