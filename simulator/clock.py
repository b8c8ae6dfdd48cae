"""Time as the simulator sees it: the system's, or a test's own."""

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
