"""Executes what a question shows, to find out whether the marked option is what really happens.

DuckDB runs in this process on an empty in-memory database, with limits on time and memory and without files or network;
Postgres runs each check in a transaction that is rolled back; Python runs in a subprocess with limits on time, memory
and files. What somebody else wrote runs under a guard as well, which refuses processes, the network and files outside
the snippet's own folder.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import IO, Any

import duckdb

from domain.catalog import CheckEngine
from question_bank.format import Check, Question

PYTHON_SECONDS = 10
PYTHON_BYTES = 1 << 30

DUCKDB_SECONDS = 10.0
DUCKDB_LIMITS: dict[str, str | bool | int | float | list[str]] = {
    "threads": "1",
    "enable_external_access": "false",
    "memory_limit": "512MB",
}
MAX_ROWS = 1000
"""Rows that are read of a result; an option never shows as many."""

_GUARD = """
def _guard():
    import os, sys
    real, decode, join, fspath, writes = os.path.realpath, os.fsdecode, os.path.join, os.fspath, (
        os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    own = real(os.getcwd())
    readable = tuple(join(real(p), '') for p in (own, sys.base_prefix, sys.prefix, '/usr/share/zoneinfo'))
    refused = ('socket.', 'subprocess.', 'ctypes.', 'os.', 'pty.', 'shutil.', 'sqlite3.enable', 'sqlite3.load',
               'urllib.', 'ftplib.', 'smtplib.', 'fcntl.', 'signal.', 'syslog.', 'winreg.')
    harmless = ('os.listdir', 'os.scandir', 'os.walk', 'os.fwalk', 'os.putenv', 'os.unsetenv', 'os.getxattr')
    def hook(event, arguments):
        if event.startswith(refused) and event not in harmless:
            raise PermissionError(event)
        if event == 'sqlite3.connect' and arguments[0] not in (':memory:', b':memory:', ''):
            raise PermissionError(event)
        if event != 'open' or isinstance(arguments[0], int):
            return
        path, mode, flags = arguments
        path = join(real(decode(bytes(path) if isinstance(path, bytearray) else fspath(path))), '')
        changes = any(letter in (mode or '') for letter in 'wax+') or (mode is None and (flags or 0) & writes)
        if not path.startswith(join(own, '') if changes else readable):
            raise PermissionError(path)
    sys.addaudithook(hook)
_guard()
del _guard
"""
"""Runs before a snippet that is not ours. It stops what wanders off; it is no wall against a determined attacker."""

Runner = Callable[[str, str], str]
"""Takes the setup and what to run; returns the result as text."""


def render_rows(rows: Iterable[Iterable[Any]]) -> str:
    """Write a result as options do: values joined by ``, `` and rows by `` / ``; NULL, true and false as in SQL.

    Args:
        rows: the rows of a result, in order.

    Returns:
        One line; ``(no rows)`` when there are none.
    """
    lines = [", ".join(_render(value) for value in row) for row in rows]
    return " / ".join(lines) if lines else "(no rows)"


def _render(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | Decimal):
        return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}"
    return str(value)


def run_duckdb(setup: str, run: str) -> str:
    """Execute in an empty in-memory DuckDB.

    Args:
        setup: statements to run first.
        run: statements whose last result is the answer.

    Returns:
        The rendered rows, or ``error: <class>`` when ``run`` is refused.
    """
    with duckdb.connect(config=DUCKDB_LIMITS) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
        alarm = threading.Timer(DUCKDB_SECONDS, connection.interrupt)
        alarm.start()
        try:
            if setup.strip():
                connection.execute(setup)
        except duckdb.Error as error:
            return f"error in the setup: {error}".splitlines()[0]
        else:
            return _last_rows(connection, run)
        finally:
            alarm.cancel()


def _last_rows(connection: duckdb.DuckDBPyConnection, run: str) -> str:
    try:
        rows = connection.execute(run).fetchmany(MAX_ROWS)
    except duckdb.InterruptException:
        return "error: timeout"
    except duckdb.Error as error:
        return f"error: {type(error).__name__}"
    return render_rows(rows)


def _limit_process() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PYTHON_SECONDS, PYTHON_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (PYTHON_BYTES, PYTHON_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def run_python(setup: str, run: str) -> str:
    """Execute in a fresh, isolated Python with limits on time, memory and file size.

    Args:
        setup: lines to run first.
        run: lines whose standard output is the answer.

    Returns:
        What was printed, lines joined by `` / ``; ``error: <class>`` when it raised; ``error: timeout``.
    """
    return _run_limited(f"{setup}\n{run}")


def run_guarded_python(setup: str, run: str) -> str:
    """Execute what somebody else wrote: as `run_python`, and without processes, network and foreign files.

    Args:
        setup: lines to run first.
        run: lines whose standard output is the answer.

    Returns:
        As `run_python`; what the guard refuses is ``error: PermissionError``.
    """
    return _run_limited(f"{_GUARD}\n{setup}\n{run}")


def _run_limited(code: str) -> str:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as told:
        try:
            done = subprocess.run(  # noqa: S603 - short snippets, limited
                [sys.executable, "-I", "-X", "utf8", "-c", code],
                cwd=folder,
                env={"PATH": os.defpath, "TZ": "UTC", "PYTHONHASHSEED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=printed,  # a file, so that the limit on files is one on what is printed
                stderr=told,
                timeout=PYTHON_SECONDS,
                check=False,
                preexec_fn=_limit_process,
            )
        except subprocess.TimeoutExpired:
            return "error: timeout"
        output, error = _read(printed), _read(told)
    if done.returncode:
        last = (error.strip().splitlines() or ["killed"])[-1]
        return f"error: {last.split(':')[0]}"
    return " / ".join(output.rstrip().splitlines()) or "(nothing)"


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def wrong_answer(question: Question, check: Check, runner: Runner) -> str | None:
    """Execute a question's check and hold its options to the result.

    Args:
        question: what the learner sees.
        check: its check.
        runner: what executes for the check's engine.

    Returns:
        None when the marked option, and no other, is the result; else one line on what came instead.
    """
    result = runner(check.setup, check.run or question.code or "")
    meant = [option.value or option.text for option in question.options]
    if meant[question.correct_index] != result:
        return f"{question.id}: marked {meant[question.correct_index]!r}, but running it gives {result!r}"
    return None


RUNNERS: dict[CheckEngine, Runner] = {CheckEngine.DUCKDB: run_duckdb, CheckEngine.PYTHON: run_python}
"""The engines that need nothing but this machine; Postgres is added by whoever has a connection to one."""

GUARDED_RUNNERS: dict[CheckEngine, Runner] = RUNNERS | {CheckEngine.PYTHON: run_guarded_python}
"""The same for what an operator imports or a language model wrote."""
