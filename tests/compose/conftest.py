"""docker-compose.yml on a real engine, with the simulator as Telegram: `make test-compose`."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from local import servers
from tests.support.factories import some_id
from tests.support.service import Learner
from tests.support.waiting import WAIT_SECONDS, until, wait_for

ROOT = Path(__file__).parents[2]
TOKEN = "424242:" + "T" * 35
IMAGE = "data-engineering-quiz:0.1.0"
START_SECONDS = 1800
"""For a build and a first start."""


def docker(*arguments: str, given: str = "", seconds: float = WAIT_SECONDS) -> str:
    """Run `docker` and return its output.

    Args:
        given: its standard input.
        seconds: that it may take.
    """
    command = ["docker", *arguments]
    done = subprocess.run(command, input=given, timeout=seconds, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"docker {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Project:
    """A compose project of its own."""

    files: tuple[Path, ...]
    env_file: Path
    chat: str

    def compose(self, *arguments: str, check: bool = True, seconds: float = WAIT_SECONDS) -> str:
        """Run `docker compose` and return its output; errors are part of it if it need not succeed."""
        files = [part for file in self.files for part in ("-f", str(file))]
        command = ["docker", "compose", "-p", "quiz-test", "--env-file", str(self.env_file), *files, *arguments]
        known = {name: os.environ[name] for name in os.environ if name.startswith(("DOCKER_", "PATH", "HOME"))}
        done = subprocess.run(
            command, cwd=ROOT, env=known, timeout=seconds, check=False, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def start(self, *arguments: str) -> None:
        """Bring all up, and wait until what has a health check is healthy."""
        self.compose("up", "-d", *arguments, seconds=START_SECONDS)
        for service in ("postgres", "redis", "prefect-server", "quiz-bot", "quiz-worker", "prefect-worker"):
            self.wait_until_healthy(service)

    def wait_until_healthy(self, service: str) -> None:
        wait_for(lambda: self._is_healthy(service), lambda: self.compose("logs", "--tail", "30", service))

    def _is_healthy(self, service: str) -> bool:
        health = self.compose("ps", "-a", "--format", "{{.Health}}", service).split()
        return bool(health) and set(health) == {"healthy"}

    def run(self, service: str, *command: str) -> str:
        """Execute a command in a service's container."""
        return self.compose("exec", "-T", service, *command)

    def sql(self, statement: str, database: str = "quiz", user: str = "postgres") -> str:
        return self.run("postgres", "psql", "-XAt", "-U", user, "-d", database, "-c", statement).strip()

    def find_containers(self, service: str) -> list[str]:
        return self.compose("ps", "-a", "-q", service).split()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Build and start it, and remove it with its volume at the end."""
    port = servers.free_port()
    env_file = tmp_path_factory.mktemp("compose") / "env"
    values = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_BASE_URL": "http://telegram:8081",
        "WEBHOOK_URL": "http://quiz-bot:8080",
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "POSTGRES_PREFECT_PASSWORD": secrets.token_hex(24),
        "REDIS_PASSWORD": secrets.token_hex(24),
        "PREFECT_API_AUTH_STRING": f"quiz:{secrets.token_hex(24)}",
        "PREFECT_PORT": str(servers.free_port()),
        "SIMULATOR_PORT": str(port),
        "REPOSITORY": str(ROOT),
    }
    env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    more = [Path(name).resolve() for name in os.environ.get("COMPOSE_OVERLAYS", "").split()]
    files = (ROOT / "docker-compose.yml", Path(__file__).with_name("telegram.yml"), *more)
    project = Project(files, env_file, f"http://127.0.0.1:{port}")
    try:
        try:
            project.compose("build", seconds=START_SECONDS)
            docker("tag", IMAGE, "data-engineering-quiz:telegram")
            project.start()
        except AssertionError as error:
            pytest.exit(f"it does not start: {error}\n{project.compose('logs', '--tail', '30', check=False)}", 1)
        project.run("quiz-bot", "python", "main.py", "webhook", "set")
        yield project
    finally:
        project.compose("down", "--volumes", "--remove-orphans", check=False)


@pytest.fixture
async def learner(project: Project) -> AsyncIterator[Learner]:
    """A new learner, with the first question answered."""
    async with httpx.AsyncClient(base_url=project.chat, timeout=WAIT_SECONDS) as client:
        yield await register(client)


async def register(client: httpx.AsyncClient) -> Learner:
    """Return a new learner who has answered a question; the client leads to the simulator."""
    learner = Learner(client, some_id())
    await until(lambda: _answers(client))
    (await client.post("/api/learners", json={"id": learner.id, "started": False})).raise_for_status()
    await learner.say("/start")
    await learner.answer(await learner.get_question(), 0)
    return learner


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/api/state")).is_success
    except httpx.TransportError:
        return False
