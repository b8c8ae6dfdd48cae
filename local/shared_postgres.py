"""The embedded PostgreSQL of the data folder, shared with a command beside the service."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from local.embedded_postgres import PostgresServer, PostmasterInfo, get_server


@contextlib.contextmanager
def shared_postgres(folder: Path, name: str) -> Iterator[str]:
    """Use the PostgreSQL of a folder beside its other users.

    Theory of operation. Next to its data, the server keeps a list of the processes that use it; whoever leaves last
    stops it. A command that finds it stopped starts it and enters itself, and one that finds it running enters itself
    too, so that neither takes it from the other. A server that runs with nobody alive in the list was left behind by
    a process that was killed, whose children may still use it: the command leaves it running.

    Args:
        name: of the database; made if it is not there.

    Yields:
        The URL of the database.

    Raises:
        StartupError: the server does not start.
    """
    server = get_server(folder, "stop" if not prune_dead_clients(folder) else None)
    try:
        yield server.ensure_database(name)
    finally:
        server.cleanup()


def prune_dead_clients(folder: Path) -> bool:
    """Cut processes that ended out of the list of a server's users.

    The library would wait for them for ever at its end.

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


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True
