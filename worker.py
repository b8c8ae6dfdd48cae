"""The worker: takes stored updates, answers commands, and runs the flows for quizzes and answers in micro-batches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
from prefect import tags

import prefect_flows
import quiz_grading
import quiz_session
import quiz_upkeep
import telegram_bot
from bot.callbacks import AnswerTap, NextReview
from bot.messages import TRY_AGAIN_TEXT
from domain.catalog import QuizKind
from domain.errors import QuizServiceError, StorageUnavailableError, TelegramError
from domain.ids import LearnerId, UpdateRow
from domain.models import ClaimedUpdate, Delivery, UpdateKind
from llm.watch import show_generations, show_questions
from observability import metrics
from repository import UPDATES_CHANNEL
from services import HEARTBEAT_SECONDS, Wiring, keep_beating

logger = logging.getLogger(__name__)

BATCH = 200
IN_FLIGHT = 600
MAX_ATTEMPTS = 8
POLL_SECONDS = 1.0
POLL_SECONDS_WITHOUT_LISTEN = 0.2
DRAIN_SECONDS = 4.0
CANCEL_SECONDS = 2.0
"""After that, for runs that are cut off: together with the drain and the exit, a SIGTERM takes less than 10 s."""

RUNS_AT_ONCE = 2
"""Batches of a lane under way: while one run begins or ends, the other keeps Telegram's rate filled."""
RECOVER_SECONDS = 30.0
PROBE_SECONDS = 5.0
WATCH_SECONDS = 60.0

Handle = Callable[[Sequence[ClaimedUpdate]], Awaitable[None]]


class PrefectBreaker:
    """Says whether the Prefect server answers; while it does not, work runs without it."""

    def __init__(self, api_url: str | None) -> None:
        """Take the server's address.

        Args:
            api_url: ends in ``/api``; None means that there is none.
        """
        self._health = f"{api_url}/health" if api_url else None
        self.closed = False
        self._probed = False

    async def watch(self) -> None:
        """Probe until cancelled."""
        async with httpx.AsyncClient(timeout=2) as client:
            while True:
                self._note(await self._answers(client))
                await asyncio.sleep(PROBE_SECONDS)

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        if self._health is None:
            return False
        try:
            return (await client.get(self._health)).is_success
        except httpx.HTTPError:
            return False

    def trip(self) -> None:
        """Note that a run failed for want of the server; the next probe may find it again."""
        self._note(answers=False)

    def _note(self, answers: bool) -> None:  # noqa: FBT001 - a plain reading
        if answers and not self.closed:
            logger.info("Prefect answers: work runs as flows")
        elif not answers and (self.closed or not self._probed):
            logger.warning("Prefect is away: work runs without it")
        self.closed, self._probed = answers, True
        metrics.PREFECT_AWAY.set(0 if answers else 1)


