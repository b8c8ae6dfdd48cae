"""The worker's end: what it holds is finished, or left to others at once."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

import worker
from domain.settings import Settings
from local import servers
from tests.support import Learner, running_service

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
