"""A language model on a socket, a Valkey that nobody else uses, and a source between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from domain.settings import Settings
from question_sources.llm.source import LlmSource
from repository import Repository
from storage.redis_client import open_redis
from tests.integration.llm.support import KEY, Desk
from tests.support.factories import some_id
from tests.support.llm_server import LlmServer, serve_llm
from tests.support.pooler import Route, connect
from tests.support.waiting import WAIT_SECONDS


@pytest.fixture(scope="session")
async def repository_url(copy_template: Callable[[str], Awaitable[str]], route: Route) -> str:
    """Return the URL of a database that these tests share, since copying takes longer than most of them."""
    return route(await copy_template(f"llm_{some_id()}"))


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
    settings = Settings(
        _env_file=None,
        openai_api_key=SecretStr(KEY),
        openai_base_url=llm.url,
        openai_timeout_seconds=WAIT_SECONDS,
        openai_daily_budget_usd=100,
    )
    return settings.model_copy(update={"openai_live_seconds": WAIT_SECONDS})  # longer than a service may let them wait


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
