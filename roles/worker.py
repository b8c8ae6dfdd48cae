"""The worker: takes stored updates, answers commands, and runs the flows for quizzes and answers in micro-batches."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import prefect_flows
import telegram_bot
from bot.texts import TRY_AGAIN_TEXT
from domain.callbacks import AnswerTap, NextReview
from domain.catalog import QuizKind
from domain.errors import (
    BotRefusedError,
    PrefectUnavailableError,
    QuizServiceError,
    RateLimitedError,
    StorageUnavailableError,
    TelegramError,
)
from domain.ids import LearnerId, QuizId, UpdateRow
from domain.models import Delivery
from domain.service_state import Role
from domain.updates import ClaimedUpdate, UpdateKind
from flows.availability import PrefectBreaker
from flows.batch_window import Report, Work
from flows.lost_runs import close_lost_runs
from flows.standing_run import StandingRun
from observability import metrics, tracing
from observability.background import run_forever, wait_at_most
from observability.logs import redact
from question_sources.llm.gauges import show_generations, show_questions
from quizzes import delivery, grading, maintenance
from quizzes.stale_messages import close_messages
from repository import UPDATES_CHANNEL
from roles.batching import MAX_BATCH, BatchQueue
from roles.update_spans import UpdateSpans
from wiring import HEARTBEAT_SECONDS, Runtime, name_process, send_heartbeats

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 600
MAX_ATTEMPTS = 8
KEPT_FOR_BOT = timedelta(days=1)
"""How long updates of a refused bot are kept for its return; Telegram keeps updates as long."""
REFUSED_PAUSE = timedelta(seconds=30)
POLL_SECONDS = 1.0
POLL_SECONDS_WITHOUT_LISTEN = 0.2
DRAIN_SECONDS = 4.0
END_SECONDS = 2.0
"""After the drain, for the ends of the flow runs."""

CANCEL_SECONDS = 1.0
"""After that, for what is cut off: with all three and the exit, a SIGTERM takes less than 10 s."""

RUNS_AT_ONCE = 2
"""Batches of a queue under way: while one waits for the database, the other keeps Telegram's rate filled."""
RECOVER_SECONDS = 30.0
LOOK_SHARE = 100
"""Looking for stalled quizzes takes at most 1/100 of the time, however many wait for a refused bot."""
TAKE_AGAIN_SECONDS = 1.0
LISTEN_AGAIN_SECONDS = 1.0
WATCH_SECONDS = 60.0
LOST_RUNS_SECONDS = 60.0
NAMED_IN_LOG = 5

Failures = Mapping[LearnerId, Exception]
"""Whose updates are to be handled again, and why."""


