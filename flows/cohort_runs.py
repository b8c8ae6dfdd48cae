"""Cohorts as runs of their own, which any Prefect worker takes; what became of their learners is read from the rows.

Theory of operation. A run on another machine shares no disk and no memory with the distribution that started it, and it
can end in ways that nobody reports: its machine loses power, and Prefect shows it as running for ever. So nothing is
taken from the run but its state. Postgres says who was served, and a run of which neither Prefect nor Postgres has had
anything new for a while is lost. The distribution itself serves those whom it left unserved. Should the run be alive
after all, both work on the same rows: a learner has one daily quiz a day, and a quiz is taken for sending once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from prefect import get_client, runtime
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import arun_deployment
from prefect.states import Cancelled, Crashed

from domain.catalog import QuizKind, QuizState
from domain.errors import StorageUnavailableError
from domain.ids import LearnerId
from domain.models import DailyResult, Delivery, FailureKind, Outcome
from domain.settings import Settings
from flows.progress import Progress, is_run_cancelled
from flows.work_pool import COHORT_QUEUE, COHORTS, DEFAULT_QUEUE, cohorts_each
from observability.logs import redact
from quizzes.context import QuizContext
from quizzes.delivery import (
    CANCELLED,
    HAD_ALREADY,
    NO_QUESTION,
    NOT_REGISTERED,
    OPTED_OUT,
    PAUSED,
    UNREACHABLE,
    WAITS_FOR_BOT,
    WILL_RETRY,
)

logger = logging.getLogger(__name__)

DEPLOYMENT = "execute_user_quiz_flow/{}"
MAX_IN_RUN = 15_000
"""Learners whose ids fit into a run's parameters, of which Prefect takes 512 KB, even if a bot gets one run too few."""

POLL_SECONDS = 2.0
"""Between two looks at the runs' states: one request for all of them."""

COUNT_SECONDS = 10.0
"""Between two counts of who still waits, which read a row for each learner."""

SILENT_SECONDS = 60.0
"""A run is lost after so long without news; it takes up to 27 s to start on a slow machine with two cores."""

DISTRIBUTION_CANCELLED = "The distribution was cancelled."

Serve = Callable[[list[LearnerId]], Awaitable[list[Delivery]]]
"""Serves a cohort and returns what became of its learners."""


