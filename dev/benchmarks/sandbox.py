"""Strangers' code in its sandbox beside the bare engine: what a run costs, and how far past its deadline it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO

import duckdb
from pydantic_monty import CollectString, Monty

from dev.benchmarks.numbers import SHARES, Figures, latency_figures
from dev.benchmarks.section import Section, Table
from dev.stack import Say
from sandbox import python, sql
from sandbox.confinement import describe_protections
from sandbox.python import run_python
from sandbox.results import Limits, TimedOut
from sandbox.sql import run_sql

PYTHON = "orders = [('a', 3), ('b', 5), ('a', 4)]\nprint(sum(n for name, n in orders if name == 'a'))"
SETUP = "CREATE TABLE orders (name text, n int); INSERT INTO orders VALUES ('a', 3), ('b', 5), ('a', 4)"
SQL = "SELECT name, sum(n) FROM orders GROUP BY name ORDER BY name"
FRESH = f"import duckdb; c = duckdb.connect(); c.execute({SETUP!r}); c.execute({SQL!r}).fetchall()"

DEADLINE_SECONDS = 0.2
HANGING: dict[str, tuple[str, Callable[[Limits], object]]] = {
    "python_loop": ("Python: `while True: pass`", lambda limits: run_python("while True: pass", limits)),
    "python_deaf": (
        "Python: one multiplication that takes seconds",
        lambda limits: run_python("x = 7 ** 3000000\nx = x * x * x * x * x * x * x", limits),
    ),
    "sql_count": ("SQL: a count of 10¹⁴ rows", lambda limits: run_sql("", "FROM range(100000000000000)", limits)),
    "sql_deaf": (
        "SQL: one function that takes seconds",
        lambda limits: run_sql("", "SELECT levenshtein(repeat('a', 100000), repeat('b', 100000))", limits),
    ),
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    runs: int
    fresh_processes: int
    """Runs in a process of its own, which take longest."""
    hanging: int


FULL = Size(runs=1_000, fresh_processes=50, hanging=40)
QUICK = Size(runs=20, fresh_processes=2, hanging=2)


async def measure(size: Size, say: Say) -> Figures:
    """Run something small, and something that does not end."""
    return await asyncio.to_thread(_measure, size, say)


def _measure(size: Size, say: Say) -> Figures:
    runs: Figures = {}
    with Monty() as pool:
        ways: dict[str, tuple[Callable[[], object], int]] = {
            "python": (lambda: run_python(PYTHON), size.runs),
            "python_session": (lambda: _run_session(pool), size.runs),
            "python_bare": (_run_cpython, size.runs),
            "sql": (lambda: run_sql(SETUP, SQL), size.runs),
            "sql_bare": (_run_duckdb, size.runs),
            "sql_fresh": (_run_fresh, size.fresh_processes),
        }
        for name, (run, count) in ways.items():
            run()  # what is started once is started
            runs[name] = latency_figures([_timed(run) for _ in range(count)])
            say(f"{name}: {runs[name]['p50_ms']} ms")
    late: Figures = {}
    for name, (_, run_hanging) in HANGING.items():
        late[name] = latency_figures([_overrun(run_hanging) for _ in range(size.hanging)])
        say(f"{name} ended {late[name]['p50_ms']} ms past its deadline")
    python.close()
    sql.close()
    return {
        "runs": runs,
        "late": late,
        "deadline_seconds": DEADLINE_SECONDS,
        "protections": list(describe_protections()),
        "duckdb": duckdb.__version__,
    }


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _overrun(run: Callable[[Limits], object]) -> float:
    began = time.perf_counter()
    result = run(Limits(seconds=DEADLINE_SECONDS, max_rows=10**18))
    took = time.perf_counter() - began
    if result != TimedOut():
        raise RuntimeError(f"it was not ended by its deadline: {result}")
    return took - DEADLINE_SECONDS


def _run_session(pool: Monty) -> None:
    with pool.checkout() as session:
        session.feed_run(PYTHON, print_callback=CollectString())


def _run_cpython() -> None:
    with redirect_stdout(StringIO()):
        exec(compile(PYTHON, "snippet", "exec"), {})  # noqa: S102 - our own text


def _run_duckdb() -> None:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(SETUP)
        connection.execute(SQL).fetchall()


def _run_fresh() -> None:
    subprocess.run([sys.executable, "-I", "-c", FRESH], env={}, check=True)  # noqa: S603 - our own text


NAMES = {
    "python": "**Python in the sandbox**",
    "python_session": "Monty's pool as it comes, its workers used again",
    "python_bare": "CPython, `exec` in this process",
    "sql": "**SQL in the sandbox**",
    "sql_bare": "DuckDB in this process, a connection for each run",
    "sql_fresh": "DuckDB in a fresh Python for each run",
}


def present(figures: Figures) -> Section:
    """Show the figures."""
    runs, late = figures["runs"], figures["late"]
    shares = list(SHARES)
    columns = ["", "runs", *(share.replace("_ms", " ms") for share in shares)]
    return Section(
        title="Sandbox: what untrusted code costs, and when it is stopped",
        about=(
            "A small run (`run_python`: a sum over three tuples; `run_sql`: a table of three rows and a GROUP BY) in "
            f"the sandbox and in the bare engine, one after the other; DuckDB {figures['duckdb']}. Then runs that do "
            f"not end, with a deadline of {figures['deadline_seconds']:g} s. To the limits of the process that runs "
            f"SQL this machine adds: {', '.join(figures['protections']) or 'nothing'}."
        ),
        tables=[
            Table("Milliseconds a run", columns, [_row(title, runs[name]) for name, title in NAMES.items()]),
            Table(
                "Milliseconds from the deadline to the result",
                columns,
                [_row(title, late[name]) for name, (title, _) in HANGING.items()],
            ),
        ],
        notes=[
            (
                "Each run has a process of its own: of Python a worker that Monty's pool starts anew, of SQL a fork "
                "of a process that has DuckDB open."
            ),
            (
                "Where Monty cannot stop by itself, within one multiplication, its pool kills the worker "
                f"{1000 * python.GRACE_SECONDS:g} ms after the deadline. SQL is killed at its deadline, whatever it "
                "does."
            ),
        ],
        limits=["Runs that wait because as many as there are CPUs are under way: waiting is no part of the deadline."],
    )


def _row(title: str, figures: Figures) -> list[str]:
    return [title, str(figures["count"]), *(f"{figures[share]:.2f}" for share in SHARES)]
