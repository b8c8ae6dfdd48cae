"""Telegram's rate limits: a bucket of tokens, and a penalty for whoever empties it."""

import math


class Bucket:
    """A token bucket that, once overdrawn, refuses everything until its penalty is over."""

    __slots__ = ("_burst", "_limited_until", "_rate", "_refilled", "_tokens")

    def __init__(self, rate: float, burst: int) -> None:
        """Begin full.

        Args:
            rate: Tokens a second; 0 switches the limit off.
        """
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._refilled: float | None = None
        self._limited_until = 0.0

    def wait(self, now: float, least: int = 1) -> int:
        """Whole seconds that a call must wait at `now`; 0 means it may go.

        Args:
            now: A monotonic reading.
        """
        if not self._rate:
            return 0
        if now < self._limited_until:
            return math.ceil(self._limited_until - now)
        if self._refilled is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self._rate)
        self._refilled = now
        # The sum of many small refills may stay a hair under a whole token.
        if self._tokens >= 1 - 1e-9:
            return 0
        seconds = max(least, math.ceil((1 - self._tokens) / self._rate))
        self._limited_until = now + seconds
        return seconds

    def take(self) -> None:
        """Spend a token; `wait` has just said that there is one."""
        self._tokens -= 1


def spend(now: float, bot: Bucket, chat: Bucket, flood_wait: int) -> Bucket | None:
    """Count one message or edit against both limits, or against none.

    Returns:
        The one that refuses it, if one does; `wait` says for how long.
    """
    for bucket, least in ((bot, flood_wait), (chat, 1)):
        if bucket.wait(now, least):
            return bucket
    bot.take()
    chat.take()
    return None
