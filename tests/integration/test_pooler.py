"""PgBouncer in transaction mode: queries in a row meet different connections of the database, and nothing is mixed up.

Tests that are marked `pooler` run through it a second time; `make test-pooler` runs all that need a database.
"""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import StartupError
from domain.ids import LearnerId
from domain.settings import Settings
from repository import Repository
from storage.database import Database
from tests.support.factories import BOT_ID, some_id
from tests.support.pooler import MISSING, USABLE

if not USABLE:
    pytest.skip(MISSING, allow_module_level=True)

pytestmark = pytest.mark.parametrize("route", [True], ids=["pooler"], indirect=True, scope="session")

AT_ONCE = 10
"""Connections that the service holds to the pooler, which has four of its own to the database."""


async def spread(repository: Repository) -> None:
    """Have the pooler open all of its connections."""
    pool = repository.database._pool  # noqa: SLF001 - a look behind the scenes
    await asyncio.gather(*(pool.execute("SELECT pg_sleep(0.05)") for _ in range(AT_ONCE)))


async def test_queries_in_a_row_meet_different_connections(repository: Repository) -> None:
    """What the other tests stand on."""
    await spread(repository)
    pool = repository.database._pool  # noqa: SLF001
    async with pool.acquire() as connection:
        met = [await connection.fetchval("SELECT pg_backend_pid()") for _ in range(AT_ONCE)]
        assert len(set(met)) > 1
        async with connection.transaction():
            kept = [await connection.fetchval("SELECT pg_backend_pid()") for _ in range(AT_ONCE)]
            assert len(set(kept)) == 1


async def test_everybody_gets_their_own_answer(repository: Repository) -> None:
    """Statements have no names here, so that another's would be taken for one's own if they met on a connection."""
    await spread(repository)
    settings = Settings(_env_file=None)
    ids = [LearnerId(some_id()) for _ in range(60)]
    registered = await asyncio.gather(*(repository.add_learner(one, BOT_ID, settings) for one in ids))
    assert [learner.id for learner, _ in registered] == ids
    found, counted = await asyncio.gather(
        asyncio.gather(*(repository.get_user_state(one) for one in ids)),
        asyncio.gather(*(repository.count_questions() for _ in ids)),
    )
    assert [learner and learner.id for learner in found] == ids
    assert counted == counted[:1] * len(ids)


async def test_a_pooler_that_nobody_announced_is_told_in_one_line(database_url: str) -> None:
    with pytest.raises(StartupError, match="set DATABASE_POOLER=true"):
        await Database.connect(database_url)
