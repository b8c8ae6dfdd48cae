"""A batch window: one task run that takes in every batch that arrives while it is open.

The batches are handled in asyncio tasks of their own, in the context of the task run, so that whatever becomes of the
task run becomes of nothing else. The first one does not even wait for the task run to begin.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field

from domain.ids import LearnerId
from domain.models import Delivery, Outcome
from observability.background import wait_at_most

OPEN_SECONDS = 1.0
"""How long a window stays open at least, and after the latest batch."""

MAX_OPEN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a batch did."""

    deliveries: list[Delivery]
    right: int = 0
    """Right answers."""
    failures: Mapping[LearnerId, Exception] = field(default_factory=dict)
    """Whose updates are to be handled again, and why."""


@dataclass(slots=True)
class Tally:
    """How much several batches did."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    right: int = 0
    failed_batches: int = 0

    def add(self, report: Report) -> None:
        """Count a batch."""
        self.outcomes.update(delivery.outcome for delivery in report.deliveries)
        self.right += report.right

    def merge(self, other: Tally) -> None:
        """Count what another has counted as well."""
        self.outcomes.update(other.outcomes)
        self.right += other.right
        self.failed_batches += other.failed_batches


Work = Callable[[], Awaitable[Report]]
"""Handles one batch."""


def closing_time(opened_at: float, used_at: float) -> float:
    """Return when a window closes if nothing more arrives.

    Args:
        opened_at: seconds of any clock.
        used_at: when the latest batch arrived, by the same clock.
    """
    return min(opened_at + MAX_OPEN_SECONDS, max(opened_at, used_at) + OPEN_SECONDS)


class BatchWindow:
    """Takes in batches while it is open; its task run ends when the last of them is done."""

    def __init__(self, ending: asyncio.Event) -> None:
        """Take what closes it early."""
        self._ending = ending
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._batches: set[asyncio.Task[Report]] = set()
        self._made_at = self._used_at = self._loop.time()
        self._has_begun = False
        self.is_open = True
        self.count = 0
        """Batches, done or not."""
        self.tally = Tally()
        self.deliveries: list[Delivery] = []

    @property
    def is_stuck(self) -> bool:
        """Whether the task run should have begun long ago."""
        return not self._has_begun and self._loop.time() > self._made_at + MAX_OPEN_SECONDS

    def begin(self, work: Work) -> asyncio.Task[Report]:
        """Begin a batch at once, whether or not the task run has begun."""
        self._used_at = self._loop.time()
        self.count += 1
        batch = self._loop.create_task(_perform(work), context=self._context.copy())
        self._batches.add(batch)
        batch.add_done_callback(self._note)
        return batch

    def _note(self, batch: asyncio.Task[Report]) -> None:
        self._batches.discard(batch)
        if batch.cancelled() or batch.exception():
            self.tally.failed_batches += 1
        else:
            self.tally.add(batch.result())
            self.deliveries += batch.result().deliveries

    async def stay_open(self) -> None:
        """Take batches until it is time to close, and return when the last one is done: the body of the task run."""
        opened_at = self._loop.time()
        self._context, self._has_begun = copy_context(), True
        try:
            while (
                not self._ending.is_set() and (left := closing_time(opened_at, self._used_at) - self._loop.time()) > 0
            ):
                await wait_at_most(self._ending, left)
        finally:
            self.is_open = False
        while self._batches:
            await asyncio.wait(self._batches)


async def _perform(work: Work) -> Report:
    return await work()
