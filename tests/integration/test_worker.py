"""The worker: what one learner meets is no matter of the others, and what it holds at its end is left to others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest

from domain.catalog import QuizKind
from domain.errors import BotRefusedError, RateLimitedError, TelegramError, TelegramUnavailableError
from domain.ids import BotId, LearnerId, UpdateRow
from domain.models import Delivery, Outcome
from domain.settings import Settings
from domain.updates import ClaimedUpdate, Incoming, UpdateKind
from local import servers
from quizzes import delivery
from quizzes.delivery import NO_REVIEW
from roles import worker
from telegram_bot import explain_missing
from tests.support.factories import BOT_ID, some_id
from tests.support.service import Learner, Service, running_service
from tests.support.waiting import WAIT_SECONDS
from wiring import open_runtime

_LATEST = "SELECT state, claimed_until <= now() AS free FROM updates ORDER BY id DESC LIMIT 1"


async def latest_update(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, object]:
    """Return how the latest update stands."""
    row = await connection.fetchrow(_LATEST)
    assert row is not None
    return dict(row)


async def test_what_a_worker_cannot_finish_before_its_end_is_left_to_others_at_once(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.2)
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    port = servers.free_port()
    async with running_service(settings, port) as service:
        learner = await service.new_learner()
        await service.settled()
        hang = {"method": "sendmessage", "kind": "hang", "seconds": 60, "applied": False}
        (await service.telegram.post("/api/faults", json=hang)).raise_for_status()
        await learner.say("/help")
        async with asyncio.timeout(WAIT_SECONDS):
            while (await latest_update(connection))["state"] != "claimed":
                await asyncio.sleep(0.02)
    assert await latest_update(connection) == {"state": "claimed", "free": True}
    await connection.close()
    async with running_service(settings, port) as service:
        again = Learner(service.telegram, learner.id)
        await again.wait_for(lambda message: "How it works" in message["text"])


async def test_a_learner_who_cannot_be_told_why_no_question_came_is_no_matter_of_the_others(service: Service) -> None:
    away, here = await service.new_learner(), await service.new_learner()
    (await service.telegram.post(f"/api/learners/{away.id}/block", json={})).raise_for_status()
    await service.settled()
    repository, ids = service.runtime.repository, [LearnerId(one.id) for one in (away, here)]
    await repository.set_blocked(ids[0], BOT_ID, blocked=False)  # as if Telegram had not said so yet
    deliveries = [Delivery(one, Outcome.SKIPPED, NO_REVIEW) for one in ids]
    await explain_missing(service.runtime.context, service.runtime.accounts, dict.fromkeys(ids, BOT_ID), deliveries)
    assert [state.blocked for one in ids if (state := await repository.get_user_state(one))] == [True, False]
    await here.wait_for(lambda message: "review" in message["text"].lower())


@pytest.mark.parametrize(
    ("error", "hours", "attempts", "gives_up", "seconds"),
    [
        (TelegramUnavailableError("no answer"), 0, 3, False, 4),
        (TelegramUnavailableError("no answer"), 0, 8, True, 60),
        (TelegramUnavailableError("no answer"), 0, 2_000, True, 60),
        (RateLimitedError(300), 0, 1, False, 300),
        (RateLimitedError(1), 0, 3, False, 4),
        (BotRefusedError(BOT_ID, "Unauthorized"), 23, 2_000, False, 30),
        (BotRefusedError(BOT_ID, "Unauthorized"), 25, 1, True, 30),
    ],
    ids=[
        "away",
        "away for long",
        "away after a refusal for long",
        "429",
        "a short 429",
        "refused",
        "refused for a day",
    ],
)
def test_what_fails_is_tried_again_as_long_as_it_may_still_succeed(
    error: TelegramError, hours: int, attempts: int, *, gives_up: bool, seconds: int
) -> None:
    received_at = datetime.now(UTC) - timedelta(hours=hours)
    update = ClaimedUpdate(
        UpdateRow(1), BOT_ID, LearnerId(1), UpdateKind.COMMAND, "help", None, None, received_at, attempts, BOT_ID
    )
    assert worker._plan_retry(update, error) == (gives_up, timedelta(seconds=seconds))  # noqa: SLF001 - takes days to see


async def test_refusals_of_the_bot_are_no_attempts_of_the_update(settings: Settings) -> None:
    update = Incoming(some_id(), LearnerId(some_id()), UpdateKind.COMMAND, "help", None)
    async with open_runtime(settings) as runtime:
        await runtime.repository.store_update(BOT_ID, update)
        for _ in range(2 * worker.MAX_ATTEMPTS):
            (claimed,) = await runtime.repository.claim_updates(10)
            assert claimed.attempts == 1
            error = BotRefusedError(BOT_ID, "Unauthorized")
            await worker.Worker(runtime)._release([claimed], error)  # noqa: SLF001 - the refusal would take minutes
            await runtime.repository.return_updates([claimed.row])  # as if the pause were over


async def test_what_waits_for_a_refused_bot_is_tried_once_and_keeps_no_others_waiting(settings: Settings) -> None:
    other, age = BotId(7), "UPDATE updates SET received_at = received_at - interval '25 hours' WHERE bot_id = $1"
    async with open_runtime(settings) as runtime:
        repository = runtime.repository

        async def store(bot_id: BotId) -> LearnerId:
            update = Incoming(some_id(), LearnerId(some_id()), UpdateKind.COMMAND, "help", None)
            await repository.store_update(bot_id, update)
            return update.learner_id

        async def claim(limit: int, *refused: BotId) -> list[LearnerId]:
            claimed = await repository.claim_updates(limit, refused, worker.KEPT_FOR_BOT)
            await repository.return_updates([update.row for update in claimed])  # as if it failed a while ago
            return [update.learner_id for update in claimed]

        held = [await store(BOT_ID) for _ in range(3)]
        assert await claim(10, BOT_ID) == held  # a tap, say, can be graded all the same
        served = [await store(other) for _ in range(2)]
        for _ in range(2):
            assert await claim(2, BOT_ID) == served
        assert await claim(10) == [*held, *served]
        await repository.database._pool.execute(age, BOT_ID)  # noqa: SLF001 - time cannot be sped up
        assert await claim(10, BOT_ID) == [*held, *served]  # to be given up


async def test_who_was_served_before_their_batch_is_taken_again_is_not_served_twice(settings: Settings) -> None:
    async with running_service(settings, servers.free_port()) as service:
        served, other = [LearnerId((await service.new_learner()).id) for _ in range(2)]
        await service.settled()
    async with (
        httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=WAIT_SECONDS) as telegram,
        open_runtime(settings) as runtime,
    ):
        for learner_id in (served, other):
            update = Incoming(some_id(), learner_id, UpdateKind.COMMAND, "quiz")
            await runtime.repository.store_update(BOT_ID, update)
        await delivery.serve_quizzes(runtime.context, [served], QuizKind.ON_DEMAND)
        before = {one: await Learner(telegram, one).messages() for one in (served, other)}
        batch = await runtime.repository.claim_updates(10)
        again = [replace(update, attempts=2) if update.learner_id == served else update for update in batch]
        await worker.Worker(runtime)._handle_quizzes(again)  # noqa: SLF001 - left to itself, it may make two batches
        after = {one: await Learner(telegram, one).messages() for one in (served, other)}
    assert len(after[served]) == len(before[served])
    assert len(after[other]) == len(before[other]) + 1
