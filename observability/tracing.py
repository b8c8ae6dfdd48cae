"""Traces with OpenTelemetry: from a learner's update to the grade of the answer, through all processes.

Theory of operation. A quiz is a trace. It begins with the update that asks for the quiz, or with the sending of a daily
one, and the tap that answers it goes on with it. Between processes its context is a W3C `traceparent`, in the rows of
`updates` and `quizzes`.

What is done for many learners at once has a span in the trace of each (`steps`), so that every trace is complete by
itself. For that the worker says whose updates it handles (`handling`), and what is done for one of the learners goes
below the span of their update (`step`). Work that nobody asked for, such as a distribution, has a trace of its own; the
quizzes that it sends have links to it.

Spans name updates and quizzes, never learners, and hold no text. Of an error they hold the class, since its message may
quote anything. The tracer provider is this module's own and not OpenTelemetry's global one: Prefect would put the names
of runs, which hold learners' ids, into spans of its own. Without OTEL_EXPORTER_OTLP_ENDPOINT nothing of the SDK is
imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

from domain.errors import StartupError
from domain.ids import LearnerId, QuizId, UpdateRow
from domain.settings import Settings
from domain.version import VERSION
from observability.log_ids import current_ids, log_ids

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes = Mapping[str, str | int | float | bool]
NOTHING: Attributes = MappingProxyType({})

_PROPAGATOR = TraceContextTextMapPropagator()
_NO_SPAN = contextlib.nullcontext(INVALID_SPAN)
_NO_STEPS = contextlib.nullcontext()

_provider: TracerProvider | None = None
"""Global, as log handlers are: every part of the process sends its spans to the same place."""
_tracer: trace.Tracer | None = None


@dataclass(frozen=True, slots=True)
class Handled:
    """The update of a learner that is being handled."""

    update: UpdateRow
    span: Span | None = None
    """Which what is done for them goes below; None without tracing."""


_handled: ContextVar[Mapping[LearnerId, Handled]] = ContextVar("handled updates", default=MappingProxyType({}))


# ---------------------------------------------------------------- on and off


def set_up_tracing(settings: Settings, role: str) -> None:
    """Send the spans of this process to the collector of the settings; without one, do and import nothing.

    Raises:
        StartupError: the SDK is not installed.
    """
    global _provider, _tracer  # noqa: PLW0603 - see there
    endpoint, headers = settings.otel_exporter_otlp_endpoint, settings.otel_exporter_otlp_headers
    if endpoint is None or _provider:
        return
    try:
        from observability.span_export import make_provider  # noqa: PLC0415 - it imports the SDK
    except ImportError:
        raise StartupError(
            "OTEL_EXPORTER_OTLP_ENDPOINT: OpenTelemetry's SDK is missing; install requirements-tracing.txt"
        ) from None

    names = {"service.namespace": "quiz", "service.name": f"quiz-{role}", "service.version": VERSION}
    given = parse_env_headers(headers.get_secret_value(), liberal=True) if headers else None
    _provider = make_provider(names, endpoint, given)
    _tracer = _provider.get_tracer("quiz", VERSION)


def shut_down_tracing() -> None:
    """Send the spans that are left, and make no more."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider:
        provider.shutdown()


def is_tracing() -> bool:
    """Return whether spans are made."""
    return _tracer is not None


# ---------------------------------------------------------------- spans


def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    traceparent: str | None = None,
    attributes: Attributes = NOTHING,
) -> contextlib.AbstractContextManager[Span]:
    """Make what is done meanwhile a span, below the current one.

    Args:
        traceparent: below which it goes instead.
    """
    if _tracer is None:
        return _NO_SPAN
    return _span(name, kind, remote_context(traceparent) if traceparent else None, (), attributes)


@contextlib.contextmanager
def _span(
    name: str, kind: SpanKind, context: Context | None, links: Iterable[Link], attributes: Attributes
) -> Iterator[Span]:
    made = start_span(name, kind, context, links, attributes)
    try:
        with use_span(made):
            yield made
    except BaseException as error:
        mark_failed(made, error)
        raise
    finally:
        made.end()


def start_span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    context: Context | None = None,
    links: Iterable[Link] = (),
    attributes: Attributes = NOTHING,
) -> Span:
    """Return a span that begins now and that the caller ends; one that is not recorded without tracing."""
    return _tracer.start_span(name, context, kind, attributes, list(links)) if _tracer else INVALID_SPAN