def count_runs(learners: int, settings: Settings) -> int:
    """Return how many runs a distribution is worth; 1 means that its own process serves everybody.

    There is one for each worker and no more: measured on two cores, one costs 3.3 s of CPU to start and 1 s of the
    Prefect server's, and sends its first message after 4 to 12 s, in which one process alone sends hundreds. Should a
    worker be lost, its whole share is left; but the distribution's process is there to take it, warm and idle.
    """
    takers = min(settings.prefect_workers, settings.max_flow_runs_per_distribution)
    worth = min(takers, learners // settings.min_cohort_size)
    return max(worth, -(-learners // MAX_IN_RUN)) if worth > 1 else 1


@dataclass(slots=True)
class _Run:
    """A run that is under way, and when there was last news of it."""

    id: UUID
    shown_as: UUID | None
    """The task run of the distribution that stands for it and follows its state."""
    learner_ids: list[LearnerId]
    awaiting: int = field(init=False)
    state: State | None = None
    heard_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.awaiting = len(self.learner_ids)

    @property
    def has_begun(self) -> bool:
        return self.state is not None and self.state.type not in {StateType.SCHEDULED, StateType.PENDING}

    @property
    def is_silent(self) -> bool:
        return time.monotonic() - self.heard_at > SILENT_SECONDS

    def update(self, state: State | None, awaiting: int) -> None:
        """Take the latest state and count, and note whether either is new."""
        if (state and state.id) != (self.state and self.state.id) or awaiting != self.awaiting:
            self.heard_at = time.monotonic()
        self.state, self.awaiting = state, awaiting


class CohortRuns:
    """The runs that one distribution starts and waits for."""

    def __init__(self, context: QuizContext, due_at: datetime, progress: Progress, serve_here: Serve) -> None:
        self._repository = context.repository
        self._due_at = due_at
        self._progress = progress
        self._serve_here = serve_here
        self._is_elsewhere = bool(context.settings.prefect_cohort_pool)
        self._runs: list[_Run] = []
        self._ended = 0
        """Learners of runs that have ended."""
        self._starting, self._looking = asyncio.Lock(), asyncio.Lock()
        self._turns = asyncio.Semaphore(context.settings.prefect_workers * cohorts_each(context.settings))
        self._started = 0
        self._looked_at = self._counted_at = time.monotonic()

    async def serve(self, cohort: list[LearnerId]) -> list[Delivery]:
        """Let some worker serve a cohort; serve here whom it leaves."""
        async with self._turns:  # one more would wait for a worker and look like one that nobody wants
            return await self._serve(cohort)

    async def _serve(self, cohort: list[LearnerId]) -> list[Delivery]:
        try:
            run = await self._start(cohort)
        except Exception as error:  # noqa: BLE001 - whatever keeps a run from starting, this process can do its work
            logger.warning(
                "a cohort of %d learners cannot be started as a run and is served in this process: %s",
                len(cohort),
                redact(f"{type(error).__name__}: {error}"),
            )
            return await self._serve_here(cohort)
        self._runs.append(run)
        try:
            is_done = await self._wait(run)
        except asyncio.CancelledError:  # this process stops
            if not run.has_begun and await is_run_cancelled(runtime.flow_run.id):
                await _end(run, Cancelled(message=DISTRIBUTION_CANCELLED))
            raise
        finally:
            self._runs.remove(run)
        return await self._settle(run, is_done=is_done)

    async def _start(self, cohort: list[LearnerId]) -> _Run:
        """Create the run; one after the other, since the first one may have to make the queue."""
        async with self._starting:
            self._started += 1
            attempt = f"{runtime.flow_run.id}:{runtime.flow_run.run_count}:{self._started}"
            flow_run = await arun_deployment(
                DEPLOYMENT.format(COHORTS if self._is_elsewhere else "quiz"),
                parameters={
                    "learner_ids": [int(learner_id) for learner_id in cohort],
                    "kind": QuizKind.DAILY.value,
                    "due_at": self._due_at.isoformat(),
                },
                flow_run_name=f"quiz · {len(cohort)} learners",
                timeout=0,
                tags=["daily"],
                idempotency_key=attempt,  # a repeated request must not start a second one
                work_queue_name=DEFAULT_QUEUE if self._is_elsewhere else COHORT_QUEUE,
            )
        return _Run(flow_run.id, flow_run.parent_task_run_id, cohort, state=flow_run.state)

    # ------------------------------------------------------------ waiting

    async def _wait(self, run: _Run) -> bool:
        """Return when a run has ended or is lost, and whether there is nothing left to do for it."""
        while not (run.state and run.state.is_final()):
            await asyncio.sleep(POLL_SECONDS)
            await self._look()
            if self._progress.is_cancelled and not run.has_begun:
                await _end(run, Cancelled(message=DISTRIBUTION_CANCELLED))
                return True
            if run.is_silent:
                logger.warning("run %s has shown no progress for %.0f s and is given up", run.id, SILENT_SECONDS)
                await _end(run, _lost(run))
                return False
        return run.state.type in {StateType.COMPLETED, StateType.CANCELLED}

    async def _look(self) -> None:
        """Bring every run up to date, unless another waiter just has."""
        async with self._looking:
            if time.monotonic() - self._looked_at < POLL_SECONDS / 2:
                return
            states = await self._read_states()
            counts = time.monotonic() - self._counted_at >= COUNT_SECONDS
            for run in self._runs:
                awaiting = await self._count_awaiting(run) if counts else run.awaiting
                run.update(states.get(run.shown_as, run.state), awaiting)
            if counts:
                self._counted_at = time.monotonic()
                served = sum(len(run.learner_ids) - run.awaiting for run in self._runs)
                self._progress.note_elsewhere(self._ended + served)
            self._looked_at = time.monotonic()

    async def _read_states(self) -> dict[UUID | None, State]:
        """Ask the task runs: the runs themselves would come with the ids of all their learners, every time."""
        ids = [run.shown_as for run in self._runs if run.shown_as]
        with contextlib.suppress(Exception):  # while the server is unavailable, the rows may still move
            async with get_client() as client:
                found = await client.read_task_runs(task_run_filter=TaskRunFilter(id=TaskRunFilterId(any_=ids)))
            return {task_run.id: task_run.state for task_run in found if task_run.state}
        return {}

    async def _count_awaiting(self, run: _Run) -> int:
        with contextlib.suppress(StorageUnavailableError):
            return await self._repository.count_awaiting_daily(run.learner_ids, self._due_at)
        return run.awaiting

    # ------------------------------------------------------------ afterwards

    async def _settle(self, run: _Run, *, is_done: bool) -> list[Delivery]:
        """Return what became of a run's learners, after serving those whom it left although it should not have."""
        results = await self._repository.list_daily_results(run.learner_ids, self._due_at)
        told = [delivery for result in results if (delivery := describe(result))]
        left = [result for result in results if describe(result) is None]
        self._ended += len(told)
        if left and not is_done:
            return told + await self._serve_left([result.learner_id for result in left])
        was_cancelled = self._progress.is_cancelled or (run.state is not None and run.state.is_cancelled())
        return told + [_unserved(result, was_cancelled=was_cancelled) for result in left]

    async def _serve_left(self, left: list[LearnerId]) -> list[Delivery]:
        try:
            return await self._serve_here(left)
        except Exception as error:  # noqa: BLE001 - what the run did before stays in the report
            return all_of(left, Outcome.FAILED, redact(f"{type(error).__name__}: {error}"))


def describe(result: DailyResult) -> Delivery | None:
    """Return what became of a learner's daily quiz, or None if it is still to be made or sent."""
    if result.quiz_id is None:
        reason = _reason_for_none(result)
        return Delivery(result.learner_id, Outcome.SKIPPED, reason) if reason else None
    outcome, reason, kind = Outcome.FAILED, result.failure or "", FailureKind.FAILED
    match result.state:
        case QuizState.PENDING if not reason:
            return None
        case QuizState.PENDING if not result.attempts:
            reason, kind = f"{reason} {WAITS_FOR_BOT}", FailureKind.REFUSED
        case QuizState.PENDING:
            reason = f"{reason} {WILL_RETRY}"
        case QuizState.SENDING:
            reason = f"cut off while it was sent {WILL_RETRY}"
        case QuizState.FAILED:
            kind = FailureKind.UNREACHABLE if result.is_blocked else kind
        case _:
            outcome = Outcome.SENT
    return Delivery(result.learner_id, outcome, reason, result.topic, result.level, result.quiz_id, kind)


def _reason_for_none(result: DailyResult) -> str:
    if not result.is_known:
        return NOT_REGISTERED
    if result.is_blocked:
        return UNREACHABLE
    if not result.is_enabled:
        return OPTED_OUT
    return "" if result.is_due else HAD_ALREADY


def _unserved(result: DailyResult, *, was_cancelled: bool) -> Delivery:
    """Return the line about a learner whom a run left that ended as it should."""
    if was_cancelled:
        return Delivery(result.learner_id, Outcome.SKIPPED, CANCELLED, quiz_id=result.quiz_id)
    if result.is_paused:
        return Delivery(result.learner_id, Outcome.SKIPPED, PAUSED, result.topic, result.level, result.quiz_id)
    if result.quiz_id is None:
        return Delivery(result.learner_id, Outcome.FAILED, NO_QUESTION)
    return Delivery(
        result.learner_id, Outcome.FAILED, f"not sent yet {WILL_RETRY}", result.topic, result.level, result.quiz_id
    )


def _lost(run: _Run) -> State:
    message = f"Nothing was heard of it for {SILENT_SECONDS:.0f} s; the distribution serves its learners itself."
    return Crashed(message=message) if run.has_begun else Cancelled(message=message)


async def _end(run: _Run, state: State) -> None:
    """Show a run as ended, in Prefect too; a worker does not begin one that has ended."""
    run.state = state
    with contextlib.suppress(Exception):  # its learners matter more than how it looks
        async with get_client() as client:
            await client.set_flow_run_state(run.id, state, force=True)


def all_of(cohort: Sequence[LearnerId], outcome: Outcome, reason: str) -> list[Delivery]:
    """Return the same line for each learner of a cohort."""
    return [Delivery(learner_id, outcome, reason) for learner_id in cohort]
