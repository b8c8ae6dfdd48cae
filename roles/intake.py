"""Stores updates that are no flood, wakes the workers, and answers taps at once."""

from __future__ import annotations

import asyncio
import time

from opentelemetry.trace import SpanKind

from bot import texts
from domain.callbacks import AnswerTap, CloseReport, OpenReport, ReportButton, quiz_of
from domain.ids import BotId
from domain.updates import AcceptedUpdate, Incoming, IntakeResult, TapVerdict, UpdateKind
from observability import metrics, tracing
from observability.background import run_forever
from repository import UPDATES_CHANNEL, Repository
from roles.flood import UPDATES_PER_SECOND, FloodLimiter
from wiring import Connections


async def accept_update(
    repository: Repository, bot_id: BotId, update: Incoming, limiter: FloodLimiter
) -> AcceptedUpdate:
    """Store an update, unless it is part of a flood.

    Raises:
        StorageUnavailableError: it is not stored; Telegram must deliver it again.
    """
    now = time.monotonic()
    if rejected := await limiter.reject(update, now):
        metrics.UPDATES_SHED.labels("repeated" if rejected.result is IntakeResult.COALESCED else "waiting").inc()
        return rejected
    accepted = await store_update(repository, bot_id, update)
    limiter.note_stored(update, accepted.verdict, now, is_new=accepted.is_new)
    return accepted


async def store_update(repository: Repository, bot_id: BotId, update: Incoming) -> AcceptedUpdate:
    """Store an update unless it is a redelivery, and count it.

    Raises:
        StorageUnavailableError: it is not stored.
    """
    with tracing.span(
        f"receive {update.kind}",
        SpanKind.SERVER,
        traceparent=await _find_trace(repository, update) if tracing.is_tracing() else None,
        attributes={"quiz.bot.id": bot_id},
    ):
        is_new, verdict = await repository.store_update(bot_id, update, tracing.current_traceparent())
    if is_new:
        metrics.UPDATES_RECEIVED.labels(update.kind).inc()
    else:
        metrics.UPDATES_REDELIVERED.inc()
    return AcceptedUpdate(update, IntakeResult.STORED if is_new else IntakeResult.DUPLICATE, verdict)


async def _find_trace(repository: Repository, update: Incoming) -> str | None:
    """Return the span in which the quiz was sent that a tap is about: the tap goes on with its trace."""
    quiz_id = quiz_of(update.callback)
    return await repository.get_traceparent(quiz_id, update.learner_id) if quiz_id is not None else None


def callback_answer(accepted: AcceptedUpdate) -> str | None:
    """Return the text of the notification for a tap; None for no notification, or an update that is no tap."""
    is_coalesced_answer = accepted.result is IntakeResult.COALESCED and isinstance(accepted.update.callback, AnswerTap)
    if accepted.update.kind is not UpdateKind.TAP or is_coalesced_answer:
        return None
    if accepted.result is IntakeResult.DROPPED:
        return texts.TOO_QUICK
    match accepted.update.callback, accepted.verdict:
        case None, _:
            text = texts.CALLBACK_ANSWERS[TapVerdict.UNKNOWN]
        case AnswerTap(), TapVerdict.ANSWERED | TapVerdict.REPEATED if accepted.result is IntakeResult.DUPLICATE:
            text = texts.CALLBACK_ANSWERS[TapVerdict.FRESH]  # the very tap that counted, delivered again
        case ReportButton(), TapVerdict.FRESH:
            text = texts.REPORT_TOO_EARLY
        case OpenReport(reason=reason), TapVerdict.ANSWERED:
            text = texts.REPORT_AGAIN if reason else None
        case CloseReport(), TapVerdict.ANSWERED:
            text = None
        case ReportButton(), TapVerdict.ANSWERED:
            text = texts.REPORT_THANKS
        case _, verdict:
            text = texts.CALLBACK_ANSWERS[verdict]
    return text


class WorkerNotifier:
    """Wakes the workers after updates were stored: one NOTIFY for many, since each one makes commits wait."""

    def __init__(self, connections: Connections) -> None:
        self._database = connections.repository.database
        self._silent = connections.settings.database_pooler
        self._wanted = asyncio.Event()

    def notify(self) -> None:
        """Wake the workers soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Notify until cancelled; a lost notification costs a learner no more than the workers' next poll."""
        if not self._silent:
            await run_forever("waking workers", self._notify_once)

    async def _notify_once(self) -> None:
        await self._wanted.wait()
        self._wanted.clear()
        await self._database.notify(UPDATES_CHANNEL)


class UpdateIntake:
    """Stores the updates of all bots that are no flood, and wakes the workers."""

    def __init__(self, connections: Connections) -> None:
        self._repository = repository = connections.repository
        self._limiters = {
            account.id: FloodLimiter(repository.count_waiting_of_learner, UPDATES_PER_SECOND, redis=connections.redis)
            for account in connections.accounts
        }
        self.notifier = WorkerNotifier(connections)

    async def accept(self, bot_id: BotId, update: Incoming) -> AcceptedUpdate:
        """Store an update unless it is part of a flood; see `accept_update`."""
        accepted = await accept_update(self._repository, bot_id, update, self._limiters[bot_id])
        if accepted.is_new:
            self.notifier.notify()
        return accepted
