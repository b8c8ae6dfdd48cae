"""What tests stand on: a real Postgres, a real Valkey, a real Prefect server and the simulator, each started once.

Every test that asks for a `database_url` gets a database of its own, copied from a template that holds the schema and a
small question bank; copying takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import uvicorn
from pydantic import SecretStr

from domain.settings import Settings
from local import servers
from repository import Repository
from simulator.options import Options
from simulator.server import create_app
from tests.factories import TOKEN, small_bank

ROOT = Path(__file__).parent.parent
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the servers of this session."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres_url(data_folder: Path) -> Iterator[Callable[[str], str]]:
    """Yield what makes a database and returns its URL."""
    with servers.postgres(data_folder / "postgres") as url_of:
        yield url_of


@pytest.fixture(scope="session")
async def template_database(postgres_url: Callable[[str], str]) -> str:
    """Return the name of a database with the schema and a small bank, which nobody is connected to."""
    repository = Repository(await _connect(postgres_url("template_quiz")))
    await repository.database.prepare_schema()
    await repository.sync_static_questions(small_bank(), ())
    await repository.close()
    return "template_quiz"


async def _connect(url: str):  # noqa: ANN202 - Database
    from sql.database import Database

    return await Database.connect(url)


@pytest.fixture
async def database_url(postgres_url: Callable[[str], str], template_database: str) -> AsyncIterator[str]:
    """Yield the URL of a fresh copy of the template."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(postgres_url("postgres"))
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}" STRATEGY FILE_COPY')
    yield postgres_url(name)
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


@pytest.fixture
async def repository(database_url: str) -> AsyncIterator[Repository]:
    """Yield a repository on a fresh database."""
    repository = Repository(await _connect(database_url))
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
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api}):
        yield api
    process.terminate()
    process.wait(20)


@asynccontextmanager
async def serving(app: object, port: int) -> AsyncIterator[str]:
    """Serve an ASGI application on this event loop and yield its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="on", timeout_graceful_shutdown=2)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
            msg = "the application did not start"
            raise RuntimeError(msg)
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


def _no_signals():  # noqa: ANN202 - a context manager
    from contextlib import nullcontext

    return nullcontext()


@pytest.fixture
async def telegram() -> AsyncIterator[Telegram]:
    """Yield a simulator on a free port, without rate limits and with quick redelivery."""
    app = create_app(Options(fast_retries=True, bot_rate=0, chat_rate=0))
    async with serving(app, servers.free_port()) as url:
        yield Telegram(url, app.simulator)


class Telegram:
    """The simulator, and where it listens."""

    def __init__(self, url: str, simulator: object) -> None:
        self.url = url
        self.simulator = simulator


@pytest.fixture
def settings(database_url: str, valkey_url: str, telegram: Telegram, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings with every address resolved, and nothing taken from this machine's environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return Settings(
        _env_file=None,
        database_url=SecretStr(database_url),
        redis_url=SecretStr(valkey_url),
        telegram_bot_token=SecretStr(TOKEN),
        telegram_api_base_url=telegram.url,
        webhook_port=servers.free_port(),
        worker_metrics_port=0,
    )


@pytest.fixture(scope="session", autouse=True)
def _quiet_prefect() -> Iterator[None]:
    """Keep Prefect from writing to the home folder and from asking anything of the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("PREFECT_CLI_PROMPT", "false")
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        yield
