"""The context of a flow run: the one that this process has open, or one of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from prefect import runtime
from prefect.tasks import exponential_backoff

from domain.settings import Settings, load_settings
from flows.artifacts import forget_runs
from observability.log_ids import log_ids
from observability.logs import ensure_logs
from observability.tracing import set_up_tracing, span
from quizzes.context import QuizContext
from wiring import Runtime, open_runtime

RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=1),
    "retry_jitter_factor": 0.5,
}
"""For tasks that talk to the database or to Telegram: after 1, 2 and 4 seconds, each up to half as much later."""
_context: QuizContext | None = None
"""Global, since Prefect hands a flow its parameters and nothing else."""


@contextlib.contextmanager
def use_context(context: QuizContext) -> Iterator[None]:
    """Give the flows of this process an open context, until the end."""
    global _context  # noqa: PLW0603 - see there
    before, _context = _context, context
    try:
        yield
    finally:
        _context = before


@contextlib.asynccontextmanager
async def open_for_flows(settings: Settings) -> AsyncIterator[Runtime]:
    """Open the runtime, and give its context to the flows of this process, until the end.

    Raises:
        StartupError: no bot token is set, or one is invalid.
        StorageUnavailableError: the database does not answer.
    """
    async with open_runtime(settings, forget_runs if settings.prefect_api_url else None) as opened:
        with use_context(opened.context):
            yield opened


@contextlib.asynccontextmanager
async def run_context() -> AsyncIterator[QuizContext]:
    """Yield the process's context, or open one for a run that has a process of its own."""
    if _context is not None:
        with _traced():
            yield _context
        return
    settings = load_settings()
    ensure_logs(settings, "flow")  # for a process that Prefect's own worker started
    set_up_tracing(settings, "flow")
    async with open_for_flows(settings) as opened:
        with _traced():
            yield opened.context


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    """Make the flow run a span, and let log lines carry its id."""
    run_id = runtime.flow_run.id
    about = {"prefect.flow_run.id": run_id} if run_id else {}
    with log_ids(run=run_id), span(runtime.flow_run.flow_name or "flow", attributes=about):
        yield


def current_context() -> QuizContext:
    """Return the context of the run."""
    if _context is None:
        msg = "a task was called outside its flow"
        raise RuntimeError(msg)
    return _context
