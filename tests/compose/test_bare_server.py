"""DEPLOYMENT.md, "A server without containers", followed to the letter in an empty Debian with systemd."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from local import servers
from tests.compose.conftest import ROOT, TOKEN, docker, register
from tests.support.service import Learner
from tests.support.waiting import WAIT_SECONDS, wait_for

NAME = "quiz-server"
UNITS = ("quiz-prefect-server", "quiz@bot", "quiz@worker", "quiz@prefect")
INSTALL_SECONDS = 2400
PYTHON = "/opt/quiz/.venv/bin/python"
DEBIAN = """
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv dbus ca-certificates
"""
SANDBOX = """
from sandbox.confinement import describe_protections
from sandbox.python import run_python
from sandbox.sql import run_sql
print(run_python("print(6 * 7)").text.strip(), run_sql("", "SELECT 6 * 7").rows, *describe_protections())
"""


def blocks() -> list[str]:
    """Return the section's commands, by block; the last one is the upgrade."""
    text = (ROOT / "DEPLOYMENT.md").read_text(encoding="utf-8")
    section = text[text.index("## A server without containers") : text.index("## Kubernetes")]
    return [re.sub(r"(?m)^   ", "", block) for block in re.findall(r"(?ms)^ *```console\n(.*?)^ *```", section)]


def inside(*command: str, given: str = "", seconds: float = WAIT_SECONDS) -> str:
    """Run a command on the server and return its output."""
    return docker("exec", "-i", NAME, *command, given=given, seconds=seconds)


