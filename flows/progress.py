"""Progress bars in Prefect's UI, and whether an operator cancelled the run."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from uuid import UUID

from prefect import get_client, runtime
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.schemas.objects import StateType

from flows.artifacts import count_learners
from observability.background import wait_at_most

PROGRESS_SECONDS = 2.0


class CancellationWatch:
    """Whether this run, or the distribution that started it, was cancelled.

    Prefect does not tell a run in its own process: it is looked up every few seconds, in the background, from
    ``async with`` to its end, and once more then. Until the first of these nobody waits for Prefect.
    """

    def __init__(self) -> None:
        """Take the run that is under way."""
        self.is_cancelled = False
        self._run_ids = [runtime.flow_run.id, runtime.flow_run.parent_flow_run_id]
        self._ended = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        if self._watching:
            await self._watching
        await self.look()

    def step(self) -> None:
        """Count one more learner."""

    async def _watch(self) -> None:
        while not await self._ends_within(PROGRESS_SECONDS):
            await self.look()

    async def look(self) -> None:
        """Look it up now."""
        for run_id in self._run_ids:
            self.is_cancelled = self.is_cancelled or await is_run_cancelled(run_id)

    async def _ends_within(self, seconds: float) -> bool:
        await wait_at_most(self._ended, seconds)
        return self._ended.is_set()


class Progress(CancellationWatch):
    """The same with a run's progress bar in the UI."""

    def __init__(self, total: int, key: str = "daily-progress", what: str = "Daily quizzes for") -> None:
        """Take how many learners make a hundred per cent, the artifact's key, and what they get."""
        super().__init__()
        self._key, self._what = key, what
        self._total = total
        self._done = self._elsewhere = 0

    def step(self) -> None:
        """Count one more learner."""
        self._done += 1

    def note_elsewhere(self, done: int) -> None:
        """Note how many learners runs in other processes have served."""
        self._elsewhere = done

    async def _watch(self) -> None:
        artifact_id = await _make_bar(self._key, f"{self._what} {count_learners(self._total)}")
        while not await self._ends_within(PROGRESS_SECONDS):
            await move_bar(artifact_id, 100 * (self._done + self._elsewhere) / max(self._total, 1))
            await self.look()
        await move_bar(artifact_id, 100.0)


async def is_run_cancelled(run_id: str | None) -> bool:
    """Return whether an operator cancelled a flow run; False when there is none, or the server does not answer."""
    with contextlib.suppress(Exception):
        if run_id:
            async with get_client() as client:
                run = await client.read_flow_run(UUID(run_id))
            return run.state_type in {StateType.CANCELLING, StateType.CANCELLED}
    return False


async def _make_bar(key: str, description: str) -> UUID | None:
    with contextlib.suppress(Exception):  # without a bar, learners get their quizzes all the same
        return await acreate_progress_artifact(0.0, key=key, description=description)
    return None


async def move_bar(artifact_id: UUID | None, percent: float) -> None:
    """Move a progress bar, if there is one; that it stands still must not stop the work."""
    with contextlib.suppress(Exception):
        if artifact_id:
            await aupdate_progress_artifact(artifact_id, min(percent, 100.0))
