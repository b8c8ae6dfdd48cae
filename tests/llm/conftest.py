"""A language model on a socket, a Valkey that nobody else uses, and a source between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import asyncpg
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from domain.settings import Settings
from llm.source import LlmSource
from redis_store import open_redis
from repository import Repository
from tests.factories import some_id
from tests.llm.support import KEY, Desk
from tests.llm_server import LlmServer, serve_llm
from tests.pooler import Route, connect


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test depend on the environment it is started in."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
async def repository_url(postgres_url: Callable[[str], str], template_database: str, route: Route) -> str:
    """Return the URL of a database that these tests share, since copying takes longer than most of them."""
    name = f"llm_{some_id()}"
    admin = await asyncpg.connect(postgres_url("postgres"))
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    await admin.close()
    return route(postgres_url(name))


@pytest.fixture(scope="session")
async def bank_of_models(repository_url: str) -> AsyncIterator[Repository]:
    """Yield a repository on that database."""
    repository = Repository(await connect(repository_url))
    yield repository
    await repository.close()


@pytest.fixture
async def repository(bank_of_models: Repository) -> AsyncIterator[Repository]:
    """Yield that repository, and leave the small bank behind as it was."""
    pool = bank_of_models.database._pool  # noqa: SLF001 - the service itself deletes nothing of this
    last = await pool.fetchval("SELECT max(id) FROM questions")
    yield bank_of_models
    await pool.execute("DELETE FROM learners")
    await pool.execute("DELETE FROM generations")
    await pool.execute("DELETE FROM questions WHERE id > $1", last)
    await pool.execute("UPDATE questions SET tags = '{numbers}'")


@pytest.fixture
async def llm() -> AsyncIterator[LlmServer]:
    """Yield a language model of our own."""
    async with serve_llm() as server:
        yield server


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, valkey_url: str) -> str:
    """Return the URL of a Valkey database that only these tests use, or of several Valkeys if a test names them."""
    if together := getattr(request, "param", None):
        return str(request.getfixturevalue(together).url)
    return valkey_url.removesuffix("/0") + "/7"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Yield that Valkey, empty."""
    redis = open_redis(redis_url)
    await redis.flushdb()
    yield redis
    await redis.aclose()


@pytest.fixture
def settings(llm: LlmServer) -> Settings:
    """Return settings with a key, in which a learner may wait long and money is no object."""
    return Settings(
        _env_file=None,
        openai_api_key=SecretStr(KEY),
        openai_base_url=llm.url,
        openai_timeout_seconds=5,
        openai_live_seconds=8,
        openai_daily_budget_usd=100,
    )


NewDesk = Callable[..., Desk]


@pytest.fixture
async def new_desk(llm: LlmServer, repository: Repository, redis: Redis, settings: Settings) -> AsyncIterator[NewDesk]:
    """Yield what opens a source with settings that differ, as one more process would."""
    async with AsyncExitStack() as stack:

        def open_desk(**changes: object) -> Desk:
            changed = settings.model_copy(update=changes)
            source = LlmSource.connect(repository, changed, redis)
            stack.push_async_callback(source.close)
            return Desk(source, repository, redis, changed, llm)

        yield open_desk


@pytest.fixture
def desk(new_desk: NewDesk) -> Desk:
    """Return a source of the model's questions."""
    return new_desk()