def find(template: str, *arguments: str) -> str:
    return docker(*arguments, "inspect", "--format", template, NAME).strip()


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an empty Debian, do what the page says, and return where the simulator is that it talks to."""
    image = os.environ.get("DEBIAN_IMAGE") or docker("build", "-q", "-", given=DEBIAN, seconds=INSTALL_SECONDS).strip()
    folder = tmp_path_factory.mktemp("server")
    repository = folder / "repository"
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, repository], check=True)  # noqa: S607 - wherever it is
    docker("network", "create", NAME)
    try:
        volumes = [f"--volume={repository}:/src:ro", "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp"]
        docker(
            "run",
            "-d",
            "--name",
            NAME,
            "--privileged",
            "--cgroupns=private",
            "--network",
            NAME,
            *volumes,
            image,
            "/sbin/init",
        )
        gateway = find("{{(index .IPAM.Config 0).Gateway}}", "network")
        own = find(f'{{{{(index .NetworkSettings.Networks "{NAME}").IPAddress}}}}')
        address = f"{gateway}:{servers.free_port()}"
        with _simulator(address, folder / "simulator.log"):
            inside("bash", given=_script(own, address), seconds=INSTALL_SECONDS)
            yield f"http://{address}"
    finally:
        docker("rm", "--force", "--volumes", NAME)
        docker("network", "rm", NAME)


def _script(own: str, chat: str) -> str:
    """Return the page's commands, with this server's values where the page has examples."""
    text = "set -e\nexport DEBIAN_FRONTEND=noninteractive\ngit() { command git -c safe.directory='*' \"$@\"; }\n"
    text += "\n".join(blocks()[:-1])
    for example, value in {
        "REPOSITORY": "/src",
        "123456789:AAH...": f"{TOKEN} TELEGRAM_API_BASE_URL=http://{chat}",
        "https://quiz.example.org": f"http://{own}",
        "'quiz.example.org {'": f"'http://{own} {{'",
        "main.py doctor": "main.py doctor || [ $? = 1 ]",
    }.items():
        assert example in text
        text = text.replace(example, value)
    return text


def _simulator(address: str, log: Path) -> subprocess.Popen[bytes]:
    host, port = address.split(":")
    command = [sys.executable, "-m", "simulator", "--host", host, "--port", port, "--fast-retries", "--chat-rate", "0"]
    return _Ended(command, cwd=ROOT, stdout=log.open("wb"), stderr=subprocess.STDOUT)


class _Ended(subprocess.Popen[bytes]):
    """Ends with the block it stands in."""

    def __exit__(self, *details: object) -> None:
        self.terminate()
        super().__exit__(*details)  # type: ignore[arg-type]


@pytest.fixture
async def learner(chat: str) -> AsyncIterator[Learner]:
    """A new learner, with the first question answered."""
    async with httpx.AsyncClient(base_url=chat, timeout=WAIT_SECONDS) as client:
        yield await register(client)


def are_active() -> bool:
    """Say whether all units run; a role exits and starts again while its servers are not there."""
    shown = inside("systemctl", "show", "--value", "-p", "ActiveState", *UNITS)
    return shown.split() == ["active"] * len(UNITS)


def is_ready() -> bool:
    script = f"cd /opt/quiz && {PYTHON} deploy/healthcheck.py http://127.0.0.1:8080/ready || true"
    return inside("bash", "-c", script) == ""


async def test_a_learner_is_served_by_the_units(learner: Learner) -> None:
    wait_for(is_ready, lambda: inside("journalctl", "-u", "quiz*", "-n", "50"))
    wait_for(are_active, lambda: inside("journalctl", "-u", "quiz*", "-n", "50"))
    assert await learner.ask("/stats", "answer")


@pytest.mark.parametrize("role", ["worker", "prefect"])
def test_the_sandbox_confines_itself_within_a_units_limits(chat: str, role: str) -> None:
    unit = (ROOT / "deploy" / "systemd" / "quiz@.service").read_text(encoding="utf-8")
    limits = re.findall(
        r"(?m)^((?:NoNew|Capab|Protect|Private|Restrict|Lock|MemoryDeny|Remove|SystemCall)\w+=.*)$", unit
    )
    given = [part for limit in limits for part in ("-p", limit)]
    run = ["systemd-run", "--quiet", "--pipe", "--wait", "--uid=quiz", "-p", "WorkingDirectory=/opt/quiz"]
    free = inside(*run, PYTHON, "-c", SANDBOX)
    assert free.startswith("42 ((42,),) ")
    assert inside(*run, *given, "-p", f"EnvironmentFile=/etc/quiz/{role}.env", PYTHON, "-c", SANDBOX) == free


def test_a_unit_can_do_little_else(chat: str) -> None:
    pid = inside("systemctl", "show", "--value", "-p", "MainPID", "quiz@worker").strip()
    status = inside("cat", f"/proc/{pid}/status")
    assert re.search(r"(?m)^CapBnd:\t0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\t1$", status)
    assert re.search(r"(?m)^Seccomp:\t2$", status)
    assert (
        inside("stat", "--format", "%a %U", "/etc/quiz/quiz.env", "/etc/quiz/prefect-server.env").split()
        == ["600", "root"] * 2
    )
    bot = inside("cat", f"/proc/{inside('systemctl', 'show', '--value', '-p', 'MainPID', 'quiz@bot').strip()}/environ")
    assert "TELEGRAM_BOT_TOKEN" in bot
    assert "PREFECT_API_AUTH_STRING" not in bot


async def test_a_killed_unit_starts_again(learner: Learner) -> None:
    for unit in UNITS:
        inside("systemctl", "kill", "--signal=KILL", unit)
        wait_for(lambda unit=unit: inside("systemctl", "show", "--value", "-p", "NRestarts", unit).strip() != "0")  # type: ignore[misc]
    await learner.answer(await learner.get_question(), 0)
    wait_for(is_ready, lambda: inside("journalctl", "-u", "quiz*", "-n", "50"))


async def test_an_upgrade_keeps_everything(learner: Learner) -> None:
    inside("git", "config", "--global", "--add", "safe.directory", "/src")
    inside("bash", "-ec", blocks()[-1], seconds=INSTALL_SECONDS)
    await learner.answer(await learner.get_question(), 0)
    wait_for(is_ready, lambda: inside("journalctl", "-u", "quiz*", "-n", "50"))
