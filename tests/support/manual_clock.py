"""A clock that a test turns by hand."""

from __future__ import annotations


class ManualClock:
    """A clock that stands still until it is told to advance."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        """Begin at `start`, in seconds since the epoch."""
        self._now = start

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """The same reading: this clock never runs backwards."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now += seconds
