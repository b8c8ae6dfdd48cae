"""Operators verify the bank: a wrong key of any kind is caught and named."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

import question_desk
from domain.catalog import CheckEngine, Level, QuestionSource, Topic
from local.borrowed_postgres import throwaway_postgres
from question_bank.format import Check, Option, Reference
from question_bank.rows import question_columns
from question_bank.templates.base import Draft, Misconception, Template
from repository import Repository
from tests.desk.support import KEY, Desk, make_checked, run_sql, write
from tests.factories import make_bank_question


async def test_a_wrong_key_is_caught_on_every_engine(
    desk: Desk, tmp_path: Path, postgres_url: Callable[[str], str]
) -> None:
    runs = {
        CheckEngine.DUCKDB: "SELECT 40 + 2",
        CheckEngine.PYTHON: "print(40 + 2)",
        CheckEngine.POSTGRES: "SELECT (40 + 2)::int4",
    }
    right = [make_checked(f"right-{engine}", engine, run, "42") for engine, run in runs.items()]
    wrong = [make_checked(f"wrong-{engine}", engine, run, "43") for engine, run in runs.items()]
    path = write(tmp_path / "mixed.yaml", *right, *wrong)
    status, output, _ = await desk("verify", path, "--postgres", postgres_url("desk_checks"))
    assert status == 1
    for name, engine in (("DuckDB", "duckdb"), ("Python", "python"), ("PostgreSQL", "postgres")):
        assert f"wrong-{engine}: marked '43', but running it gives '42'" in output
        assert f"right-{engine}" not in output
        [row] = [line for line in output.splitlines() if line.startswith(f"{name} checks  ")]
        assert row.split() == [name, "checks", "2", "1"]
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "id: wrong-python" in text)
    assert f"{tmp_path.name}/mixed.yaml:{line}: wrong-python: marked" in output
    assert output.endswith("3 wrong\n")


async def test_a_postgres_setup_that_fails_is_named(
    desk: Desk, tmp_path: Path, postgres_url: Callable[[str], str]
) -> None:
    question = make_checked("broken", CheckEngine.POSTGRES, "SELECT 1", "1")
    broken = question.model_copy(
        update={"check": Check(engine=CheckEngine.POSTGRES, setup="CREATE TABEL", run="SELECT 1")}
    )
    path = write(tmp_path / "one.yaml", broken)
    status, output, _ = await desk("verify", path, "--postgres", postgres_url("desk_checks"))
    assert status == 1
    assert "broken: error in the setup: syntax error" in output


def make_template(name: str, draft: Callable[[random.Random], Draft]) -> Template:
    """Return a template of nothing much, executed by Python."""
    reference = Reference(title="Arithmetic, first chapter", url="https://example.org/numbers")
    return Template(name, Topic.STREAMING, Level.BEGINNER, CheckEngine.PYTHON, ("numbers",), reference, draft)


def draft_of(run: str) -> Callable[[random.Random], Draft]:
    """Return a draft whose answer is what something prints."""

    def draft(rng: random.Random) -> Draft:
        """Ask for nothing much."""
        wrong = [Misconception(f"m{n}", why="No.", value=f"{rng.random()}") for n in range(3)]
        return Draft(prompt="What?", run=run, why="Yes.", misconceptions=wrong, explanation="So.")

    return draft


async def test_a_template_with_a_wrong_key_or_none_is_caught(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    templates = [
        make_template("fine", draft_of("print(6 * 7)")),
        make_template("differs", draft_of("print(__name__)")),  # alone it is another thing than among others
        make_template("breaks", draft_of("print(1 / 0)")),
    ]
    monkeypatch.setattr(question_desk, "TEMPLATES", {template.name: template for template in templates})
    status, output, _ = await desk("verify", "--draws", 3)
    assert status == 1
    assert "computed-differs-0: marked 'template', but running it gives '__main__'" in output
    assert "computed-breaks-0: ZeroDivisionError: division by zero" in output
    assert "computed-fine" not in output
    rows = {
        line.rsplit(maxsplit=2)[0]: line.split()[-2:] for line in output.splitlines() if line.startswith("template ")
    }
    assert rows["template draws"] == ["7", "1"]  # the broken one is given up at its first draw
    assert rows["template answers"] == ["2", "1"]
    assert f"\ndesk/{Path(__file__).name}:" in output


async def test_what_is_stored_is_verified_if_asked(
    desk: Desk, repository: Repository, database_url: str, tmp_path: Path
) -> None:
    for key, source in (("good", QuestionSource.IMPORTED), ("bad", QuestionSource.LLM)):
        question = make_checked(key, CheckEngine.DUCKDB, f"SELECT '{key}'", key)
        await repository.store_question(question_columns(question, Topic.STREAMING, source))
    await run_sql(database_url, "UPDATE questions SET correct_index = 1 WHERE key = 'bad'")
    path = write(tmp_path / "one.yaml", make_bank_question())
    assert (await desk("verify", path))[0] == 0
    status, output, _ = await desk("verify", path, "--stored")
    assert status == 1
    assert "\nllm/bad: bad: marked " in output
    assert "but running it gives 'bad'" in output
    assert "good" not in output
    assert ["stored", "checks", "2", "1"] in [line.split() for line in output.splitlines()]


async def test_a_repetition_of_the_banks_question_is_found(desk: Desk, repository: Repository, tmp_path: Path) -> None:
    stored = await repository.get_question(KEY)
    assert stored
    options = [
        Option(text=option.text, why=option.why, correct=place == stored.correct_index)
        for place, option in enumerate(stored.options)
    ]
    twin = make_bank_question(id="twin", prompt=stored.prompt, options=options)
    status, output, _ = await desk("verify", write(tmp_path / "twin.yaml", twin))
    assert status == 1
    assert f"twin: asks the same as {KEY}, which is in the bank" in output


async def test_long_work_shows_how_far_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_desk, "TEMPLATES", {})
    status, output, _ = await desk("verify")
    assert status == 0
    lines = [line for line in output.splitlines() if line.startswith("near duplicates: ")]
    assert lines == [f"near duplicates: {n} of 144" for n in (36, 72, 108)] + ["near duplicates: 144 of 144, done"]
    assert output.endswith("nothing is wrong\n")


async def test_a_server_for_checks_that_does_not_answer_is_one_line(desk: Desk, tmp_path: Path) -> None:
    path = write(tmp_path / "one.yaml", make_checked("one", CheckEngine.POSTGRES, "SELECT 1", "1"))
    status, _, errors = await desk("verify", path, "--postgres", "postgresql://127.0.0.1:1/x")
    assert status == 1
    assert errors.startswith("quiz: The PostgreSQL for the checks does not answer: ConnectionRefusedError")
    assert errors.count("\n") == 1


async def test_what_is_checked_on_a_throw_away_server_reaches_nothing_beyond_it() -> None:
    with throwaway_postgres() as url:
        connection = await asyncpg.connect(url)
        for statement in ("COPY (SELECT 1) TO PROGRAM 'cat'", "SELECT pg_read_file('/etc/passwd')"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.execute("CREATE TABLE t (a int)")
        assert await connection.fetchval("SHOW statement_timeout") == "10s"
        await connection.close()
    with pytest.raises(OSError, match=r"No such file|refused"):
        await asyncpg.connect(url)
