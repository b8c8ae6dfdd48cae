"""Prefect's work pool: the deployments that it knows, and what takes their runs from it, each into a process."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.runner.storage import LocalStorage
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from domain.settings import Settings

ROOT = Path(__file__).parent

DEFAULT_QUEUE = "default"
"""The queue that Prefect gives every work pool."""

COHORT_QUEUE = "cohorts"
"""The queue from which a worker takes only as much as is its share."""

REPORT_SECONDS = 3.0


# ---------------------------------------------------------------- deployments


async def register_deployments(settings: Settings) -> list[str]:
    """Make the work pool and the deployments, or bring them up to date.

    Args:
        settings: work pool and interval.

    Returns:
        The deployments' names.

    Raises:
        httpx.HTTPError: the Prefect server does not answer.
    """
    pool = settings.prefect_work_pool
    await _ensure_work_pool(pool)
    storage = LocalStorage(path=str(ROOT))
    every = f"*/{settings.distribution_interval_minutes} * * * *"
    wanted: list[dict[str, Any]] = [
        {"entrypoint": "prefect_flows.py:distribute_daily_quizzes", "name": "daily", "cron": every, "tags": ["daily"]},
        {"entrypoint": "prefect_flows.py:execute_user_quiz_flow", "name": "quiz", "tags": ["quiz"]},
        {"entrypoint": "prefect_flows.py:upkeep", "name": "hourly", "cron": "7 * * * *", "tags": ["upkeep"]},
        {"entrypoint": "refill_flow.py:refill_question_bank", "name": "refill", "tags": ["refill"]}
        | ({"cron": "37 * * * *"} if settings.openai_api_key else {}),  # without a key there is nothing to refill with
    ]
    names = []
    for arguments in wanted:
        deployment = await RunnerDeployment.afrom_storage(storage=storage, work_pool_name=pool, **arguments)
        await deployment.aapply()
        names.append(f"{deployment.flow_name}/{deployment.name}")
    return names


async def _ensure_work_pool(name: str) -> None:
    async with get_client() as client:
        try:
            await client.read_work_pool(name)
        except ObjectNotFound:
            with contextlib.suppress(ObjectAlreadyExists):
                await client.create_work_pool(WorkPoolCreate(name=name, type="process"))


# ---------------------------------------------------------------- workers


class EngineAtOnce(ProcessJobConfiguration):
    """A run's process, started as the engine.

    By itself Prefect starts three processes one after the other, the first two to find out with which packages the
    third is to run. Ours has them all: a run begins in half the time (measured: after 3.7 s instead of 7.6 s).
    """

    def prepare_for_flow_run(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - whatever Prefect hands over
        """Name the command before Prefect does."""
        self.command = self.command or command_to_string([sys.executable, "-m", "prefect.engine"])
        super().prepare_for_flow_run(*arguments, **named)


class PoolWorker(ProcessWorker, abc.ABC):  # abstract for Prefect, which would else take it for its own type's successor
    """Prefect's worker for processes, which says so when it ends a run that it cannot see to its end."""

    job_configuration = EngineAtOnce

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow in a process and wait for its end.

        Args:
            flow_run: which.
            configuration: how.
            task_status: told when the process is there.
        """
        try:
            return await super().run(flow_run, configuration, task_status)
        except asyncio.CancelledError:
            with anyio.move_on_after(REPORT_SECONDS, shield=True):  # or it would be shown as running for ever
                await self._propose_crashed_state(flow_run, "Its worker was told to stop and ended it.")
            raise


def cohorts_each(settings: Settings) -> int:
    """Return how many cohorts a worker takes at once: one, or more where bots would else wait for each other.

    Args:
        settings: bots, and how many workers share a distribution.
    """
    return max(1, -(-len(settings.bots) // settings.prefect_workers))


def workers_of(settings: Settings) -> list[PoolWorker]:
    """Return what takes runs from the work pool in this process.

    Where several processes share a distribution, each takes its share of the cohorts: the first to look would take all
    of them. Distributions wait for their cohorts, so they and everything else come from another queue, without a limit;
    in one queue with a limit, distributions could hold every place that their cohorts wait for.

    Args:
        settings: the work pool, and how many processes share it.
    """
    pool, name = settings.prefect_work_pool, f"quiz-worker {socket.gethostname()}"
    if settings.prefect_workers == 1:
        return [PoolWorker(pool, name=name)]
    name = f"{name} {os.getpid()}"
    return [
        PoolWorker(pool, name=name, work_queues=[DEFAULT_QUEUE]),
        PoolWorker(pool, name=f"{name} {COHORT_QUEUE}", work_queues=[COHORT_QUEUE], limit=cohorts_each(settings)),
    ]
