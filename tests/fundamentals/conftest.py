"""The classroom that these tests play in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from domain.settings import Settings
from repository import Repository
from tests.factories import some_id
from tests.fundamentals.classroom import Classroom
from tests.pooler import Route, connect


@pytest.fixture(scope="session")
async def shared_database_url(postgres_url: Callable[[str], str], template_database: str, route: Route) -> str:
    """Return the URL of a copy of the template for tests that need a learner of their own, not a database."""
    name = f"shared_{some_id()}"
    admin = await asyncpg.connect(postgres_url("postgres"))
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    await admin.close()
    return route(postgres_url(name))


@pytest.fixture(scope="session")
async def shared_repository(shared_database_url: str) -> AsyncIterator[Repository]:
    """Yield a repository on the shared database."""
    repository = Repository(await connect(shared_database_url))
    yield repository
    await repository.close()


@pytest.fixture
def classroom(shared_repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Classroom:
    """Return a classroom with the defaults that a fresh clone has; its learners are its own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return Classroom(shared_repository, Settings(_env_file=None))