@contextlib.contextmanager
def use_span(made: Span) -> Iterator[None]:
    """Make a span the current one, for log lines as well; it is not ended."""
    ids = made.get_span_context()
    with (
        trace.use_span(made, record_exception=False, set_status_on_exception=False),
        log_ids(trace_id=f"{ids.trace_id:032x}", span_id=f"{ids.span_id:016x}"),
    ):
        yield


def mark_failed(failed: Span, error: BaseException) -> None:
    """Say of a span that it failed, and with which error."""
    failed.set_status(StatusCode.ERROR, type(error).__name__)
    failed.set_attribute("error.type", type(error).__name__)


def remote_context(traceparent: str | None) -> Context:
    """Return the context in which a span goes on with what another process began, or begins a trace if it is None."""
    return _PROPAGATOR.extract({"traceparent": traceparent}, Context()) if traceparent else Context()


def current_traceparent() -> str | None:
    """Return the current span as other processes are told of it; None without one."""
    if _tracer is None:
        return None
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def current_trace_id() -> str | None:
    """Return the id by which the current trace is found in a viewer; None without one."""
    context = trace.get_current_span().get_span_context() if _tracer else None
    return f"{context.trace_id:032x}" if context and context.is_valid else None


# ---------------------------------------------------------------- what is done for learners


class handling:  # noqa: N801 - read as a function; see `log_ids`
    """Let `step` and `steps` know whose updates are being handled; the span of a lone one becomes the current one."""

    __slots__ = ("_handled", "_inner", "_token")

    def __init__(self, handled: Mapping[LearnerId, Handled]) -> None:
        self._handled = handled
        self._inner: contextlib.AbstractContextManager[None] = _NO_STEPS
        if len(handled) == 1:
            (one,) = handled.values()
            self._inner = _alone(one, one.span) if one.span else log_ids(update=one.update)

    def __enter__(self) -> None:
        self._token = _handled.set(self._handled)
        self._inner.__enter__()
        if _tracer and (run := current_ids().get("run")):
            for one in self._handled.values():
                if one.span:
                    one.span.set_attribute("prefect.flow_run.id", str(run))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, traceback)
        _handled.reset(self._token)


@contextlib.contextmanager
def _alone(one: Handled, made: Span) -> Iterator[None]:
    with log_ids(update=one.update), use_span(made):
        yield


def step(
    name: str,
    learner_id: LearnerId,
    *,
    quiz: QuizId | None = None,
    traceparent: str | None = None,
    attributes: Attributes = NOTHING,
) -> contextlib.AbstractContextManager[None]:
    """Do something for one learner: below the span of their update, else in the trace that their quiz has.

    Without either it begins a trace, with a link to what is under way. Log lines carry the ids, also without tracing.

    Args:
        traceparent: the quiz's.
    """
    handled = _handled.get().get(learner_id)
    ids = log_ids(update=handled.update if handled else None, quiz=quiz)
    if _tracer is None:
        return ids
    if quiz is not None:
        attributes = {**attributes, "quiz.id": quiz}
    around = trace.get_current_span().get_span_context()
    if handled and handled.span:
        context, links = trace.set_span_in_context(handled.span, Context()), []
    else:
        context, links = remote_context(traceparent), [Link(around)] if around.is_valid else []
    return _step(ids, _span(name, SpanKind.INTERNAL, context, links, attributes))


@contextlib.contextmanager
def _step(ids: log_ids, made: contextlib.AbstractContextManager[Span]) -> Iterator[None]:
    with ids, made:
        yield


def steps(name: str, learner_ids: Iterable[LearnerId]) -> contextlib.AbstractContextManager[None]:
    """Do something for several learners at once, with a span in the trace of each whose update is being handled.

    If it is nobody's, it is one span in the current trace.
    """
    return _steps(name, learner_ids) if _tracer else _NO_STEPS


@contextlib.contextmanager
def _steps(name: str, learner_ids: Iterable[LearnerId]) -> Iterator[None]:
    before = _handled.get()
    above = {one: before[one] for one in learner_ids if one in before}
    if not above:
        with span(name):
            yield
        return
    spans = {
        learner_id: start_span(name, context=trace.set_span_in_context(handled.span or INVALID_SPAN, Context()))
        for learner_id, handled in above.items()
    }
    token = _handled.set({**before, **{one: replace(above[one], span=made) for one, made in spans.items()}})
    try:
        yield
    except BaseException as error:
        for made in spans.values():
            mark_failed(made, error)
        raise
    finally:
        _handled.reset(token)
        for made in spans.values():
            made.end()