class Lane:
    """Handles one kind of work in micro-batches, each taking whatever has come in the meantime."""

    def __init__(self, handle: Handle) -> None:
        """Take what handles a batch.

        Args:
            handle: called with at least one update.
        """
        self._handle = handle
        self._waiting: list[ClaimedUpdate] = []
        self._wake = asyncio.Event()

    def put(self, updates: Sequence[ClaimedUpdate]) -> None:
        """Queue updates.

        Args:
            updates: claimed by this worker.
        """
        self._waiting.extend(updates)
        if updates:
            self._wake.set()

    async def run(self) -> None:
        """Handle batches until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            if self._waiting:
                self._wake.set()
            if batch:
                await self._handle(batch)


class Worker:
    """Drains the stored updates."""

    def __init__(self, wiring: Wiring) -> None:
        """Take what to work with.

        Args:
            wiring: open services.
        """
        self._wiring = wiring
        self._repository = wiring.repository
        self._services = wiring.services
        self._breaker = PrefectBreaker(wiring.settings.prefect_api_url)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._in_flight: dict[UpdateRow, ClaimedUpdate] = {}
        self._answers = Lane(self._handle_answers)
        self._quizzes = Lane(self._handle_quizzes)
        self._single: set[asyncio.Task[None]] = set()

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
                *(lane.run() for lane in (self._answers, self._quizzes) for _ in range(RUNS_AT_ONCE)),
                keep_beating(self._repository, "worker"),
                self._hold(),
                self._watch_questions(),
                self._listen(),
                self._recover(),
            )
        ]
        try:
            while not self._stopping.is_set():
                await self._take()
            await self._drain()
        finally:
            held, running = list(self._in_flight), [*background, *self._single]
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=CANCEL_SECONDS)
            with contextlib.suppress(StorageUnavailableError):  # the claims run out and the updates are taken again
                await self._repository.return_updates(held)

    # ------------------------------------------------------------ taking

    async def _take(self) -> None:
        """Claim what waits; sleep when there is nothing."""
        self._wake.clear()
        try:
            room = min(BATCH, IN_FLIGHT - len(self._in_flight))
            claimed = await self._repository.claim_updates(room) if room > 0 else []
            claimed = [await self._at_home(update) for update in claimed]
        except StorageUnavailableError as error:
            logger.warning("%s: trying again", error)
            claimed = []
            await asyncio.sleep(1)
        await self._dispatch(claimed)
        if not claimed:
            pooler = self._wiring.settings.database_pooler
            pause = POLL_SECONDS_WITHOUT_LISTEN if pooler else POLL_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _dispatch(self, claimed: Sequence[ClaimedUpdate]) -> None:
        """Hand updates on: what is handled in batches to its lane, everything else to a task of its own."""
        self._in_flight |= {update.row: update for update in claimed}
        lanes = {update.row: lane for update in claimed if (lane := self._lane_of(update))}
        busy = await self._find_busy([update for update in claimed if update.row in lanes])
        for update in claimed:
            if lane := lanes.get(update.row):
                self._enter(lane, update, busy.get(update.row, 0.0))
                continue
            task = asyncio.create_task(self._handle_single(update))
            self._single.add(task)
            task.add_done_callback(self._single.discard)

    def _lane_of(self, update: ClaimedUpdate) -> Lane | None:
        meaning = telegram_bot.meaning(update)
        if isinstance(meaning, AnswerTap):
            return self._answers
        return None if meaning is None or update.is_stray else self._quizzes

    async def _find_busy(self, updates: Sequence[ClaimedUpdate]) -> dict[UpdateRow, float]:
        """Return the updates whose learners' chats take no message now, and for how many seconds they take none."""
        found: dict[UpdateRow, float] = {}
        for account in self._wiring.accounts:
            own = [one for one in updates if (one.home_bot_id or one.bot_id) == account.id]
            waits = await account.gateway.find_busy_chats([one.learner_id for one in own])
            found |= {one.row: waits[one.learner_id] for one in own if one.learner_id in waits}
        return found

    def _enter(self, lane: Lane, update: ClaimedUpdate, wait: float) -> None:
        """Put an update into its lane, once its chat takes a message: a batch is done when its last message is sent."""
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, lane.put, [update])
        else:
            lane.put([update])

    async def _at_home(self, update: ClaimedUpdate) -> ClaimedUpdate:
        """Let a learner whose bot has left the service go on with the one that they write to."""
        if not update.is_stray or update.home_bot_id in self._wiring.accounts or update.kind is UpdateKind.BLOCKED:
            return update
        await self._repository.move_learner(update.learner_id, update.bot_id)
        return replace(update, home_bot_id=update.bot_id)

    async def _drain(self) -> None:
        """Wait for what is under way; what is not done by then is left to another worker."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._in_flight:  # noqa: ASYNC110 - many tasks empty it, within seconds of the end
                    await asyncio.sleep(0.05)

    # ------------------------------------------------------------ handling

    async def _handle_single(self, update: ClaimedUpdate) -> None:
        handle = telegram_bot.handle_update
        await self._settle([update], lambda: handle(self._services, self._wiring.accounts, update))

    async def _handle_quizzes(self, updates: Sequence[ClaimedUpdate]) -> None:
        await self._settle(updates, lambda: self._serve(updates))

    async def _serve(self, updates: Sequence[ClaimedUpdate]) -> None:
        reviews = [update for update in updates if isinstance(telegram_bot.meaning(update), NextReview)]
        if reviews:
            await self._serve_kind(reviews, QuizKind.REVIEW)
        if others := [update for update in updates if update not in reviews]:
            await self._serve_kind(others, QuizKind.ON_DEMAND)

    async def _serve_kind(self, updates: Sequence[ClaimedUpdate], kind: QuizKind) -> None:
        learner_ids = await self._unserved(updates) if any(update.attempts > 1 for update in updates) else _ids(updates)
        if not learner_ids:
            return
        if self._runs_flows:
            try:
                with tags("on demand"):
                    deliveries = await prefect_flows.execute_user_quiz_flow([int(i) for i in learner_ids], kind)
            except Exception as error:  # noqa: BLE001 - whatever the flow engine raises, the rows say what is done
                self._flow_failed(error)
                learner_ids = await self._unserved(updates)
            else:
                await self._explain(updates, deliveries)
                return
        await self._explain(updates, await quiz_session.serve_quizzes(self._services, learner_ids, kind))

    async def _explain(self, updates: Sequence[ClaimedUpdate], deliveries: Sequence[Delivery]) -> None:
        asked = {update.learner_id: update.bot_id for update in updates}
        await telegram_bot.explain_missing(self._services, self._wiring.accounts, asked, deliveries)

    async def _unserved(self, updates: Sequence[ClaimedUpdate]) -> list[LearnerId]:
        """Return who still waits, after a try that may have reached some of them."""
        asked_at = {update.learner_id: update.received_at for update in updates}
        served = await self._repository.find_open_quizzes(list(asked_at))
        return [
            learner_id
            for learner_id, moment in asked_at.items()
            if not (learner_id in served and (sent_at := served[learner_id].sent_at) and sent_at >= moment)
        ]

    async def _handle_answers(self, updates: Sequence[ClaimedUpdate]) -> None:
        await self._settle(updates, lambda: self._grade(updates))

    async def _grade(self, updates: Sequence[ClaimedUpdate]) -> None:
        results = await asyncio.gather(*(telegram_bot.handle_answer(self._services, update) for update in updates))
        counted = [quiz_id for quiz_id in results if quiz_id is not None]
        if not counted:
            return
        metrics.GRADING_BATCH.observe(len(counted))
        if self._runs_flows:
            try:
                with tags("answers"):
                    await prefect_flows.grade_answers_flow([int(quiz_id) for quiz_id in counted])
            except Exception as error:  # noqa: BLE001 - whatever the flow engine raises, the rows say what is done
                self._flow_failed(error)
            else:
                return
        await quiz_grading.grade_answers(self._services, counted)

    @property
    def _runs_flows(self) -> bool:
        """Return whether work is to run as flows: not without the server, nor in the last seconds of this process."""
        return self._breaker.closed and not self._stopping.is_set()

    def _flow_failed(self, error: Exception) -> None:
        """Go on without Prefect until it answers again; the plain functions do what the run left undone."""
        logger.warning("a flow run failed (%s), its work is finished without Prefect", type(error).__name__)
        if not isinstance(error, QuizServiceError):
            self._breaker.trip()

    async def _settle(self, updates: Sequence[ClaimedUpdate], work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, then mark its updates as handled, or give them back."""
        try:
            await work()
            await self._repository.finish_updates([update.row for update in updates])
        except (QuizServiceError, LookupError) as error:
            await self._give_back(updates, error)
        except Exception as error:
            logger.exception("an update could not be handled")
            await self._give_back(updates, error)
        else:
            self._note_handled(updates, "done")
        finally:
            for update in updates:
                self._in_flight.pop(update.row, None)
            self._wake.set()

    async def _give_back(self, updates: Sequence[ClaimedUpdate], error: Exception) -> None:
        for update in updates:
            give_up = update.attempts >= MAX_ATTEMPTS
            pause = timedelta(seconds=min(60, 2 ** (update.attempts - 1)))
            with contextlib.suppress(StorageUnavailableError):  # the claim runs out and the update is taken again
                await self._repository.release_update(update.row, str(error)[:500], give_up=give_up, pause=pause)
            if give_up and update.kind is not UpdateKind.BLOCKED:
                with contextlib.suppress(TelegramError, StorageUnavailableError):
                    await self._wiring.accounts.of(update.bot_id).gateway.send(update.learner_id, TRY_AGAIN_TEXT)
        logger.warning("%d update(s) will be handled later: %s", len(updates), error)
        self._note_handled(updates, "later")

    def _note_handled(self, updates: Sequence[ClaimedUpdate], outcome: str) -> None:
        now = datetime.now(UTC)
        for update in updates:
            metrics.UPDATES_HANDLED.labels(update.kind, outcome).inc()
            metrics.UPDATE_AGE_SECONDS.observe(max(0.0, (now - update.received_at).total_seconds()))

    # ------------------------------------------------------------ background

    async def _hold(self) -> None:
        """Say every few seconds what this worker still holds."""
        while True:
            with contextlib.suppress(StorageUnavailableError):
                if self._in_flight:
                    await self._repository.extend_claims(list(self._in_flight))
                waiting, _ = await self._repository.count_waiting_updates()
                metrics.UPDATES_WAITING.set(waiting)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _watch_questions(self) -> None:
        """Show how many questions are in doubt, and what a language model makes and costs if there is one."""
        while True:
            with contextlib.suppress(StorageUnavailableError):
                await show_questions(self._repository)
                if llm := self._wiring.services.generator.llm:
                    await show_generations(self._repository, llm.gate, self._wiring.settings)
            await asyncio.sleep(WATCH_SECONDS)

    async def _listen(self) -> None:
        """Wake up on each stored update; behind a transaction pooler, polling has to do."""
        while not self._wiring.settings.database_pooler:
            lost = asyncio.Event()

            def wake(event: asyncio.Event = lost) -> None:
                self._wake.set()
                event.set()

            try:
                close = await self._repository.database.listen(UPDATES_CHANNEL, self._wake.set, wake)
            except StorageUnavailableError:
                await asyncio.sleep(1)
                continue
            try:
                await lost.wait()
            finally:
                await close()

    async def _recover(self) -> None:
        """Finish what a crash, here or elsewhere, left in the middle."""
        while True:
            await asyncio.sleep(RECOVER_SECONDS)
            try:
                await quiz_upkeep.recover(self._services)
            except QuizServiceError as error:
                logger.warning("recovery has to wait: %s", error)
            except Exception:
                logger.exception("recovery failed")


def _ids(updates: Sequence[ClaimedUpdate]) -> list[LearnerId]:
    return list(dict.fromkeys(update.learner_id for update in updates))
