"""The live stream to the chat page: what happened, in small batches."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import orjson

from simulator.params import Json

_BATCH_SECONDS: Final = 0.05
_MAX_WAITING: Final = 2_000
_HEARTBEAT_SECONDS: Final = 15.0


class Hub:
    """Hands events to every open page; with no page open it costs next to nothing."""

    def __init__(self) -> None:
        self._pages: set[_Page] = set()
        self.is_closed = False

    def publish(self, kind: str, **values: object) -> None:
        """Tell every page that something of this kind happened."""
        if self._pages:
            event = {"type": kind, **values}
            for page in self._pages:
                page.add(event)

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events, until the page goes or the simulator ends."""
        page = _Page()
        self._pages.add(page)
        try:
            yield b"retry: 1000\n\n"
            while not self.is_closed:
                events = await page.take()
                yield b"data: " + orjson.dumps(events) + b"\n\n" if events else b": still here\n\n"
        finally:
            self._pages.discard(page)

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self.is_closed = True
        for page in self._pages:
            page.wake()


class _Page:
    def __init__(self) -> None:
        self._events: list[Json] = []
        self._ready = asyncio.Event()

    def add(self, event: Json) -> None:
        if len(self._events) >= _MAX_WAITING:
            # A page that cannot follow a load test is told to read everything anew.
            self._events = [{"type": "resync"}]
        self._events.append(event)
        self._ready.set()

    def wake(self) -> None:
        self._ready.set()

    async def take(self) -> list[Json]:
        try:
            async with asyncio.timeout(_HEARTBEAT_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            return []
        await asyncio.sleep(_BATCH_SECONDS)
        self._ready.clear()
        events, self._events = self._events, []
        return events
