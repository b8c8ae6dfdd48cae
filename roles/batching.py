"""A queue whose items are handled in micro-batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from domain.updates import ClaimedUpdate
from observability.background import run_forever

MAX_BATCH = 200
HandleBatch = Callable[[Sequence[ClaimedUpdate]], Awaitable[None]]


class BatchQueue:
    """Handles updates in micro-batches, each of what has come while the one before was handled."""

    def __init__(self, handle: HandleBatch) -> None:
        self._handle = handle
        self._waiting: list[ClaimedUpdate] = []
        self._wake = asyncio.Event()

    def put(self, updates: Sequence[ClaimedUpdate]) -> None:
        """Queue updates."""
        self._waiting.extend(updates)
        if updates:
            self._wake.set()

    async def run(self) -> None:
        """Handle batches until cancelled."""
        await run_forever("batches", self._handle_next)

    async def _handle_next(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        if self._waiting:
            self._wake.set()
        if batch:
            await self._handle(batch)
