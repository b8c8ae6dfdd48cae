"""Flow runs that a worker kept under way and could not end, since it was killed or lost its machine or the server."""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed

from flows.standing_run import KEEPER_TAG
from quizzes.context import QuizContext

AGAIN_SECONDS = 15.0
"""Between two looks, both of which must find a worker silent."""

SILENT_SECONDS = 60.0
"""Without a heartbeat, until a worker is taken for dead; and the age of the youngest run that is looked at."""


async def close_lost_runs(context: QuizContext, own: AbstractSet[UUID] = frozenset(), keeper: str = "") -> int:
    """Mark the runs as crashed that nobody keeps any more, with their task runs, and return how many they are.

    Args:
        own: the runs that this process has under way.
        keeper: its name in the heartbeats; its other runs are lost, though it lives.

    Raises:
        StorageUnavailableError: the database is unavailable.
        httpx.HTTPError: the Prefect server does not answer.
    """
    async with get_client() as client:
        lost = await _find_lost(context, client, own, keeper)
        if not lost:
            return 0
        await asyncio.sleep(AGAIN_SECONDS)  # after an outage of the database every heartbeat is old
        confirmed = lost.keys() & (await _find_lost(context, client, own, keeper)).keys()
        for run_id in confirmed:
            await _close(client, *lost[run_id])
    return len(confirmed)


async def _find_lost(
    context: QuizContext, client: PrefectClient, own: AbstractSet[UUID], keeper: str
) -> dict[UUID, tuple[FlowRun, str]]:
    """Return the runs whose keeper gives no sign of life, with its name."""
    heartbeats = await context.repository.list_heartbeats()
    alive = {beat.name for beat in heartbeats if beat.age_seconds < SILENT_SECONDS} - {keeper}
    lost = {}
    for run in await _read_running(client):
        kept_by = [tag.removeprefix(KEEPER_TAG) for tag in run.tags if tag.startswith(KEEPER_TAG)]
        if kept_by and run.id not in own and alive.isdisjoint(kept_by):
            lost[run.id] = run, kept_by[0]
    return lost


async def _read_running(client: PrefectClient) -> list[FlowRun]:
    long_ago = datetime.now(UTC) - timedelta(seconds=SILENT_SECONDS)
    running = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
        start_time=FlowRunFilterStartTime(before_=long_ago),
    )
    return await client.read_flow_runs(flow_run_filter=running, limit=200)


async def _close(client: PrefectClient, run: FlowRun, keeper: str) -> None:
    state: State[None] = Crashed(
        message=f"{keeper} is gone without having ended it; what it left undone is done by others."
    )
    open_tasks = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.RUNNING])))
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    for task_run in await client.read_task_runs(flow_run_filter=of_run, task_run_filter=open_tasks):
        await client.set_task_run_state(task_run.id, state, force=True)
    await client.set_flow_run_state(run.id, state, force=True)
