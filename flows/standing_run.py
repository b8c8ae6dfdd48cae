"""A flow run that a worker keeps under way, and whose task runs show what the worker does.

Theory of operation. Beginning a flow run takes several requests to the Prefect server, so it is begun before there is
work, and kept. Beginning a task run takes none: its states travel as events, by a thread of Prefect's. So nothing waits
for the server between the arrival of work and its end. The task runs must have no tags: for a tag they would ask the
server whether a limit on it has room.

After some minutes or many batches the next run is begun, and then the one before is ended, so that a run stays small
enough to be looked at. A run that an operator cancelled or deleted is replaced. What no run can show is done as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from prefect import Task, get_client, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext, TagsContext, TaskRunContext
from prefect.exceptions import Abort, ObjectNotFound
from prefect.flows import Flow
from prefect.states import Cancelled, Completed

from domain.errors import PrefectUnavailableError
from domain.models import Delivery
from domain.words import plural
from flows.artifacts import publish_deliveries, rename_run
from flows.availability import PrefectBreaker
from flows.batch_window import BatchWindow, Report, Tally, Work
from flows.context import RETRIES
from observability import metrics
from observability.background import run_forever, wait_at_most
from observability.log_ids import log_ids
from observability.logs import redact

logger = logging.getLogger(__name__)

KEEPER_TAG = "kept by "
"""Before the name of the process that keeps a run, as its heartbeats have it."""

RENEW_SECONDS = 600.0
RENEW_UNITS = 5_000
POLL_SECONDS = 8.0
"""Between two looks at whether an operator cancelled or deleted the run."""

BEGIN_SECONDS = 30.0
END_SECONDS = 2.0
"""For each thing that the server is told at the end of a run."""

CUTS = 3
CUT_SECONDS = 0.2
"""A run that is cut off tells the server that it crashed, and must be cut off from that as well if the server hangs."""

MAX_PUBLISHING = 5
"""Tables on their way at once: a server that is too slow gets no more of them."""

MAX_RETRYING = 4
"""Failed batches that are tried again as task runs at once; the worker tries the others again, later and without."""

_Execute = Callable[[], Awaitable[State[Any]]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a standing run is for."""

    flow: Flow[[], Coroutine[Any, Any, State[Any]]]
    """Its body is `stay_under_way`."""
    unit: str
    """What the batches are of, in the singular."""
    table: str
    """The key of the artifacts."""
    describe: Callable[[Tally], str]
    """Says in a few words what was done: the name and the message of runs and task runs."""

    @property
    def units(self) -> str:
        """What the batches are of, in the plural."""
        return f"{self.unit}s"


async def stay_under_way() -> State[Any]:
    """Be the body of a standing run's flow.

    Raises:
        RuntimeError: nobody keeps this run.
    """
    run = _current.get()
    if run is None:
        msg = "a worker begins this flow by itself, and nobody else"
        raise RuntimeError(msg)
    return await run.stay()


class StandingRun:
    """Does batches within a flow run, and keeps one under way for them."""

    def __init__(self, kind: Kind, keeper: str, breaker: PrefectBreaker) -> None:
        """Take what the run is for, the name of this process in its heartbeats, and what knows of the server."""
        self._kind = kind
        self._keeper = keeper
        self._breaker = breaker
        self._tasks = _Tasks.of(kind)
        self._run: _Run | None = None
        self._runs: set[_Run] = set()

    @property
    def ids(self) -> set[UUID]:
        """The flow runs that are under way."""
        return {run.id for run in self._runs if run.id}

    @property
    def takes_work(self) -> bool:
        """Whether the next batch is done within a flow run."""
        return self._find_run() is not None

    async def do(self, work: Work) -> Report:
        """Do a batch at once, within the flow run if that is possible.

        Raises:
            Exception: what the work raised.
        """
        run = self._find_run()
        batch = run.begin(work) if run else None
        if batch:
            return await batch
        metrics.UNRECORDED_BATCHES.labels(self._kind.units).inc()
        return await work()

    async def retry(self, work: Work, size: int, error: Exception) -> Report:
        """Do a batch again that failed, in a task run of its own and with pauses.

        Args:
            size: how many units it is.
            error: what it failed with.

        Raises:
            Exception: what the work raised last, or the error itself if no task run can be had.
        """
        run = self._find_run()
        if run is None or run.retrying >= MAX_RETRYING:
            raise error
        return await run.retry(work, size)

    def _find_run(self) -> _Run | None:
        """Return the run that takes work, if there is one."""
        return self._run if self._breaker.available and self._run and self._run.takes_work else None

    # ------------------------------------------------------------ keeping a run

    async def keep(self) -> None:
        """Keep a run under way until cancelled."""
        await run_forever(f"flow run of {self._kind.units}", self._look)

    async def _look(self) -> None:
        await self._breaker.wait_until_available()
        run = self._run
        try:
            if run is None or not run.takes_work or run.is_due_for_renewal or await run.is_gone():
                run = await self._begin()
        except Exception as error:
            raise PrefectUnavailableError(redact(f"{type(error).__name__}: {error}")) from error
        await wait_at_most(run.over, POLL_SECONDS)

    async def _begin(self) -> _Run:
        """Begin the next run, and then end the one before."""
        run = _Run(self._kind, self._tasks, self._keeper)
        self._runs.add(run)
        run.execution.add_done_callback(lambda _: self._runs.discard(run))
        await run.wait_for_begin()
        before, self._run = self._run, run
        if before:
            before.end()
        return run

    async def end(self, seconds: float) -> None:
        """End the runs that are under way, within some seconds or by force; `keep` must be over."""
        for run in self._runs:
            run.end()
        late = {run.execution for run in self._runs}
        if late:
            _, late = await asyncio.wait(late, timeout=seconds)
        for _ in range(CUTS):
            for execution in late:
                execution.cancel()
            if late:
                _, late = await asyncio.wait(late, timeout=CUT_SECONDS)


