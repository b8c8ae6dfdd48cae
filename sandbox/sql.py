"""Untrusted SQL, in DuckDB: each run in a fresh process that holds no secret and is killed at its deadline."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from domain.errors import SandboxError
from sandbox.results import Failed, Limits, OutOfMemory, Rows, SqlResult, TimedOut, Unsupported
from sandbox.wire import from_json

ANSWER_SECONDS = 30.0
"""What a run may take beyond its deadline to be reported, before the sandbox counts as broken."""

_CHILD = Path(__file__).with_name("sql_child.py")


class _Child:
    """A process that has DuckDB open and forks for each run."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._folder = tempfile.mkdtemp()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-I", str(_CHILD), str(theirs.fileno())],
                cwd=self._folder,  # the child removes it
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def open_run(self) -> socket.socket:
        """Return a socket to a new process."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"r"], [theirs.fileno()])
        return ours

    def close(self) -> None:
        self._control.close()
        self._process.wait()
        with suppress(FileNotFoundError):  # it is there if the child ended early
            Path(self._folder).rmdir()


_lock = threading.Lock()
_turns = threading.BoundedSemaphore(os.cpu_count() or 1)
_child: _Child | None = None


def run_sql(setup: str, run: str, limits: Limits | None = None) -> SqlResult:
    """Run statements on an empty in-memory DuckDB whose time zone is UTC.

    There are no files, extensions, network or environment, and no setting can be changed. As many runs go on at a time
    as there are CPUs; further callers wait for their turn, which does not count.

    Raises:
        SandboxError: the sandbox itself does not work.
    """
    return measure_sql(setup, run, limits)[0]


def measure_sql(setup: str, run: str, limits: Limits | None = None) -> tuple[SqlResult, int]:
    """Do what `run_sql` does, and return the largest memory of the process in bytes as well."""
    limits = limits or Limits()
    request = json.dumps(asdict(limits) | {"setup": setup, "run": run}).encode()
    with _turns:
        try:
            with _open_run() as caller, caller.makefile("rb") as stream:
                caller.settimeout(limits.seconds + ANSWER_SECONDS)
                caller.sendall(request + b"\n")
                header, reply = json.loads(stream.readline()), stream.read()
        except (OSError, ValueError) as error:
            raise SandboxError(f"SQL: {error}") from error
    return _read_ending(header, reply, limits), header["peak_bytes"]


def close() -> None:
    """End the process; the next run starts another."""
    global _child
    with _lock:
        child, _child = _child, None
    if child is not None:
        child.close()


atexit.register(close)


def _open_run() -> socket.socket:
    global _child  # noqa: PLW0603 - one a process, made when it is first needed
    with _lock:
        if _child is not None and not _child.is_alive():
            _child.close()
            _child = None
        if _child is None:
            _child = _Child()
        return _child.open_run()


def _read_ending(header: dict[str, Any], reply: bytes, limits: Limits) -> SqlResult:
    match header["ending"]:
        case "timeout":
            return TimedOut()
        case "output":
            return Failed("OutputTooLarge", f"the rows take more than {limits.output_bytes} bytes")
    try:
        return _read_answer(json.loads(reply))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return _read_signal(header["signal"])


def _read_answer(answer: dict[str, Any]) -> SqlResult:
    if "broken" in answer:
        msg = f"the sandbox for SQL does not work: {answer['broken']}"
        raise SandboxError(msg)
    if "unsupported" in answer:
        return Unsupported(str(answer["unsupported"]))
    if "error" in answer:
        if answer["error"] in {"MemoryError", "OutOfMemoryException"}:
            return OutOfMemory()
        return Failed(str(answer["error"]), str(answer["message"]), in_setup=answer.get("in_setup") is True)
    rows = tuple(tuple(from_json(value) for value in row) for row in answer["rows"])
    return Rows(tuple(map(str, answer["columns"])), rows)


def _read_signal(number: int) -> SqlResult:
    if number == signal.SIGKILL:
        return OutOfMemory()  # nobody else kills it before its deadline
    name = signal.Signals(number).name if number else "no signal"
    return Failed("Crashed", f"the engine's process ended without an answer ({name})")
