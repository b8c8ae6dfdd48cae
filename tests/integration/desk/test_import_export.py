"""Operators take questions in from files and hand them out to files."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from domain.catalog import CheckEngine, QuestionSource, QuestionState, Topic
from question_bank import __main__ as linter
from question_bank.rows import question_columns
from repository import Repository
from tests.integration.desk.support import KEY, Desk, make_checked, run_sql, write
from tests.support.factories import make_bank_question


@pytest.mark.parametrize("form", ["yaml", "csv"])
async def test_an_import_takes_the_good_rows_and_a_second_one_changes_nothing(
    desk: Desk, repository: Repository, tmp_path: Path, form: str
) -> None:
    good = make_checked("good", CheckEngine.PYTHON, "print('yes' * 2)", "yesyes")
    wrong = make_checked("wrong", CheckEngine.DUCKDB, "SELECT 1", "2")
    taken = make_bank_question(id=KEY)
    again = good.model_copy(update={"id": "again", "check": None})
    path = write(tmp_path / f"some.{form}", good, wrong, taken, again)
    status, output, _ = await desk("import", path)
    assert status == 1
    for reason in (
        "wrong: marked '2', but running it gives '1'",
        f"{KEY}: the id is taken by a question of the source static",
        "again: asks the same as good",
    ):
        [line] = [line for line in output.splitlines() if line.endswith(reason)]
        assert line.startswith(f"{path}:")
    assert output.splitlines()[-1] == "1 new, 0 changed, 0 unchanged, 3 refused"
    [entry] = await repository.list_questions(source=QuestionSource.IMPORTED)
    assert (entry.question.key, entry.state) == ("good", QuestionState.ACTIVE)

    path = write(path, good)
    status, output, _ = await desk("import", path)
    assert (status, output.splitlines()[-2:]) == (
        0,
        ["0 new, 0 changed, 1 unchanged, 0 refused", "nothing is changed"],
    )
    path = write(path, good.model_copy(update={"explanation": "Said otherwise."}))
    assert "0 new, 1 changed, 0 unchanged, 0 refused" in (await desk("import", path))[1]
    [entry] = await repository.list_questions(keys=["good"])
    assert entry.question.explanation == "Said otherwise."


async def test_a_dry_run_stores_nothing(desk: Desk, repository: Repository, tmp_path: Path) -> None:
    status, output, _ = await desk("import", write(tmp_path / "one.csv", make_bank_question()), "--dry-run")
    assert status == 0
    assert "1 new, 0 changed, 0 unchanged, 0 refused; a dry run stores nothing" in output
    assert await repository.list_questions(source=QuestionSource.IMPORTED) == []


async def test_all_good_rows_are_stored_or_none(
    desk: Desk, repository: Repository, database_url: str, tmp_path: Path
) -> None:
    await run_sql(database_url, "ALTER TABLE questions ADD CHECK (key <> 'second')")
    path = write(tmp_path / "two.yaml", make_bank_question(id="first"), make_bank_question(id="second"))
    with pytest.raises(asyncpg.CheckViolationError):
        await desk("import", path)
    assert await repository.list_questions(source=QuestionSource.IMPORTED) == []


async def test_postgres_checks_are_imported_only_where_they_can_be_executed(desk: Desk, tmp_path: Path) -> None:
    path = write(tmp_path / "one.yaml", make_checked("one", CheckEngine.POSTGRES, "SELECT 42::int4", "42"))
    status, output, _ = await desk("import", path)
    assert status == 1
    assert f"{path}:3: one: its check needs PostgreSQL: import with --postgres" in output
    status, output, _ = await desk("import", path, "--postgres")
    assert status == 0
    assert "1 new" in output


async def test_a_file_that_is_not_there_is_refused(desk: Desk, tmp_path: Path) -> None:
    status, output, _ = await desk("import", tmp_path / "absent.yaml")
    assert status == 1
    assert f"{tmp_path}/absent.yaml:1: cannot be read: " in output
    assert "1 refused" in output


@pytest.mark.parametrize("form", ["yaml", "csv"])
async def test_what_is_exported_imports_into_an_empty_database_as_the_same(
    desk: Desk, repository: Repository, database_url: str, tmp_path: Path, form: str
) -> None:
    checked = make_checked("checked", CheckEngine.PYTHON, "print('a', end='')\nprint('\\n b')", "a /  b")
    long = make_bank_question(id="long", prompt="One,\ntwo: # three\n\nfour?", code="x = [\n  1,\n]", language="python")
    for question in (checked, long):
        await repository.store_question(question_columns(question, Topic.OBSERVABILITY, QuestionSource.IMPORTED))
    first, second = tmp_path / f"first.{form}", tmp_path / f"second.{form}"
    status, output, _ = await desk("export", "--format", form, "--out", first)
    assert (status, output) == (0, f"146 questions written to {first}\n")
    assert linter.main([str(first)]) == 0
    await run_sql(database_url, "DELETE FROM questions")
    status, output, _ = await desk("import", first)
    assert status == 0
    assert output.splitlines()[-1] == "146 new, 0 changed, 0 unchanged, 0 refused"
    await desk("export", "--format", form, "--out", second)
    assert second.read_bytes() == first.read_bytes()


async def test_an_export_holds_what_is_asked_for(desk: Desk, repository: Repository) -> None:
    question = make_bank_question(id="computed-sums-7")
    columns = question_columns(question, Topic.STREAMING, QuestionSource.COMPUTED, template="sums", seed=7)
    await repository.store_question(columns)
    await repository.quarantine_question("streaming-2-1", "in doubt")
    _, output, _ = await desk("export", "--topic", "streaming", "--level", "2")
    assert [line.split()[-1] for line in output.splitlines() if "- id:" in line] == ["streaming-2-0", "streaming-2-2"]
    _, output, _ = await desk("export", "--state", "quarantined", "--format", "csv")
    assert [line.split(",")[0] for line in output.splitlines()] == ["id", "streaming-2-1"]
    _, output, _ = await desk("export", "--source", "computed")
    assert "- id: computed-sums-7" in output


async def test_an_export_to_where_nothing_can_be_written_is_one_line(desk: Desk, tmp_path: Path) -> None:
    status, output, errors = await desk("export", "--out", tmp_path / "absent" / "x.yaml")
    assert (status, output) == (1, "")
    assert errors == (
        f"quiz: The questions cannot be written there: {tmp_path}/absent/x.yaml: No such file or directory\n"
    )


async def test_a_stored_question_that_breaks_the_banks_rules_is_left_out_and_named(
    desk: Desk, database_url: str
) -> None:
    await run_sql(database_url, f"UPDATE questions SET explanation = '' WHERE key = '{KEY}'")  # noqa: S608
    status, output, errors = await desk("export", "--topic", "streaming", "--level", 1)
    assert status == 1
    assert errors == f"quiz: left out: static/{KEY}: explanation: String should have at least 1 character\n"
    assert output.count("- id:") == 2