class _Run:
    """One flow run, from its beginning to its end."""

    def __init__(self, kind: Kind, tasks: _Tasks, keeper: str) -> None:
        self._kind = kind
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._began_at, self._began = self._loop.time(), datetime.now(UTC)
        self._begun: asyncio.Future[Context] = self._loop.create_future()
        self._ending = asyncio.Event()
        self._window: BatchWindow | None = None
        self._task_runs: set[asyncio.Task[None]] = set()
        self._publishing: set[asyncio.Task[None]] = set()
        self._total = Tally()
        self._has_worked = False
        self._is_gone = False
        self.retrying = 0
        self._flow_run: FlowRun | None = None
        self.over = asyncio.Event()
        self.execution = asyncio.create_task(self._execute(keeper))
        self.execution.add_done_callback(self._note_end)

    async def _execute(self, keeper: str) -> None:
        _current.set(self)
        with tags(KEEPER_TAG + keeper):
            await self._kind.flow()

    def _note_end(self, execution: asyncio.Task[None]) -> None:
        self.over.set()
        if execution.cancelled() or not (error := execution.exception()) or self._is_gone or not self._begun.done():
            return
        logger.warning("a flow run of %s ended: %s", self._kind.units, redact(f"{type(error).__name__}: {error}"))

    async def wait_for_begin(self) -> None:
        """Return when the run is under way.

        Raises:
            Exception: it cannot be begun.
        """
        first: set[asyncio.Future[Any]] = {self.execution, self._begun}
        await asyncio.wait(first, timeout=BEGIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if self._begun.done():
            return
        if self.execution.done():
            await self.execution
        self.execution.cancel()
        msg = f"it has not begun within {BEGIN_SECONDS:.0f} s"
        raise TimeoutError(msg)

    async def stay(self) -> State[Any]:
        """Take work until the end: the body of the flow run."""
        context = FlowRunContext.get()
        self._flow_run = context.flow_run if context else None
        if self._flow_run:
            self._flow_run.tags = []  # here only: each event of a task run would have a row for each of them
        with TagsContext(current_tags=set()), log_ids(run=self.id):
            self._begun.set_result(copy_context())
        await self._ending.wait()
        while self._task_runs:
            await asyncio.wait(self._task_runs)
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=END_SECONDS)
        message = self._kind.describe(self._total)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                if self._is_gone:
                    await self._cancel()
                else:
                    await rename_run(f"{self._began:%H:%M}–{datetime.now(UTC):%H:%M} · {message}")
        if self._is_gone:
            raise Abort("an operator cancelled or deleted it")  # or Prefect would have it completed
        return Completed(message=message)

    async def _cancel(self) -> None:
        """Show the run as cancelled if an operator asked for it, which Prefect leaves to the process that runs it."""
        run = self._flow_run
        if run and run.state and run.state.is_cancelling():
            run.state = Cancelled(message="An operator cancelled it; another run shows what came after it.")
            with contextlib.suppress(Exception):
                async with get_client() as client:
                    await client.set_flow_run_state(run.id, run.state, force=True)

    @property
    def id(self) -> UUID | None:
        return self._flow_run.id if self._flow_run else None

    @property
    def _context(self) -> Context:
        """The flow run's, without tags."""
        return self._begun.result()

    @property
    def takes_work(self) -> bool:
        return self._begun.done() and not self._ending.is_set() and not self.execution.done()

    @property
    def is_due_for_renewal(self) -> bool:
        if not self._has_worked:
            return False
        is_old = self._loop.time() - self._began_at >= RENEW_SECONDS
        return is_old or self._total.outcomes.total() >= RENEW_UNITS

    def end(self) -> None:
        """Take no more, and end when all that was begun is done."""
        self._ending.set()

    async def is_gone(self) -> bool:
        """Return whether an operator cancelled or deleted the run."""
        if self._flow_run is None:
            return False
        async with get_client() as client:
            try:
                run = await client.read_flow_run(self._flow_run.id)
            except ObjectNotFound:
                self._is_gone = True
            else:
                self._is_gone = run.state_type not in {StateType.PENDING, StateType.RUNNING}
                self._flow_run.state = run.state
        return self._is_gone

    # ------------------------------------------------------------ task runs

    def begin(self, work: Work) -> asyncio.Task[Report] | None:
        """Begin a batch in the window that is open, or in a new one; None if no task run begins any more."""
        window = self._window
        if window and window.is_open:
            if window.is_stuck:
                self.end()
                return None
            return window.begin(work)
        window = self._window = self._context.copy().run(BatchWindow, self._ending)
        batch = window.begin(work)  # before its task run, which takes some milliseconds of CPU to begin
        self._start(self._open(window))
        return batch

    async def _open(self, window: BatchWindow) -> None:
        async def execute() -> State[Any]:
            await window.stay_open()
            return self._conclude(window.tally, window.deliveries)

        name = f"{self._kind.units} from {datetime.now(UTC):%H:%M:%S}"
        try:
            await self._tasks.window(execute, name)
        except Exception as error:  # noqa: BLE001 - the batches do not depend on what shows them
            logger.warning("a task run of %s ended: %s", self._kind.units, redact(f"{type(error).__name__}: {error}"))
            window.is_open = False
            metrics.UNRECORDED_BATCHES.labels(self._kind.units).inc(window.count)
            self.end()

    async def retry(self, work: Work, size: int) -> Report:
        """Do a batch in a task run of its own, again until it goes well or the retries are used up.

        Raises:
            Exception: what the work raised last.
        """
        reports: list[Report] = []

        async def execute() -> State[Any]:
            report, tally = await work(), Tally()
            reports.append(report)
            tally.add(report)
            return self._conclude(tally, report.deliveries, "retry · ")

        self.retrying += 1
        try:
            await self._start(self._tasks.retry(execute, f"retry · {count(size, self._kind.unit)}"))
        finally:
            self.retrying -= 1
        return reports[-1]

    def _start(self, executing: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task_run = self._loop.create_task(executing, context=self._context.copy())
        self._task_runs.add(task_run)
        self._has_worked = True
        task_run.add_done_callback(self._task_runs.discard)
        return task_run

    def _conclude(self, tally: Tally, deliveries: Sequence[Delivery], prefix: str = "") -> State[Any]:
        """Return the state that a task run ends in, and leave its name and its table."""
        self._total.merge(tally)
        message = self._kind.describe(tally)
        if context := TaskRunContext.get():
            context.task_run.name = prefix + message  # the server takes it from the event that tells the state
        if deliveries and len(self._publishing) < MAX_PUBLISHING:
            table = asyncio.create_task(publish_deliveries(self._kind.table, deliveries))
            self._publishing.add(table)
            table.add_done_callback(self._publishing.discard)
        return Completed(message=message)


_current: ContextVar[_Run | None] = ContextVar("standing run", default=None)
"""Whose body a flow is; a flow's parameters must be JSON, so it is not one of them."""


class _Tasks(NamedTuple):
    """The tasks of a kind."""

    window: Task[[_Execute, str], Coroutine[Any, Any, State[Any]]]
    retry: Task[[_Execute, str], Coroutine[Any, Any, State[Any]]]

    @classmethod
    def of(cls, kind: Kind) -> _Tasks:
        """Make them."""
        name = "{name}"
        return cls(
            task(name=kind.units, task_run_name=name, cache_policy=NO_CACHE)(_execute),
            task(name=f"retry of {kind.units}", task_run_name=name, cache_policy=NO_CACHE, **RETRIES)(_execute),
        )


async def _execute(execute: _Execute, name: str) -> State[Any]:  # noqa: ARG001 - Prefect reads the name
    return await execute()


def count(number: int, unit: str, units: str = "") -> str:
    """Return a number of something as words."""
    return f"{number:,} {plural(number, unit, units)}"
