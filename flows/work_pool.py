"""Prefect's work pool: the deployments that it knows, and what takes their runs from it, each into a process."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse, SetStateStatus, WorkerFlowRunResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.runner.storage import LocalStorage
from prefect.states import Cancelled, Failed
from prefect.utilities.processutils import command_to_string
from prefect.utilities.schema_tools.validation import ValidationError, validate
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from domain.errors import StartupError
from domain.processes import service_environment
from domain.settings import Settings
from flows.automations import register_automations
from observability.states import redact_states

logger = logging.getLogger(__name__)
redact_states()  # what this process tells Prefect of processes that ended, and why it could not start some

ROOT = Path(__file__).parent.parent

DEFAULT_QUEUE = "default"
"""The queue that Prefect gives every work pool."""

COHORTS = "cohorts"
"""The deployment whose runs workers of another pool take."""

COHORT_QUEUE = "cohorts"
"""The queue from which a worker takes only as much as is its share."""

REPORT_SECONDS = 3.0

SLUG = "service"
"""Of the schedule that the service keeps up to date, beside which operators may have others."""

SKIPPED = "A later run of the schedule does its work as well."

WAITING = {"Scheduled", "Late"}
"""Names of the states in which nobody has begun a run for the first time."""

EARLIEST = datetime.min.replace(tzinfo=UTC)
_EVERY = re.compile(r"\*/\d+ \* \* \* \*")


# ---------------------------------------------------------------- deployments


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A deployment as the service wants it; what else there is to it, operators decide."""

    entrypoint: str
    name: str
    tag: str
    cron: str | None = None
    pool: str | None = None
    """Another than the service's own."""


def _wanted(settings: Settings) -> list[_Wanted]:
    every = f"*/{settings.distribution_interval_minutes} * * * *"
    refill = "37 * * * *" if settings.openai_api_key else None  # without a key there is nothing to refill with
    hours = settings.backup_interval_hours
    backup = f"27 */{hours} * * *" if hours < 24 else "27 3 * * *"  # noqa: PLR2004 - a day
    wanted = [
        _Wanted("prefect_flows.py:distribute_daily_quizzes", "daily", "daily", every),
        _Wanted("prefect_flows.py:execute_user_quiz_flow", "quiz", "quiz"),
        _Wanted("prefect_flows.py:upkeep", "hourly", "upkeep", "7 * * * *"),
        _Wanted("prefect_flows.py:analyze_questions", "weekly", "analysis", "47 4 * * 1"),
        _Wanted("flows/announce.py:announce", "announce", "announce"),
        _Wanted("flows/refill.py:refill_question_bank", "refill", "refill", refill),
        _Wanted("flows/backup.py:back_up", "backup", "backup", backup if settings.backup_dir else None),
    ]
    if settings.prefect_cohort_pool:
        pool = settings.prefect_cohort_pool
        wanted.append(_Wanted("prefect_flows.py:execute_user_quiz_flow", COHORTS, "quiz", pool=pool))
    return wanted


async def register_deployments(settings: Settings) -> list[str]:
    """Make the work pool and the deployments, or bring them up to date.

    What operators decided in Prefect stays: a deployment, schedule, work pool or queue that is paused, schedules of
    their own, default parameters, tags and limits.

    Returns:
        The deployments' names.

    Raises:
        StartupError: there is no work pool PREFECT_COHORT_POOL.
        httpx.HTTPError: the Prefect server does not answer.
    """
    await _ensure_work_pool(settings.prefect_work_pool)
    if settings.prefect_cohort_pool:
        await _require_work_pool(settings.prefect_cohort_pool)
    async with get_client() as client:
        return [
            await _register(client, wanted.pool or settings.prefect_work_pool, wanted) for wanted in _wanted(settings)
        ]


async def restore_deployments(settings: Settings) -> None:
    """Register the deployments again if the Prefect server has lost them, as with a new database.

    Raises:
        httpx.HTTPError: the Prefect server does not answer.
    """
    async with get_client() as client:
        known = {deployment.name for deployment in await client.read_deployments()}
    if known.isdisjoint(wanted.name for wanted in _wanted(settings)):
        logger.warning("the Prefect server knows none of the deployments: they are registered again")
        await register_deployments(settings)
        await register_automations(settings)


