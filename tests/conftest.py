"""What tests stand on: a real Postgres, a real Valkey, a real Prefect server and the simulator, each started once.

Every test that asks for a `database_url` gets a database of its own, copied from a template that holds the schema and a
small question bank; copying takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import hypothesis
import pytest
from pydantic import SecretStr
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from dev.stack import ServerStack
from domain.settings import Settings
from local import embedded_postgres, servers
from local.supervisor import Program
from observability.logs import QUIET, REPEATED
from question_sources.bank_sync import sync_bank
from repository import Repository
from storage import database
from tests.support import pooler
from tests.support.factories import TOKEN, some_id, write_small_bank
from tests.support.pooler import Route, connect, is_pooled
from tests.support.redis_servers import Cluster, Watched, running_cluster, running_sentinels
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS

if TYPE_CHECKING:  # whoever asks for them imports them: with Prefect, they take two seconds
    from tests.support.classroom import Classroom
    from tests.support.service import Service

ROOT = Path(__file__).parent.parent
STACK = "tests/system/stack/"
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give each worker whole files, and one of them all files that share the running stack."""

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return STACK if nodeid.startswith(STACK) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False  # those that take long are collected first
    return ByFile(config, log)


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


hypothesis.settings.register_profile(  # a busy machine is slow, not wrong
    "quiz", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("quiz")


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    """Let servers take their time to start and to be connected to on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(servers, "READY_SECONDS", WAIT_SECONDS)
        patch.setattr(embedded_postgres, "START_SECONDS", WAIT_SECONDS)
        patch.setattr(database, "CONNECT_SECONDS", 30.0)
        yield


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test depend on the environment it is started in."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """Put back what a command that runs within a test has set up of the logs for its own process."""
    on_error = logging.Handler.handleError
    before = logging.getLogRecordFactory(), sys.excepthook, threading.excepthook, sys.unraisablehook, sys.stderr
    levels = {name: logging.getLogger(name).level for name in ("root", *QUIET, *REPEATED)}
    yield
    logging.setLogRecordFactory(before[0])
    logging.Handler.handleError = on_error  # type: ignore[method-assign]
    sys.excepthook, threading.excepthook, sys.unraisablehook, sys.stderr = before[1:]
    logging.captureWarnings(capture=False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """Yield a folder for the servers of this session; pytest's own are removed when other sessions begin."""
    with tempfile.TemporaryDirectory(prefix="quiz-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def local_servers(data_folder: Path) -> Iterator[ServerStack]:
    """Yield what starts the servers of this session and stops them."""
    with ExitStack() as stack:
        yield ServerStack(data_folder, stack)


@pytest.fixture(scope="session")
def postgres_url(local_servers: ServerStack) -> Callable[[str], str]:
    """Return what makes a database and returns its URL."""
    local_servers.start_postgres(local_servers.stack)
    url_of = local_servers.database_url
    lasting = ("fsync", "full_page_writes", "autovacuum")  # nothing here lasts
    run_psql(url_of("postgres"), *(f"ALTER SYSTEM SET {name} = off" for name in lasting), "SELECT pg_reload_conf()")
    return url_of


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
    repository = Repository(await database.Database.connect(postgres_url("template_quiz")))
    await repository.database.prepare_schema()
    await sync_bank(repository, bank_folder)
    await repository.close()
    return "template_quiz"


@pytest.fixture(scope="session")
def copy_template(postgres_url: Callable[[str], str], template_database: str) -> Callable[[str], Awaitable[str]]:
    """Return what copies the template to a database of a name, and returns its URL."""

    async def copy(name: str) -> str:
        admin = await asyncpg.connect(postgres_url("postgres"))
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}" STRATEGY file_copy')
        await admin.close()
        return postgres_url(name)

    return copy


@pytest.fixture
async def database_url(postgres_url: Callable[[str], str], template_database: str, route: Route) -> AsyncIterator[str]:
    """Yield the URL of a fresh copy of the template."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(postgres_url("postgres"))
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}" STRATEGY file_copy')
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
async def shared_database_url(copy_template: Callable[[str], Awaitable[str]], route: Route) -> str:
    """Return the URL of a copy of the template for tests that need a learner of their own, not a database."""
    return route(await copy_template(f"shared_{some_id()}"))


@pytest.fixture(scope="session")
async def shared_repository(shared_database_url: str) -> AsyncIterator[Repository]:
    """Yield a repository on the shared database."""
    repository = Repository(await connect(shared_database_url))
    yield repository
    await repository.close()


@pytest.fixture
def classroom(shared_repository: Repository) -> Classroom:
    """Return a classroom with the defaults that a fresh clone has; its learners are its own."""
    from tests.support.classroom import Classroom

    return Classroom(shared_repository, Settings(_env_file=None))


@pytest.fixture(scope="session")
def valkey_url(local_servers: ServerStack) -> str:
    """Return the URL of a Valkey of this session."""
    local_servers.start_valkey()
    return local_servers.environment["REDIS_URL"]


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
def prefect_server(local_servers: ServerStack, postgres_url: Callable[[str], str]) -> Program:
    """Return a Prefect server on Postgres."""
    return local_servers.start_prefect()


@pytest.fixture(scope="session")
def prefect_url(local_servers: ServerStack, prefect_server: Program) -> Iterator[str]:
    """Yield the API address of the Prefect server, and point this process's Prefect client at it."""
    api = local_servers.environment["PREFECT_API_URL"]
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    with temporary_settings({PREFECT_API_URL: api, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield api


@pytest.fixture
async def telegram_url() -> AsyncIterator[str]:
    """Yield the address of a simulator without rate limits and with quick redelivery."""
    from simulator.options import Options
    from simulator.server import create_app

    options = Options(fast_retries=True, bot_rate=0, chat_rate=0)
    async with serving(create_app(options), servers.free_port()) as url:
        yield url


@pytest.fixture
def settings(
    database_url: str, valkey_url: str, telegram_url: str, bank_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Return settings with every address resolved."""
    monkeypatch.setattr("wiring.CHAT_RATE", 1000.0)  # learners in tests tap faster than anybody does
    monkeypatch.setattr("roles.intake.UPDATES_PER_SECOND", 1000.0)
    return Settings(
        _env_file=None,
        database_url=SecretStr(database_url),
        database_pooler=is_pooled(database_url),
        redis_url=SecretStr(f"{valkey_url}?socket_timeout={WAIT_SECONDS}"),  # a busy machine is slow, not gone
        telegram_bot_token=SecretStr(TOKEN),
        telegram_api_base_url=telegram_url,
        webhook_port=servers.free_port(),
        worker_metrics_port=0,
        question_bank_dir=bank_folder,
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """Yield the bot and a worker without Prefect: the logic is the same, and the test is quicker."""
    from tests.support.service import running_service

    async with running_service(settings, servers.free_port()) as service:
        yield service


@pytest.fixture
async def service_with_prefect(settings: Settings, prefect_url: str) -> AsyncIterator[Service]:
    """Yield the bot and a worker that runs everything as flows."""
    from tests.support.service import running_service

    settings = settings.model_copy(update={"prefect_api_url": prefect_url})
    async with running_service(settings, servers.free_port()) as service:
        await service.shown()
        yield service
