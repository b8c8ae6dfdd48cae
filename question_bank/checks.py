"""Executes what a question shows, to find out whether the marked option is what really happens.

Untrusted code (of a language model, or of an import) runs in the sandbox only. The bank's own Python may run
in CPython as well.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import IO, Any

from domain.catalog import CheckEngine
from question_bank.format import BankQuestion, Check
from sandbox.python import run_python
from sandbox.results import (
    Failed,
    Limits,
    OutOfMemory,
    Printed,
    PythonResult,
    Rows,
    SqlResult,
    TimedOut,
    Unsupported,
)
from sandbox.sql import run_sql

PYTHON_SECONDS = 10
PYTHON_BYTES = 1 << 30

LIMITS = Limits()
"""Of a check in the sandbox."""

REFUSALS = frozenset(
    [
        "Crashed",
        "InsufficientPrivilegeError",
        "OutputTooLarge",
        "PermissionException",
        "TooManyRows",
    ]
)
"""Classes of errors that tell of the sandbox and not of the question; none can be an answer."""

Result = PythonResult | SqlResult

Runner = Callable[[str, str], Result]
"""Takes the setup and what to run."""


# ---------------------------------------------------------------- results as text


def render_rows(rows: Iterable[Iterable[Any]]) -> str:
    """Write a result as options do: values joined by ``, `` and rows by `` / ``; NULL, true and false as in SQL.

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


def wrong_answer(question: BankQuestion, check: Check, runner: Runner) -> str | None:
    """Execute a question's check and hold its options to the result.

    Returns:
        None when the marked option, and no other, is the result; else one line on what came instead.
    """
    right = question.options[question.correct_index]
    meant = right.value or right.text
    match runner(check.setup, check.run or question.code or ""):
        case Printed(text):
            given, told = " / ".join(text.rstrip().splitlines()) or "(nothing)", ""
        case Rows(_, rows):
            given, told = render_rows(rows), ""
        case Failed(error, message, in_setup=False) if error not in REFUSALS:
            given, told = f"error: {error}", f" ({message})" if message else ""
        case flaw:
            return f"{question.id}: {_explain(flaw)}"
    if meant == given:
        return None
    return f"{question.id}: marked {meant!r}, but running it gives {given!r}{told}"


def _explain(result: Result) -> str:
    """Say in plain words why a result is no answer to any question."""
    match result:
        case TimedOut():
            return "running it takes too long"
        case OutOfMemory():
            return "running it takes too much memory"
        case Unsupported(reason):
            return f"the sandbox cannot run it: {reason}"
        case Failed(error, message, in_setup=True):
            return f"error in the setup: {message or error}"
        case Failed(error, message):
            return f"the sandbox refuses it: {error}: {message}"
        case _:
            raise AssertionError(result)


# ---------------------------------------------------------------- untrusted code


def run_untrusted_python(setup: str, run: str) -> PythonResult:
    """Execute untrusted Python in the sandbox."""
    return run_python(f"{setup}\n{run}", LIMITS)


def run_duckdb(setup: str, run: str) -> SqlResult:
    """Execute SQL in the sandbox, untrusted or not."""
    return run_sql(setup, run, LIMITS)


UNTRUSTED_RUNNERS: Mapping[CheckEngine, Runner] = {
    CheckEngine.DUCKDB: run_duckdb,
    CheckEngine.PYTHON: run_untrusted_python,
}
"""What a language model or an import brings is executed by these only; PostgreSQL needs a server."""


# ---------------------------------------------------------------- the service's own


def run_cpython(setup: str, run: str) -> PythonResult:
    """Execute Python of the service itself in a fresh, isolated CPython with limits on time, memory and file size.

    Args:
        setup: lines to run first; trusted only.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as told:
        try:
            done = subprocess.run(  # noqa: S603 - short snippets, limited
                [sys.executable, "-I", "-X", "utf8", "-c", f"{setup}\n{run}"],
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
            return TimedOut()
        output, error = _read(printed), _read(told)
    if not done.returncode:
        return Printed(output)
    if done.returncode in {-signal.SIGKILL, -signal.SIGXCPU}:
        return TimedOut()
    kind, _, message = (error.strip().splitlines() or [f"exit status {done.returncode}"])[-1].partition(": ")
    return OutOfMemory() if kind == "MemoryError" else Failed(kind.rstrip(":"), message)


OWN_RUNNERS: Mapping[CheckEngine, Runner] = {CheckEngine.DUCKDB: run_duckdb, CheckEngine.PYTHON: run_cpython}
"""For what the service brings itself, such as templates."""


def _limit_process() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PYTHON_SECONDS, PYTHON_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (PYTHON_BYTES, PYTHON_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
