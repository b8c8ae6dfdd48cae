"""Executes many small things quickly: what the service's own templates need, never untrusted code.

A fresh DuckDB takes tens of milliseconds to open, so one connection serves all, each use in a transaction that is
rolled back. Python runs in this process. What a model or an import brings goes through ``checks.py`` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import duckdb

from domain.catalog import CheckEngine
from question_bank.checks import render_rows

Run = Callable[[str], str]
"""Takes what to run and returns its result."""


class Executor:
    """Where templates find out their answers."""

    def __init__(self) -> None:
        """Open an empty in-memory DuckDB that cannot reach files or the network."""
        self._duckdb = duckdb.connect(config={"threads": "1", "enable_external_access": "false"})
        self._duckdb.execute(
            "SET TimeZone = 'UTC'; PRAGMA disable_optimizer"
        )  # tables of ten rows: planning is the work

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._duckdb.close()

    @contextmanager
    def prepared(self, engine: CheckEngine, setup: str) -> Iterator[Run]:
        """Yield what executes one thing after the other on the same setup.

        Yields:
            A function that returns a result, rendered as ``checks.py`` renders it. In DuckDB all share one transaction,
            which is rolled back at the end; in Python each begins anew with the setup.

        Raises:
            duckdb.Error: a statement is wrong, which is a mistake in the template.
            Exception: whatever a Python snippet raises, which is one as well.
            ValueError: templates cannot use the engine.
        """
        match engine:
            case CheckEngine.DUCKDB:
                self._duckdb.begin()
                try:
                    if setup.strip():
                        self._duckdb.execute(setup)
                    yield self._run_duckdb
                finally:
                    self._duckdb.rollback()
            case CheckEngine.PYTHON:
                yield lambda run: _run_python(f"{setup}\n{run}")
            case _:
                msg = f"templates cannot run on {engine}"
                raise ValueError(msg)

    def _run_duckdb(self, run: str) -> str:
        return render_rows(self._duckdb.execute(run).fetchall())


def _run_python(code: str) -> str:
    lines: list[str] = []

    def collect(*values: object, sep: str = " ", end: str = "\n") -> None:
        lines.append(sep.join(map(str, values)) + end)

    exec(compile(code, "template", "exec"), {"__name__": "template", "print": collect})  # noqa: S102 - our own text
    return " / ".join("".join(lines).rstrip().splitlines()) or "(nothing)"
