"""Failures on order: what the next calls of a method will meet."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

KINDS: Final = ("429", "403", "500", "502", "hang", "reset")


@dataclass(slots=True)
class Fault:
    """One kind of failure, for so many calls."""

    method: str
    """In lower case, or `*` for any."""
    kind: str
    remaining: int
    applied: bool
    """Whether the call takes effect before it fails: the sender cannot tell."""
    retry_after: int
    seconds: float
    """How long a hanging call is held."""


class Faults:
    """The failures still to come, in the order in which they were ordered."""

    def __init__(self) -> None:
        """Begin with none."""
        self._faults: list[Fault] = []
        self._released = asyncio.Event()
        self._closed = False

    def add(self, fault: Fault) -> None:
        """Order a failure."""
        self._faults.append(fault)

    def take(self, method: str) -> Fault | None:
        """The failure that a call of this method (in lower case) meets now, if any."""
        if not self._faults:
            return None
        for fault in self._faults:
            if fault.method in {"*", method}:
                fault.remaining -= 1
                if fault.remaining <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    def remaining(self) -> int:
        """How many calls will still fail."""
        return sum(fault.remaining for fault in self._faults)

    async def hang(self, seconds: float) -> None:
        """Hold a call that long, or until failures are cleared."""
        if self._closed:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._released.wait()

    def clear(self) -> None:
        """Call off all failures and release what hangs."""
        self._faults.clear()
        self._released.set()
        self._released = asyncio.Event()

    def close(self) -> None:
        """Release what hangs, for good."""
        self._closed = True
        self.clear()
