"""Attacks on both engines, run by a process with secrets: none reads one, writes, connects or outlives its limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.unit.sandbox import python_attacks, sql_attacks
from tests.unit.sandbox.victim import LIMITS, Outcome

pytestmark = pytest.mark.slow

PLANTED = "Zq7-planted-secret"

MARGIN_BYTES = 64 << 20
"""What the measure leaves open: pages of shared libraries, and that Monty's own accounts are not the kernel's."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the victim says, and where it was attacked."""

    outcomes: dict[str, Outcome]
    connected: bool
    idle_bytes: int
    largest_child_bytes: int
    grown_bytes: int
    target: Path
    errors: str


def attack(engine: str, attacks: dict[str, str], folder: Path) -> Report:
    """Have a process with secrets run attacks."""
    secret, target = folder / "secret", folder / "target"
    secret.write_text(PLANTED)
    text = json.dumps(attacks).replace("@SECRET@", str(secret)).replace("@TARGET@", str(target))
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.sandbox.victim", engine, PLANTED],
        input=text,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PLANTED": PLANTED},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    outcomes = {name: Outcome(**outcome) for name, outcome in report.pop("outcomes").items()}
    return Report(outcomes=outcomes, target=target, errors=done.stderr, **report)


@pytest.fixture(scope="module")
def on_python(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return what became of the attacks on Monty."""
    return attack("python", python_attacks.REACHES | python_attacks.BOMBS, tmp_path_factory.mktemp("python"))


@pytest.fixture(scope="module")
def on_sql(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return what became of the attacks on DuckDB."""
    return attack("sql", sql_attacks.REACHES | sql_attacks.BOMBS, tmp_path_factory.mktemp("sql"))


def test_the_same_attacks_in_cpython_read_what_is_planted(tmp_path: Path) -> None:
    """Without a sandbox they do what they are meant to, so that a test which sees nothing says something."""
    secret, target = tmp_path / "secret", tmp_path / "target"
    secret.write_text(PLANTED)
    for name in ("open", "environ", "parents_environ", "parents_cmdline", "system", "popen", "random_os", "pickle"):
        code = python_attacks.REACHES[name].replace("@SECRET@", str(secret)).replace("@TARGET@", str(target))
        runner = "import os, sys; exec(sys.argv[1].replace('@PID@', str(os.getppid())))"
        outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {runner!r}, sys.argv[1]])"
        done = subprocess.run(
            [sys.executable, "-c", outer, code, PLANTED],
            capture_output=True,
            text=True,
            env=os.environ | {"PLANTED": PLANTED},
            check=True,
        )
        assert PLANTED in done.stdout or target.exists(), name
        target.unlink(missing_ok=True)


def test_there_are_enough_attacks(on_python: Report, on_sql: Report) -> None:
    for report, attacks in ((on_python, python_attacks), (on_sql, sql_attacks)):
        assert min(len(attacks.REACHES), len(attacks.BOMBS)) >= 40
        assert report.outcomes.keys() == attacks.REACHES.keys() | attacks.BOMBS.keys()


each_engine = pytest.mark.parametrize("engine", ["on_python", "on_sql"])


@each_engine
def test_nothing_is_learned_and_the_next_run_works(request: pytest.FixtureRequest, engine: str) -> None:
    report: Report = request.getfixturevalue(engine)
    assert {name: outcome for name, outcome in report.outcomes.items() if PLANTED in outcome.text} == {}
    assert [name for name, outcome in report.outcomes.items() if not outcome.next_works] == []


@each_engine
def test_nothing_is_written_and_nobody_is_called(request: pytest.FixtureRequest, engine: str) -> None:
    report: Report = request.getfixturevalue(engine)
    assert not report.target.exists()
    assert [path.name for path in report.target.parent.iterdir()] == ["secret"]
    assert not report.connected
    assert PLANTED not in report.errors


ENDED_BY_A_LIMIT = {"TimedOut", "OutOfMemory"}

HARMLESS_IN_MONTY = {
    "in_range_of_floats",  # it computes what CPython looks for
    "hash_exponential",  # it remembers a hash
}


def test_python_that_uses_too_much_does_not_end_well(on_python: Report) -> None:
    ends = {name: on_python.outcomes[name].kind for name in python_attacks.BOMBS.keys() - HARMLESS_IN_MONTY}
    bad = ENDED_BY_A_LIMIT | {"Failed", "Unsupported"}
    assert {name: kind for name, kind in ends.items() if kind not in bad} == {}


def test_sql_that_uses_too_much_does_not_end_well(on_sql: Report) -> None:
    ends = {name: on_sql.outcomes[name].kind for name in sql_attacks.BOMBS}
    assert {name: kind for name, kind in ends.items() if kind not in ENDED_BY_A_LIMIT | {"Failed"}} == {}


def test_most_bombs_are_ended_by_a_limit(on_python: Report, on_sql: Report) -> None:
    """They are no bombs if an error of syntax ends them."""
    for report, bombs in ((on_python, python_attacks.BOMBS), (on_sql, sql_attacks.BOMBS)):
        limited = [name for name in bombs if report.outcomes[name].kind in ENDED_BY_A_LIMIT]
        assert len(limited) >= 40


@pytest.mark.skipif(sys.platform != "linux", reason="measured in /proc")
def test_no_run_of_python_grows_beyond_its_limit(on_python: Report) -> None:
    assert LIMITS.memory_bytes // 2 < on_python.largest_child_bytes < LIMITS.memory_bytes + MARGIN_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit the address space")
def test_no_run_of_sql_grows_beyond_its_limit(on_sql: Report) -> None:
    peaks = {name: on_sql.outcomes[name].peak_bytes for name in sql_attacks.BOMBS}
    assert {name: peak for name, peak in peaks.items() if peak > on_sql.idle_bytes + LIMITS.memory_bytes} == {}


@each_engine
def test_the_caller_does_not_grow_with_what_it_is_sent(request: pytest.FixtureRequest, engine: str) -> None:
    report: Report = request.getfixturevalue(engine)
    assert report.grown_bytes < LIMITS.memory_bytes + MARGIN_BYTES
