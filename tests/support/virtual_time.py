"""An event loop whose time passes only while everybody waits, so that hours take no time and nothing is ever late."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class Clock:
    """Replaces the `time` module of what is tested."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let the time pass that the loop would wait."""
        assert timeout is not None, "everybody waits for something that never happens"
        self._clock.now += max(0.0, timeout)
        return super().select(0)


def run_in(clock: Clock, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine by a clock, as `asyncio.run` does by the machine's.

    Raises:
        AssertionError: everybody waits for something that never happens.
    """
    loop = asyncio.SelectorEventLoop(_Selector(clock))
    loop.time = clock.monotonic  # type: ignore[method-assign]

    async def end_others() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(end_others())
        loop.close()


def most_in_a_second(times: Iterable[float]) -> int:
    """Return how many moments, at most, lie in any second."""
    ordered = sorted(times)
    most = first = 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - 1:
            first += 1
        most = max(most, last - first + 1)
    return most
