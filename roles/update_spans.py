"""The span of each update that a worker handles, from its claim to its end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from opentelemetry.trace import Span, SpanKind

from domain.ids import UpdateRow
from domain.updates import ClaimedUpdate, UpdateKind
from observability import tracing
from observability.tracing import Handled


class UpdateSpans:
    """The spans of the updates in hand; without tracing there are none."""

    def __init__(self) -> None:
        self._spans: dict[UpdateRow, Span] = {}

    def begin(self, update: ClaimedUpdate) -> None:
        """Begin the span of an update, in the trace in which it was received."""
        if not tracing.is_tracing():
            return
        about: tracing.Attributes = {
            "quiz.update.id": update.row,
            "quiz.update.action": update.content
            if update.kind is UpdateKind.COMMAND
            else type(update.callback).__name__,
            "quiz.update.attempt": update.attempts,
            "quiz.bot.id": update.bot_id,
        }
        context = tracing.remote_context(update.traceparent)
        self._spans[update.row] = tracing.start_span(f"handle {update.kind}", SpanKind.CONSUMER, context, (), about)

    def handling(self, updates: Sequence[ClaimedUpdate]) -> AbstractContextManager[None]:
        """Let what is done meanwhile be done for these updates; see `tracing.handling`."""
        return tracing.handling({one.learner_id: Handled(one.row, self._spans.get(one.row)) for one in updates})

    def mark_failed(self, update: ClaimedUpdate, error: Exception) -> None:
        """Note what this attempt failed with."""
        if made := self._spans.get(update.row):
            tracing.mark_failed(made, error)

    def end(self, update: ClaimedUpdate) -> None:
        """End the span of an update, if it has one."""
        if made := self._spans.pop(update.row, None):
            made.end()
