"""The worker: what one learner meets is no matter of the others, and what it holds at its end is left to others."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

import worker
from domain.ids import LearnerId
from domain.models import Delivery, Outcome
from domain.settings import Settings
from local import servers
from quiz_session import NO_REVIEW
from telegram_bot import explain_missing
from tests.factories import BOT_ID
from tests.support import Learner, Service, running_service

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
        async with asyncio.timeout(20):
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
    repository, ids = service.wiring.repository, [LearnerId(one.id) for one in (away, here)]
    await repository.set_blocked(ids[0], BOT_ID, blocked=False)  # as if Telegram had not said so yet
    deliveries = [Delivery(one, Outcome.SKIPPED, NO_REVIEW) for one in ids]
    await explain_missing(service.wiring.services, service.wiring.accounts, dict.fromkeys(ids, BOT_ID), deliveries)
    assert [state.blocked for one in ids if (state := await repository.get_user_state(one))] == [True, False]
    await here.wait_for(lambda message: "review" in message["text"].lower())
