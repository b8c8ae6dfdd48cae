"""A language model that replies with an attack: its question is quarantined, it learns nothing and writes nothing."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import pytest

from domain.catalog import GenerationOutcome
from question_bank import checks
from sandbox import python, sql
from sandbox.results import Limits
from tests.integration.llm.support import Desk, executed_question
from tests.support.attacks import (
    ENDLESS_PYTHON,
    ENDLESS_SQL,
    ONLY_FOR_SQL,
    READ_BY_PYTHON,
    READ_BY_SQL,
    VARIABLE,
    WRITE_BY_PYTHON,
    WRITE_BY_SQL,
    aim,
)

SECRET = "planted_and_never_to_be_seen"
VALUES = ("got it", "0", "1", "2")


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Plant a secret in the environment and in a file, before any process of the sandbox is started."""
    monkeypatch.setenv(VARIABLE, SECRET)
    python.close()
    sql.close()
    path = tmp_path / "secret.csv"
    path.write_text(f"a\n{SECRET}\n", encoding="utf-8")
    return path


async def everything_stored(desk: Desk) -> str:
    """Return every question and every generation as text."""
    pool = desk.repository.database._pool  # noqa: SLF001 - a look
    rows = await pool.fetch("SELECT q::text FROM questions q UNION ALL SELECT g::text FROM generations g")
    return "\n".join(row[0] for row in rows)


async def quarantined(desk: Desk, engine: str, attack: str) -> str:
    """Have a model reply with an attack beside what it shows, and return why the question is not asked."""
    shown = "SELECT 'shown'" if engine == "duckdb" else "print('shown')"
    made = await desk.make(executed_question(engine, shown, VALUES, setup=attack))
    assert made.outcome is GenerationOutcome.QUARANTINED, made
    assert await desk.reaches_nobody()
    before, _, reason = (made.reason or "").partition(f"{made.key}: ")
    assert before == "execution: "
    return reason


# ---------------------------------------------------------------- the attacks are real


@pytest.mark.parametrize("what", sorted(READ_BY_PYTHON))
def test_in_cpython_it_reads_the_secret(what: str, secret: Path) -> None:
    code = aim(READ_BY_PYTHON[what], secret, secret.with_name("written"))
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert SECRET in done.stdout


@pytest.mark.parametrize("what", sorted(WRITE_BY_PYTHON))
def test_in_cpython_it_writes(what: str, secret: Path) -> None:
    written = secret.with_name("written")
    subprocess.run([sys.executable, "-I", "-c", aim(WRITE_BY_PYTHON[what], secret, written)], check=True)
    assert written.exists()


@pytest.mark.parametrize("what", sorted(READ_BY_SQL))
def test_in_an_open_duckdb_it_reads_the_secret(what: str, secret: Path) -> None:
    with duckdb.connect() as connection:
        assert SECRET in str(connection.execute(aim(READ_BY_SQL[what], secret, secret.with_name("written"))).fetchall())


@pytest.mark.parametrize("what", sorted(WRITE_BY_SQL))
def test_in_an_open_duckdb_it_writes(what: str, secret: Path) -> None:
    written = secret.with_name("written")
    with duckdb.connect() as connection:
        connection.execute(aim(WRITE_BY_SQL[what], secret, written))
        assert written.exists()


# ---------------------------------------------------------------- and come to nothing

ATTACKS = {
    f"{engine}, {what}": (engine, attack)
    for engine, attacks in (
        ("python", READ_BY_PYTHON | {f"writing a {what}": code for what, code in WRITE_BY_PYTHON.items()}),
        ("duckdb", READ_BY_SQL | ONLY_FOR_SQL | {f"writing a {what}": code for what, code in WRITE_BY_SQL.items()}),
    )
    for what, attack in attacks.items()
}


@pytest.mark.parametrize("what", sorted(ATTACKS))
async def test_a_reply_that_attacks_is_quarantined_and_learns_nothing(
    what: str, desk: Desk, secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine, attack = ATTACKS[what]
    with caplog.at_level(logging.DEBUG):
        reason = await quarantined(desk, engine, aim(attack, secret, secret.with_name("written")))
    assert reason.startswith(
        ("the sandbox cannot run it: ", "the sandbox refuses it: ", "error in the setup: ", "marked 'got it', but ")
    )
    assert SECRET not in reason
    assert SECRET not in await everything_stored(desk)
    assert SECRET not in caplog.text
    assert list(secret.parent.iterdir()) == [secret]


@pytest.mark.parametrize("what", sorted(WRITE_BY_PYTHON))
async def test_an_attack_that_hides_its_failure_has_failed_all_the_same(what: str, desk: Desk, secret: Path) -> None:
    attack = textwrap.indent(aim(WRITE_BY_PYTHON[what], secret, secret.with_name("written")), "    ")
    hidden = f"try:\n{attack}\nexcept BaseException:\n    pass"
    await desk.make(executed_question("python", "print('shown')", ("shown", "0", "1", "2"), setup=hidden))
    assert list(secret.parent.iterdir()) == [secret]


CUT_OFF = (
    "running it takes too long",
    "running it takes too much memory",
    "the sandbox refuses it: OutputTooLarge: ",
    "marked 'got it', but running it gives 'error: RecursionError'",
)


@pytest.mark.parametrize(
    ("engine", "bomb"),
    [("python", bomb) for bomb in ENDLESS_PYTHON.values()] + [("duckdb", bomb) for bomb in ENDLESS_SQL.values()],
    ids=[f"python, {what}" for what in ENDLESS_PYTHON] + [f"duckdb, {what}" for what in ENDLESS_SQL],
)
async def test_a_reply_without_an_end_is_cut_off_and_the_next_question_is_made(
    engine: str, bomb: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LIMITS", Limits(seconds=1))
    reason = await quarantined(desk, engine, bomb)
    assert reason.startswith(CUT_OFF)
    code = "print(40 + 2)" if engine == "python" else "SELECT 40 + 2"
    made = await desk.make(executed_question(engine, code, ("42", "43", "44", "45")))
    assert made.outcome is GenerationOutcome.ACCEPTED, made
