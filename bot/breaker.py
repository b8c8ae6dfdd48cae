"""A bot that Telegram refuses as a whole: no request is made for it until a probe finds that Telegram accepts it again.

A circuit breaker: each process has one of its own, which trips at the refusal that it meets and is reset by its own
probe. What it knows is also put into Redis, for those who meet no refusal themselves: `/ready` is asked of a process
that sends nothing, and a frozen bot may still call getMe.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from domain.errors import BotRefusedError
from domain.ids import BotId
from observability import metrics
from observability.logs import redact
from storage.redis_client import redis_optional

logger = logging.getLogger(__name__)

PROBE_SECONDS = 10.0
"""Between two tries while the bot is refused."""

IDLE_SECONDS = 30.0
"""Between two checks of an idle bot, so that a revoked token is noticed when nothing is sent."""

SHARED_SECONDS = 30
"""After so long without news of it a refusal that another process met counts no more."""

MAX_WORDS = 200

Probe = Callable[[], Awaitable[object]]


class BotBreaker:
    """Says whether Telegram takes a bot's requests."""

    def __init__(self, bot_id: BotId, redis: Redis | None = None) -> None:
        """Share a refusal with other processes through Redis, if there is one."""
        self.refusal: str | None = None
        """Telegram's words while this process finds the bot refused."""
        self.probe: Probe | None = None
        """The request that shows whether Telegram accepts the bot again."""
        self.bot_id = bot_id
        self._redis = redis
        self._key = f"quiz:refused:{bot_id}"

    def check(self) -> None:
        """Return if requests may be made.

        Raises:
            BotRefusedError: Telegram refuses the bot.
        """
        if self.refusal is not None:
            raise BotRefusedError(self.bot_id, self.refusal)

    async def trip(self, words: str, probe: Probe | None = None) -> BotRefusedError:
        """Make no more requests, and return the error that says so.

        Args:
            probe: what to ask for until it is granted; None leaves that as it is.
        """
        words = redact(words)[:MAX_WORDS]
        if self.refusal is None:
            logger.error("Telegram refuses bot %d (%s): sending is paused until it is accepted", self.bot_id, words)
        self.refusal, self.probe = words, probe or self.probe
        metrics.BOT_REFUSED.labels(str(self.bot_id)).set(1)
        await self.share()
        return BotRefusedError(self.bot_id, words)

    async def reset(self) -> None:
        """Make requests again."""
        if self.refusal is None:
            return
        logger.warning("Telegram accepts bot %d again: sending what was waiting", self.bot_id)
        self.refusal = self.probe = None
        metrics.BOT_REFUSED.labels(str(self.bot_id)).set(0)
        if self._redis is not None:
            with redis_optional():  # it expires there soon anyway
                await self._redis.delete(self._key)

    async def share(self) -> None:
        """Tell other processes that the bot is refused, if it is."""
        if self.refusal is not None and self._redis is not None:
            with redis_optional():  # each process that sends finds out by itself
                await self._redis.set(self._key, self.refusal, ex=SHARED_SECONDS)

    async def find_refusal(self) -> str | None:
        """Return Telegram's words if this process or another finds the bot refused."""
        if self.refusal is not None or self._redis is None:
            return self.refusal
        shared = None
        with redis_optional():
            shared = await self._redis.get(self._key)
        return shared.decode() if isinstance(shared, bytes) else shared