class Worker:
    """Handles the stored updates."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._repository = runtime.repository
        self._context = runtime.context
        self._breaker = PrefectBreaker(runtime.settings.prefect_api_url, runtime.settings.prefect_api_auth_string)
        self._name = name_process(Role.WORKER)
        self._grading = StandingRun(prefect_flows.ANSWERS, self._name, self._breaker)
        self._sending = StandingRun(prefect_flows.REQUESTS, self._name, self._breaker)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._in_flight: dict[UpdateRow, ClaimedUpdate] = {}
        self._spans = UpdateSpans()
        self._answers = BatchQueue(self._handle_answers)
        self._quizzes = BatchQueue(self._handle_quizzes)
        self._single: set[asyncio.Task[None]] = set()

    @property
    def standing_runs(self) -> tuple[StandingRun, StandingRun]:
        """The flow runs that show the grading of answers and the sending of questions."""
        return self._grading, self._sending

    def stop(self) -> None:
        """Take nothing new, finish what is under way, and return from `run`."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop` is called."""
        background = [
            asyncio.create_task(coroutine)
            for coroutine in (
                self._breaker.watch(),
                *(queue.run() for queue in (self._answers, self._quizzes) for _ in range(RUNS_AT_ONCE)),
                send_heartbeats(self._repository, Role.WORKER, self._name),
                run_forever("claims", self._renew_claims, pause=HEARTBEAT_SECONDS),
                run_forever("question gauges", self._watch_questions, pause=WATCH_SECONDS),
                *(account.gateway.watch() for account in self._runtime.accounts),
                *self._listening(),
                run_forever("recovery", self._recover),
                run_forever("stalled quizzes", self._send_stalled),
                run_forever("lost flow runs", self._close_lost_runs, pause=LOST_RUNS_SECONDS),
            )
        ]
        keeping = [asyncio.create_task(run.keep()) for run in self.standing_runs]
        try:
            await run_forever("taking updates", self._take, max_pause=TAKE_AGAIN_SECONDS, until=self._stopping)
            await self._drain()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*(run.end(END_SECONDS) for run in self.standing_runs))
        finally:
            background += keeping
            held, running = list(self._in_flight), [*background, *self._single]
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=CANCEL_SECONDS)
            with contextlib.suppress(StorageUnavailableError):  # the claims run out and the updates are taken again
                await self._repository.return_updates(held)

    # ------------------------------------------------------------ taking

    async def _take(self) -> None:
        """Claim what waits; sleep when there is nothing. Claims of an attempt that fails run out."""
        self._wake.clear()
        room = min(MAX_BATCH, MAX_IN_FLIGHT - len(self._in_flight))
        refused = self._runtime.accounts.refused()
        claimed = await self._repository.claim_updates(room, refused, KEPT_FOR_BOT) if room > 0 else []
        claimed = [await self._adopt_orphan(update) for update in claimed]
        await self._dispatch(claimed)
        if not claimed:
            pooler = self._runtime.settings.database_pooler
            pause = POLL_SECONDS_WITHOUT_LISTEN if pooler else POLL_SECONDS
            await wait_at_most(self._wake, pause)

    async def _dispatch(self, claimed: Sequence[ClaimedUpdate]) -> None:
        """Hand updates on: what is handled in batches to its queue, everything else to a task of its own."""
        queues = {update.row: queue for update in claimed if (queue := self._queue_of(update))}
        busy = await self._find_busy([update for update in claimed if update.row in queues])
        self._in_flight |= {update.row: update for update in claimed}  # from here on nothing fails
        for update in claimed:
            self._spans.begin(update)
            if queue := queues.get(update.row):
                self._enqueue(queue, update, busy.get(update.row, 0.0))
                continue
            self._start(self._handle_single(update))

    def _start(self, handling: Coroutine[None, None, None]) -> None:
        """Let the handling of updates go on beside what is handled in batches."""
        task = asyncio.create_task(handling)
        self._single.add(task)
        task.add_done_callback(self._single.discard)

    def _queue_of(self, update: ClaimedUpdate) -> BatchQueue | None:
        action = telegram_bot.requested_action(update)
        if isinstance(action, AnswerTap):
            return self._answers
        return None if action is None or update.is_for_other_bot else self._quizzes

    async def _find_busy(self, updates: Sequence[ClaimedUpdate]) -> dict[UpdateRow, float]:
        """Return the updates whose learners' chats take no message now, and for how many seconds they take none."""
        found: dict[UpdateRow, float] = {}
        for account in self._runtime.accounts:
            own = [one for one in updates if (one.home_bot_id or one.bot_id) == account.id]
            waits = await account.gateway.find_busy_chats([one.learner_id for one in own])
            found |= {one.row: waits[one.learner_id] for one in own if one.learner_id in waits}
        return found

    def _enqueue(self, queue: BatchQueue, update: ClaimedUpdate, wait: float) -> None:
        """Queue an update once its chat takes a message: a batch is done when its last message is sent."""
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, queue.put, [update])
        else:
            queue.put([update])

    async def _adopt_orphan(self, update: ClaimedUpdate) -> ClaimedUpdate:
        """Let a learner whose bot has left the service go on with the one that they write to."""
        if (
            not update.is_for_other_bot
            or update.home_bot_id in self._runtime.accounts
            or update.kind is UpdateKind.BLOCKED
        ):
            return update
        await self._repository.move_learner(update.learner_id, update.bot_id)
        return replace(update, home_bot_id=update.bot_id)

    async def _drain(self) -> None:
        """Wait for what is under way; what is not done in time is left to another worker."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._in_flight:  # noqa: ASYNC110 - many tasks empty it, within seconds of the end
                    await asyncio.sleep(0.05)

    # ------------------------------------------------------------ handling

    async def _handle_single(self, update: ClaimedUpdate) -> None:
        handle = telegram_bot.handle_update
        await self._run_and_ack([update], handle(self._context, self._runtime.accounts, update))

    async def _handle_quizzes(self, updates: Sequence[ClaimedUpdate]) -> None:
        attempts = itertools.count(max(update.attempts for update in updates))
        await self._do_batch(self._sending, updates, lambda: self._serve(updates, again=next(attempts) > 1))

    async def _handle_answers(self, updates: Sequence[ClaimedUpdate]) -> None:
        taken: list[QuizId] = []
        await self._do_batch(self._grading, updates, lambda: self._grade(updates, taken))

    async def _do_batch(self, run: StandingRun, updates: Sequence[ClaimedUpdate], work: Work) -> None:
        """Do a batch; one that fails is done again, and holds up no others meanwhile."""
        try:
            report = await run.do(work)
        except Exception as error:  # noqa: BLE001 - whatever it is, the rows say what is done
            self._start(self._run_and_ack(updates, _failures_of(run.retry(work, len(updates), error))))
        else:
            await self._run_and_ack(updates, _failures_of(report))

    async def _serve(self, updates: Sequence[ClaimedUpdate], *, again: bool) -> Report:
        """Send a question to each who asked for one.

        Args:
            again: only to those who still wait, after an attempt that may have reached some of them.
        """
        with self._spans.handling(updates):  # here, since the work is done in the context of a flow run
            return await self._serve_each_kind(updates, again=again)

    async def _serve_each_kind(self, updates: Sequence[ClaimedUpdate], *, again: bool) -> Report:
        reviews = [update for update in updates if isinstance(telegram_bot.requested_action(update), NextReview)]
        others = [update for update in updates if update not in reviews]
        deliveries: list[Delivery] = []
        failures: dict[LearnerId, Exception] = {}
        for some, kind in ((reviews, QuizKind.REVIEW), (others, QuizKind.ON_DEMAND)):
            learner_ids = await self._unserved(some) if again else _learner_ids(some)
            if learner_ids:
                served = await delivery.serve_quizzes(self._context, learner_ids, kind)
                failures |= await self._explain(some, served)
                deliveries += served
        return Report(deliveries, failures=failures)

    async def _explain(self, updates: Sequence[ClaimedUpdate], deliveries: Sequence[Delivery]) -> Failures:
        asked = {update.learner_id: update.bot_id for update in updates}
        return await telegram_bot.explain_missing(self._context, self._runtime.accounts, asked, deliveries)

    async def _unserved(self, updates: Sequence[ClaimedUpdate]) -> list[LearnerId]:
        asked_at = {update.learner_id: update.received_at for update in updates}
        served = await self._repository.find_open_quizzes(list(asked_at))
        return [
            learner_id
            for learner_id, moment in asked_at.items()
            if not (learner_id in served and (sent_at := served[learner_id].sent_at) and sent_at >= moment)
        ]

    async def _grade(self, updates: Sequence[ClaimedUpdate], taken: list[QuizId]) -> Report:
        """Take answers, grade them and tell the learners.

        Args:
            taken: the quizzes whose answer an attempt before has taken; those of this one are added.
        """
        in_order = sorted(updates, key=lambda update: update.row)
        with self._spans.handling(updates):  # here, since the work is done in the context of a flow run
            with tracing.steps("take answer", _learner_ids(updates)):
                counted = await self._repository.record_taps([tap for update in in_order if (tap := update.answer)])
                if counted:
                    metrics.GRADING_BATCH.observe(len(counted))
                taken += counted
                quizzes = await grading.validate_answers(self._context, taken) if taken else []
            deliveries = await grading.grade_validated(self._context, quizzes)
        return Report(deliveries, right=sum(quiz.is_correct for quiz in quizzes))

    async def _run_and_ack(self, updates: Sequence[ClaimedUpdate], work: Awaitable[Failures | None]) -> None:
        """Do the work, then mark its updates as handled; release those of learners for whom it failed, or all."""
        with self._spans.handling(updates):
            await self._finish(updates, work)

    async def _finish(self, updates: Sequence[ClaimedUpdate], work: Awaitable[Failures | None]) -> None:
        try:
            failures = await work or {}
            done = [update for update in updates if update.learner_id not in failures]
            await self._repository.finish_updates([update.row for update in done])
        except Exception as error:  # noqa: BLE001 - it must not hold up other updates
            await self._release(updates, error)
        else:
            self._note_handled(done, "done")
            for update in updates:
                if update not in done:
                    await self._release([update], failures[update.learner_id])
        finally:
            for update in updates:
                self._in_flight.pop(update.row, None)
                self._spans.end(update)
            self._wake.set()

    async def _release(self, updates: Sequence[ClaimedUpdate], error: Exception) -> None:
        if not isinstance(error, QuizServiceError | LookupError):
            logger.error("%s could not be handled", _rows_of(updates), exc_info=error)
        pending = []
        for update in updates:
            self._spans.mark_failed(update, error)
            give_up, pause = _plan_retry(update, error)
            with contextlib.suppress(StorageUnavailableError):  # the claim runs out and the update is taken again
                await self._repository.release_update(
                    update.row,
                    redact(str(error))[:500],
                    give_up=give_up,
                    pause=pause,
                    counts=not isinstance(error, BotRefusedError),
                )
            if not give_up:
                pending.append(update)
                continue
            logger.warning("update %d is given up after %d attempts: %s", update.row, update.attempts, error)
            if update.kind is not UpdateKind.BLOCKED:
                with contextlib.suppress(TelegramError, StorageUnavailableError):
                    await self._runtime.accounts.of(update.bot_id).gateway.send(update.learner_id, TRY_AGAIN_TEXT)
        if pending:
            logger.warning("%s will be handled again: %s", _rows_of(pending), error)
        self._note_handled(updates, "later")

    def _note_handled(self, updates: Sequence[ClaimedUpdate], outcome: str) -> None:
        now = datetime.now(UTC)
        for update in updates:
            metrics.UPDATES_HANDLED.labels(update.kind, outcome).inc()
            metrics.UPDATE_AGE_SECONDS.observe(max(0.0, (now - update.received_at).total_seconds()))

    # ------------------------------------------------------------ background

    async def _renew_claims(self) -> None:
        """Extend the claims of what is in flight."""
        if self._in_flight:
            await self._repository.extend_claims(list(self._in_flight))

    async def _watch_questions(self) -> None:
        """Show how many questions are in doubt, and what a language model makes and costs if there is one."""
        await show_questions(self._repository)
        if llm := self._runtime.context.generator.llm:
            await show_generations(self._repository, llm.breaker, self._runtime.settings)

    def _listening(self) -> list[Coroutine[None, None, None]]:
        """Return what listens; behind a transaction pooler, polling has to do."""
        if self._runtime.settings.database_pooler:
            return []
        return [run_forever("listening", self._listen, pause=LISTEN_AGAIN_SECONDS)]

    async def _listen(self) -> None:
        """Wake up on each stored update, until the connection is lost."""
        lost = asyncio.Event()

        def wake() -> None:
            self._wake.set()
            lost.set()

        close = await self._repository.database.listen(UPDATES_CHANNEL, self._wake.set, wake)
        try:
            await lost.wait()
        finally:
            await close()

    async def _close_lost_runs(self) -> None:
        """Show the flow runs as crashed that no worker keeps any more."""
        await self._breaker.wait_until_available()
        own = {run_id for run in self.standing_runs for run_id in run.ids}
        try:
            lost = await close_lost_runs(self._context, own, self._name)
        except StorageUnavailableError:
            raise
        except Exception as error:
            raise PrefectUnavailableError(type(error).__name__) from error
        if lost:
            logger.warning("%d flow runs of workers that are gone are marked as crashed", lost)

    async def _recover(self) -> None:
        """Grade and tell what a crash, here or elsewhere, left in the middle."""
        await asyncio.sleep(RECOVER_SECONDS)
        await maintenance.finish_answers(self._context)
        await close_messages(self._context)

    async def _send_stalled(self) -> None:
        """Send a batch of quizzes that nobody finished sending; return at once if there may be more."""
        began = time.monotonic()
        stalled = await maintenance.find_stalled(self._context)
        looked = time.monotonic() - began
        await maintenance.send_stalled(self._context, stalled)
        if len(stalled) < maintenance.RECOVERED_AT_ONCE:
            await asyncio.sleep(max(RECOVER_SECONDS, looked * LOOK_SHARE))


def _plan_retry(update: ClaimedUpdate, error: Exception) -> tuple[bool, timedelta]:
    """Return whether to give an update up, and how long to wait before the next attempt if not."""
    if isinstance(error, BotRefusedError):
        return datetime.now(UTC) - update.received_at > KEPT_FOR_BOT, REFUSED_PAUSE
    seconds = min(60.0, 2.0 ** min(update.attempts - 1, 6))
    if isinstance(error, RateLimitedError):
        seconds = max(seconds, error.retry_after)
    return update.attempts >= MAX_ATTEMPTS, timedelta(seconds=seconds)


def _rows_of(updates: Sequence[ClaimedUpdate]) -> str:
    rows = ", ".join(str(update.row) for update in updates[:NAMED_IN_LOG])
    more = f" and {len(updates) - NAMED_IN_LOG} more" if len(updates) > NAMED_IN_LOG else ""
    return f"update {rows}{more}"


async def _failures_of(report: Report | Awaitable[Report]) -> Failures:
    return (report if isinstance(report, Report) else await report).failures


def _learner_ids(updates: Sequence[ClaimedUpdate]) -> list[LearnerId]:
    return list(dict.fromkeys(update.learner_id for update in updates))
