"""What children inherit, and who may read a process's memory."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from domain import kernel
from domain.errors import StartupError
from domain.processes import guard_memory, plain_environment, service_environment
from domain.settings import Settings
from local.embedded_postgres import minimal_environment
from tests.conftest import ROOT

PLAIN = {"PATH": "/bin", "HOME": "/home/quiz", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONPATH": "/x"}
OURS = {
    "TELEGRAM_BOT_TOKEN": "123456:secret",
    "database_url": "postgresql://quiz:secret@db/quiz",
    "PREFECT_API_AUTH_STRING": "quiz:secret",
    "PGSSLROOTCERT": "/etc/ca.pem",
    "https_proxy": "http://proxy:3128",
    "SSL_CERT_FILE": "/etc/ca.pem",
}
FOREIGN = {
    "AWS_SECRET_ACCESS_KEY": "secret",
    "GOOGLE_APPLICATION_CREDENTIALS": "/secret.json",
    "GITHUB_TOKEN": "secret",
    "POSTGRES_PASSWORD": "secret",
    "SSH_AUTH_SOCK": "/run/agent",
}

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Surround this process with what an operator's shell may hold."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in (PLAIN | OURS | FOREIGN).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("surroundings")
def test_a_server_gets_no_setting_and_nothing_foreign() -> None:
    assert plain_environment() == PLAIN


@pytest.mark.usefixtures("surroundings")
def test_a_process_of_the_service_gets_its_settings_and_nothing_foreign() -> None:
    assert service_environment() == PLAIN | OURS


def test_every_setting_reaches_a_process_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.setenv(field.upper(), "given")
    assert {field.upper() for field in Settings.model_fields} <= service_environment().keys()


@pytest.mark.usefixtures("surroundings")
def test_a_library_that_hands_on_everything_hands_on_nothing_secret() -> None:
    before = dict(os.environ)
    with pytest.raises(ValueError, match="it failed"), minimal_environment():  # noqa: PT012 - both within it
        told = subprocess.check_output(["/usr/bin/env"], text=True)
        raise ValueError("it failed")
    given = dict(line.split("=", 1) for line in told.splitlines())
    for name in ("LINES", "COLUMNS"):
        given.pop(name, None)  # a terminal's library sets them behind Python's back
    assert given == {name: value for name, value in PLAIN.items() if name != "LANG"} | {"LC_ALL": "C"}
    assert dict(os.environ) == before


@linux
def test_a_kernel_that_refuses_the_guard_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        ctypes.set_errno(errno.EPERM)
        return -1

    monkeypatch.setattr(kernel, "LIBC", SimpleNamespace(prctl=refuse))
    with pytest.raises(StartupError, match=r"PR_SET_DUMPABLE: Operation not permitted"):
        guard_memory()


GUARDED = """
import ctypes, os, sys
from domain.processes import guard_memory
from prometheus_client import ProcessCollector

def become_nobody():
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

def can_be_read(process, file):
    reader = os.fork()
    if reader == 0:
        become_nobody()
        try:
            open(f"/proc/{process}/{file}", "rb").read(1)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) == 0

here, there = os.pipe(), os.pipe()
process = os.fork()
if process == 0:
    become_nobody()
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as a process is after it was started
    os.write(here[1], b"1")
    os.read(there[0], 1)
    before = {metric.name for metric in ProcessCollector(registry=None).collect()}
    guard_memory()
    after = {metric.name for metric in ProcessCollector(registry=None).collect()}
    os.write(here[1], b"1" if before == after and len(after) >= 6 else b"0")
    os.read(there[0], 1)
    os._exit(0)
os.read(here[0], 1)
print("before", can_be_read(process, "environ"), can_be_read(process, "auxv"))
os.write(there[1], b"1")
print("metrics", os.read(here[0], 1) == b"1")
print("after", can_be_read(process, "environ"), can_be_read(process, "auxv"))
os.write(there[1], b"1")
"""


@linux
def test_a_guarded_process_is_closed_to_others_of_its_user_and_keeps_its_metrics() -> None:
    told = subprocess.check_output([sys.executable, "-c", GUARDED], cwd=ROOT, text=True)
    assert told.splitlines() == ["before True True", "metrics True", "after False False"]


@linux
@pytest.mark.parametrize("role", ["webhook info", "init", "flow", "worker"])
def test_every_role_is_guarded_from_its_first_moment(role: str) -> None:
    program = (
        "import ctypes, main, domain.settings, sys\n"
        "def load(**_):\n"
        "    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
        "    sys.exit()\n"
        "main.load_settings = load\n"
        f"main.main({role.split()!r})"
    )
    assert subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True) == "0\n"