async def _register(client: PrefectClient, pool: str, wanted: _Wanted) -> str:
    """Make a deployment or change what the service decides about it, and return its full name."""
    flow: Flow[..., Any] = await asyncio.to_thread(load_flow_from_entrypoint, f"{ROOT / wanted.entrypoint}")
    name = f"{flow.name}/{wanted.name}"
    code: dict[str, Any] = {
        "version": flow.version,
        "description": flow.description,
        "entrypoint": wanted.entrypoint,
        "pull_steps": [LocalStorage(path=str(ROOT)).to_pull_step()],
        "parameter_openapi_schema": flow.parameters.model_dump(exclude_unset=True) | {"additionalProperties": False},
        "enforce_parameter_schema": True,
    }
    try:
        found = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        flow_id = await client.create_flow_from_name(flow.name)
        schedules = [_own(wanted.cron)] if wanted.cron else []
        await client.create_deployment(
            flow_id, wanted.name, work_pool_name=pool, schedules=schedules, tags=[wanted.tag], **code
        )
        return name
    if found.work_pool_name != pool:
        code["work_pool_name"] = pool
    await client.update_deployment(found.id, DeploymentUpdate(**code))
    await _keep_schedule(client, found, wanted.cron)
    return name


def _own(cron: str) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=CronSchedule(cron=cron), slug=SLUG)


async def _keep_schedule(client: PrefectClient, deployment: DeploymentResponse, cron: str | None) -> None:
    """Bring the service's own schedule up to date; whether it is active, operators decide."""
    own = _find_own(deployment.schedules, cron)
    try:
        if own and cron:
            await client.update_deployment_schedule(deployment.id, own.id, schedule=CronSchedule(cron=cron), slug=SLUG)
        elif own:
            await client.delete_deployment_schedule(deployment.id, own.id)
        elif cron:
            await client.create_deployment_schedules(deployment.id, [_own(cron)])
    except ObjectNotFound:
        pass  # another Prefect worker, which starts at the same time, has made it anew
    except PrefectHTTPStatusError as error:
        if error.response.status_code != httpx.codes.CONFLICT:  # or has made it first
            raise


def _find_own(schedules: Sequence[DeploymentSchedule], cron: str | None) -> DeploymentSchedule | None:
    """Return the service's own schedule: by its slug, or by its form if an earlier version made it."""
    for schedule in schedules:
        if schedule.slug == SLUG:
            return schedule
    nameless = {s.schedule.cron: s for s in schedules if isinstance(s.schedule, CronSchedule) and not s.slug}
    alike = [given for given in nameless if given == cron or (_EVERY.fullmatch(given) and _EVERY.fullmatch(cron or ""))]
    return nameless[min(alike, key=lambda given: given != cron)] if alike else None


async def _ensure_work_pool(name: str) -> None:
    async with get_client() as client:
        try:
            await client.read_work_pool(name)
        except ObjectNotFound:
            with contextlib.suppress(ObjectAlreadyExists):
                await client.create_work_pool(WorkPoolCreate(name=name, type="process"))


async def _require_work_pool(name: str) -> None:
    async with get_client() as client:
        try:
            await client.read_work_pool(name)
        except ObjectNotFound:
            raise StartupError(
                f"PREFECT_COHORT_POOL: the Prefect server has no work pool {name}; make it (`prefect work-pool create`)"
            ) from None


# ---------------------------------------------------------------- workers


