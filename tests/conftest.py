"""What tests stand on: a real Postgres, a real Valkey, a real Prefect server and the simulator, each started once.

Every test that asks for a `database_url` gets a database of its own, copied from a template that holds the schema and a
small question bank; copying takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from domain.settings import Settings
from local import servers
from observability.logs import QUIET, REPEATED
from quiz_generator import sync_bank
from repository import Repository
from simulator.options import Options
from simulator.server import create_app
from sql.database import Database
from tests import pooler
from tests.factories import TOKEN, write_small_bank
from tests.pooler import Route, connect, is_pooled
from tests.redis_servers import Cluster, Watched, running_cluster, running_sentinels
from tests.serving import serving
from tests.support import Service, running_service

ROOT = Path(__file__).parent.parent
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that puts PgBouncer between the tests and their databases."""
    parser.addoption(
        "--pooler", action="store_true", help="run every test of the database, and no other, through PgBouncer"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say at once what the switch lacks."""
    if config.getoption("--pooler") and not pooler.PROGRAM:
        raise pytest.UsageError(pooler.MISSING)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked so twice: as all tests run, and through PgBouncer."""
    twice = pooler.USABLE and not metafunc.config.getoption("--pooler") and "route" in metafunc.fixturenames
    if twice and metafunc.definition.get_closest_marker("pooler"):
        metafunc.parametrize("route", [False, True], ids=["direct", "pooler"], indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With the switch, leave out what never reaches a database through it."""
    if config.getoption("--pooler"):
        outside = [item for item in items if "route" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=outside)
        items[:] = [item for item in items if item not in outside]


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """Put the log levels back, which a command that runs within a test has set for its own process."""
    levels = {name: logging.getLogger(name).level for name in ("root", *QUIET, *REPEATED)}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """Yield a folder for the servers of this session; pytest's own are removed when other sessions begin."""
    with tempfile.TemporaryDirectory(prefix="quiz-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_url(data_folder: Path) -> Iterator[Callable[[str], str]]:
    """Yield what makes a database and returns its URL."""
    with servers.postgres(data_folder / "postgres") as url_of:
        run_psql(url_of("postgres"), "ALTER SYSTEM SET fsync = off; ", "SELECT pg_reload_conf();")  # nothing here lasts
        yield url_of


def run_psql(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    with ThreadPoolExecutor() as pool:  # the session's own event loop may be running
        pool.submit(asyncio.run, run()).result()


@pytest.fixture(scope="session")
def pooler_start(postgres_url: Callable[[str], str], data_folder: Path) -> Iterator[str]:
    """Yield the start of PgBouncer's addresses."""
    if not pooler.PROGRAM:
        pytest.fail(pooler.MISSING)
    with pooler.running_pooler(postgres_url("postgres"), data_folder / "pgbouncer") as start:
        yield start


@pytest.fixture(scope="session")
def route(request: pytest.FixtureRequest) -> Route:
    """Return what leads from a database's own address to the one that the service is given."""
    if getattr(request, "param", request.config.getoption("--pooler")):
        start = request.getfixturevalue("pooler_start")
        return lambda url: pooler.pooled(url, start)
    return lambda url: url


@pytest.fixture(scope="session")
def bank_folder(data_folder: Path) -> Path:
    """Return the folder of a small question bank."""
    folder = data_folder / "bank"
    write_small_bank(folder)
    return folder


@pytest.fixture(scope="session")
async def template_database(postgres_url: Callable[[str], str], bank_folder: Path) -> str:
    """Return the name of a database with the schema and a small bank, which nobody is connected to."""
    repository = Repository(await Database.connect(postgres_url("template_quiz")))
    await repository.database.prepare_schema()
    await sync_bank(repository, bank_folder)
    await repository.close()
    return "template_quiz"


@pytest.fixture
async def database_url(postgres_url: Callable[[str], str], template_database: str, route: Route) -> AsyncIterator[str]:
    """Yield the URL of a fresh copy of the template."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(postgres_url("postgres"))
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    yield route(postgres_url(name))
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


@pytest.fixture
async def repository(database_url: str) -> AsyncIterator[Repository]:
    """Yield a repository on a fresh database."""
    repository = Repository(await connect(database_url))
    yield repository
    await repository.close()


@pytest.fixture(scope="session")
def valkey_url(data_folder: Path) -> Iterator[str]:
    """Yield the URL of a Valkey of this session."""
    port, log = servers.free_port(), data_folder / "valkey.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            servers.valkey_command(port, data_folder / "valkey"), stdout=output, stderr=subprocess.STDOUT
        )
    servers.wait_until_listening(port, process, log, "Valkey")
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="session")
def redis_cluster(data_folder: Path) -> Iterator[Cluster]:
    """Yield a cluster of three Valkeys; whoever breaks it mends it."""
    with running_cluster(data_folder / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_watched(data_folder: Path) -> Iterator[Watched]:
    """Yield two Valkeys and the sentinels that watch them; likewise."""
    with running_sentinels(data_folder / "sentinels") as watched:
        yield watched


@pytest.fixture(params=["redis_cluster", "redis_watched"], ids=["cluster", "sentinels"])
def together_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of several Valkeys that belong together in one way or the other."""
    return str(request.getfixturevalue(request.param).url)


@pytest.fixture(scope="session")
def prefect_url(data_folder: Path, postgres_url: Callable[[str], str]) -> Iterator[str]:
    """Yield the API address of a Prefect server on Postgres, and point this process's Prefect client at it."""
    port, log = servers.free_port(), data_folder / "prefect.log"
    environment = servers.prefect_environment(postgres_url("prefect"), port, data_folder / "prefect")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=servers.inherited(environment), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    api = f"http://127.0.0.1:{port}/api"
    servers.wait_until_ready(f"{api}/health", process, log, "Prefect server")
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    with temporary_settings({PREFECT_API_URL: api, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield api
    process.terminate()
    process.wait(20)


@pytest.fixture
async def telegram_url() -> AsyncIterator[str]:
    """Yield the address of a simulator without rate limits and with quick redelivery."""
    options = Options(fast_retries=True, bot_rate=0, chat_rate=0)
    async with serving(create_app(options), servers.free_port()) as url:
        yield url


@pytest.fixture
def settings(
    database_url: str, valkey_url: str, telegram_url: str, bank_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Return settings with every address resolved, and nothing taken from this machine's environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("services.CHAT_RATE", 1000.0)  # learners in tests tap faster than anybody does
    monkeypatch.setattr("webhook.LEARNER_PACE", 1000.0)
    return Settings(
        _env_file=None,
        database_url=SecretStr(database_url),
        database_pooler=is_pooled(database_url),
        redis_url=SecretStr(valkey_url),
        telegram_bot_token=SecretStr(TOKEN),
        telegram_api_base_url=telegram_url,
        webhook_port=servers.free_port(),
        worker_metrics_port=0,
        question_bank_dir=bank_folder,
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """Yield the bot and a worker without Prefect: the logic is the same, and the test is quicker."""
    async with running_service(settings, servers.free_port()) as service:
        yield service


@pytest.fixture
async def service_with_prefect(settings: Settings, prefect_url: str) -> AsyncIterator[Service]:
    """Yield the bot and a worker that runs everything as flows."""
    settings = settings.model_copy(update={"prefect_api_url": prefect_url})
    async with running_service(settings, servers.free_port()) as service:
        yield service
