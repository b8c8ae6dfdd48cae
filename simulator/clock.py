"""Time as the simulator sees it: the system's, or one that a test turns by hand."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> float:
        """Seconds since the epoch, for dates that are shown and stored."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for durations and rates."""
        ...


class SystemClock:
    """The computer's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()


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