class FlowProcessConfiguration(ProcessJobConfiguration):
    """A run's process: the service's own entry point, which sets up logs and then becomes Prefect's engine.

    By itself Prefect starts three processes one after the other, the first two to find out with which packages the
    third is to run. Ours has them all: a run begins in half the time (measured: after 3.7 s instead of 7.6 s).
    """

    def prepare_for_flow_run(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - whatever Prefect hands over
        """Name the command, and what of this process's environment it gets; a work pool may name more."""
        self.command = self.command or command_to_string([sys.executable, str(ROOT / "main.py"), "flow"])
        named_by_operators = set(self.env)
        super().prepare_for_flow_run(*arguments, **named)
        withheld = os.environ.keys() - service_environment().keys() - named_by_operators
        self.env |= dict.fromkeys(withheld)  # None: Prefect adds its whole environment again when it starts the process


class PoolWorker(ProcessWorker, abc.ABC):  # abstract for Prefect, which would else take it for its own type's successor
    """Prefect's worker for processes, which says so when it ends a run that it cannot see to its end.

    After an absence it runs the newest of a schedule's late runs and skips the others, whose work that one does too.
    """

    job_configuration = FlowProcessConfiguration

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        found = await super()._get_scheduled_flow_runs()
        handed_out = {one.flow_run.id: one.flow_run for one in found}
        now = datetime.now(UTC)
        due = await self._read_due({run.deployment_id for run in handed_out.values() if run.auto_scheduled}, now)
        runs = {run.id: run for run in due} | handed_out
        superseded = {run.id for run in find_superseded(list(runs.values()), now)}
        missed = superseded & handed_out.keys()
        skipped = sum([await self._skip(run_id) for run_id in missed])
        if skipped:
            logger.warning("%d late runs are skipped: a later run of their schedule does their work", skipped)
        return [one for one in found if one.flow_run.id not in superseded]

    async def _read_due(self, deployments: set[UUID | None], now: datetime) -> Sequence[FlowRun]:
        """Return the due runs of deployments, the latest 200.

        What the server hands out may lack some: it passes over a run that is locked, as by the service that marks runs
        late, and keeps to the limits of queues.
        """
        if not deployments:
            return []
        return await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[one for one in deployments if one]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                expected_start_time=FlowRunFilterExpectedStartTime(before_=now),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        )

    async def _skip(self, run_id: UUID) -> bool:
        """End a run that still waits, and say whether it did; another worker may have begun it by now."""
        try:
            state = (await self.client.read_flow_run(run_id)).state
            if state is None or state.name not in WAITING:
                return False
            answer: OrchestrationResult[Any] = await self.client.set_flow_run_state(
                run_id, Cancelled(name="Skipped", message=SKIPPED)
            )
        except ObjectNotFound:
            return False
        return answer.status is SetStateStatus.ACCEPT

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow in a process and wait for its end."""
        try:
            if reason := await self._find_wrong_parameter(flow_run):
                await self.client.set_flow_run_state(flow_run.id, Failed(message=reason), force=True)
                (task_status or anyio.TASK_STATUS_IGNORED).started(0)
                return ProcessWorkerResult(status_code=0, identifier="")
            return await super().run(flow_run, configuration, task_status)
        except asyncio.CancelledError:
            with anyio.move_on_after(REPORT_SECONDS, shield=True):  # or it would be shown as running for ever
                await self._propose_crashed_state(flow_run, "Its worker was told to stop and ended it.")
            raise

    async def _find_wrong_parameter(self, flow_run: FlowRun) -> str:
        """Return what is wrong, in one line; Prefect's server does not look at what a schedule has."""
        if not flow_run.deployment_id:
            return ""
        deployment = await self.client.read_deployment(flow_run.deployment_id)
        try:
            validate(flow_run.parameters, deployment.parameter_openapi_schema or {}, raise_on_error=True)
        except ValidationError as error:
            return str(error)
        return ""


def find_superseded(runs: Sequence[FlowRun], now: datetime) -> list[FlowRun]:
    """Return which runs of schedules have nothing to do, since a later one with the same parameters is due as well.

    Args:
        runs: that wait to be started; those that somebody started by hand, or again, are never among the result.
        now: runs that are to start after it, which Prefect hands out ahead of time, count for nothing.
    """
    newest: dict[str, FlowRun] = {}
    superseded = []
    for begins, run in sorted(((_beginning(run), run) for run in runs), key=itemgetter(0)):
        if begins <= now and run.auto_scheduled and not run.run_count and run.state_name in WAITING:
            work = json.dumps([str(run.deployment_id), run.parameters], sort_keys=True)
            if work in newest:
                superseded.append(newest[work])
            newest[work] = run
    return superseded


def _beginning(run: FlowRun) -> datetime:
    return run.expected_start_time or run.created or EARLIEST


def cohorts_each(settings: Settings) -> int:
    """Return how many cohorts a worker takes at once: one, or more where bots would else wait for each other."""
    return max(1, -(-len(settings.bots) // settings.prefect_workers))


def workers_of(settings: Settings) -> list[PoolWorker]:
    """Return what takes runs from the work pool in this process.

    Where several processes share a distribution, each takes its share of the cohorts: the first to look would take all
    of them. Distributions wait for their cohorts, so they and everything else come from another queue, without a limit;
    in one queue with a limit, distributions could hold every place that their cohorts wait for.
    """
    pool, name = settings.prefect_work_pool, f"quiz-worker {socket.gethostname()}"
    if settings.prefect_workers == 1:
        return [PoolWorker(pool, name=name)]
    name = f"{name} {os.getpid()}"
    return [
        PoolWorker(pool, name=name, work_queues=[DEFAULT_QUEUE]),
        PoolWorker(pool, name=f"{name} {COHORT_QUEUE}", work_queues=[COHORT_QUEUE], limit=cohorts_each(settings)),
    ]
