"""The process that runs untrusted SQL; ``sql.py`` starts it as a script, with an empty environment.

Opening DuckDB takes 30 ms and more, so it is done once, without a second thread. For each run the process forks a
keeper, which watches the deadline and the caller, and the keeper forks the runner: a copy of the open, empty database
that gives up all it can and executes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import duckdb
import pytz  # type: ignore[import-untyped] # noqa: F401 - DuckDB imports it for a time zone; the runner cannot

from sandbox.confinement import confine, guard_process
from sandbox.wire import to_json

CONFIG: dict[str, Any] = {
    "threads": 1,
    "async_threads": 0,  # a second thread would not come along into a fork
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,  # else a name in SQL may be a variable of this program
    "temp_directory": "",
}

ENVELOPE_BYTES = 1 << 12
"""What a reply may take beside the rows."""

MESSAGE_CHARACTERS = 500


def serve(control: socket.socket) -> NoReturn:
    """Fork a keeper for each socket that arrives, until the other side is gone."""
    guard_process(dies_with_parent=False)  # a thread started it, and may end before the process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
    connection = duckdb.connect(":memory:", config=CONFIG)
    connection.execute("SET TimeZone = 'UTC'")
    Path.cwd().rmdir()  # nothing can be made in a folder that is gone
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            os._exit(0)  # DuckDB is slow to put itself away
        if os.fork() == 0:
            control.close()
            _keep(connection, socket.socket(fileno=descriptors[0]))
            os._exit(0)
        os.close(descriptors[0])


def _keep(connection: duckdb.DuckDBPyConnection, caller: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with caller.makefile("rb") as stream:
        request = json.loads(stream.readline())
    reading, writing = os.pipe()
    runner = os.fork()
    if runner == 0:
        _run(connection, request, writing)
    os.setpgid(runner, runner)
    os.close(writing)
    ending, reply = _collect(reading, caller, request)
    os.killpg(runner, signal.SIGKILL)
    _, status, usage = os.wait4(runner, 0)
    header = {
        "ending": ending,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    with suppress(OSError):  # the caller is gone
        caller.sendall(json.dumps(header).encode() + b"\n" + reply)


def _collect(reading: int, caller: socket.socket, request: dict[str, Any]) -> tuple[str, bytes]:
    deadline = time.monotonic() + request["seconds"]
    reply = bytearray()
    while len(reply) <= request["output_bytes"] + ENVELOPE_BYTES:
        left = max(deadline - time.monotonic(), 0)
        ready, _, _ = select.select([reading, caller.fileno()], [], [], left)
        if not ready:
            return "timeout", b""
        if caller.fileno() in ready:
            return "gone", b""
        piece = os.read(reading, 1 << 16)
        if not piece:
            return "ended", bytes(reply)
        reply += piece
    return "output", b""


def _run(connection: duckdb.DuckDBPyConnection, request: dict[str, Any], writing: int) -> NoReturn:
    try:
        # The engine's own limit comes first: it ends in an error that can be read.
        connection.execute(f"SET memory_limit = '{request['memory_bytes'] * 3 // 4}B'; SET lock_configuration = true")
        try:
            confine(request["seconds"], request["memory_bytes"], writing)
        except (OSError, ValueError) as error:  # ValueError: a limit of this process that may not be raised
            view = memoryview(json.dumps({"broken": f"it cannot confine itself: {error}"}).encode())
        else:
            view = memoryview(_execute(connection, request))
        while view:
            view = view[os.write(writing, view) :]
    finally:
        os._exit(0)


def _execute(connection: duckdb.DuckDBPyConnection, request: dict[str, Any]) -> bytes:
    in_setup = True
    try:
        if request["setup"].strip():
            connection.execute(request["setup"])
        in_setup = False
        return json.dumps(_fetch(connection.execute(request["run"]), request["max_rows"])).encode()
    except Exception as error:  # noqa: BLE001 - DuckDB's own, and what Python raises for a value that it cannot hold
        message = (str(error).splitlines() or [""])[0][:MESSAGE_CHARACTERS]
        return json.dumps({"error": type(error).__name__, "message": message, "in_setup": in_setup}).encode()


def _fetch(cursor: duckdb.DuckDBPyConnection | None, max_rows: int) -> dict[str, object]:
    if cursor is None:  # no statement at all
        return {"columns": [], "rows": []}
    columns = [column[0] for column in cursor.description or ()]
    rows = cursor.fetchmany(max_rows + 1)
    if len(rows) > max_rows:
        return {"error": "TooManyRows", "message": f"more than {max_rows} rows"}
    try:
        return {"columns": columns, "rows": [[to_json(value) for value in row] for row in rows]}
    except TypeError as error:
        return {"unsupported": f"a value of type {error}"}


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
