"""A file of a stranger full of attacks: each is refused with its reason, and none of it runs in CPython."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from domain.catalog import CheckEngine, QuestionSource, Topic
from question_bank.format import BankQuestion
from question_bank.rows import question_columns
from repository import Repository
from sandbox import python, sql
from tests.integration.desk.support import Desk, make_checked, write
from tests.support.attacks import READ_BY_PYTHON, READ_BY_SQL, VARIABLE, WRITE_BY_PYTHON, WRITE_BY_SQL, aim

SECRET = "planted_and_never_to_be_seen"
MARKED = f"marked {SECRET!r}, but running it gives "
BOMBS = {
    "bomb-of-python": (CheckEngine.PYTHON, "print(len([0] * 10 ** 11))", "running it takes too much memory"),
    "bomb-of-sql": (
        CheckEngine.DUCKDB,
        "SELECT " + ", ".join(["length(repeat('x', 400000000))"] * 8),
        "running it takes too much memory",
    ),
}


@pytest.fixture
def in_cpython(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Note which programs are run as the bank's own Python is, instead of running them."""
    programs: list[object] = []
    monkeypatch.setattr(subprocess, "run", lambda program, **_: programs.append(program))
    return programs


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[BankQuestion]:
    """Plant a secret, and return questions whose checks are after it."""
    monkeypatch.setenv(VARIABLE, SECRET)
    python.close()
    sql.close()
    secret = tmp_path / "planted" / "secret.csv"
    secret.parent.mkdir()
    secret.write_text(f"a\n{SECRET}\n", encoding="utf-8")
    attacks = [(CheckEngine.PYTHON, code) for code in (*READ_BY_PYTHON.values(), *WRITE_BY_PYTHON.values())]
    attacks += [(CheckEngine.DUCKDB, code) for code in (*READ_BY_SQL.values(), *WRITE_BY_SQL.values())]
    written = secret.with_name("written")
    return [
        *(
            make_checked(f"attack-{number}", engine, aim(code, secret, written), SECRET)
            for number, (engine, code) in enumerate(attacks)
        ),
        *(make_checked(name, engine, run, "0") for name, (engine, run, _) in BOMBS.items()),
    ]


def reasons(output: str) -> dict[str, str]:
    """Return why each question is refused, by its id."""
    found = [line.split(": ", 2) for line in output.splitlines() if ": attack-" in line or ": bomb-" in line]
    return {key: reason for _, key, reason in found}


@pytest.mark.parametrize("command", [("import", "--dry-run"), ("import",), ("verify",)], ids=" ".join)
async def test_every_attack_in_a_file_is_refused_with_its_reason(
    command: tuple[str, ...],
    desk: Desk,
    repository: Repository,
    tmp_path: Path,
    hostile: list[BankQuestion],
    in_cpython: list[object],
) -> None:
    status, output, errors = await desk(*command, write(tmp_path / "hostile.yaml", *hostile))
    assert status == 1
    told = reasons(output)
    assert told.keys() == {question.id for question in hostile}
    assert {told[name] for name in BOMBS} == {reason for _, _, reason in BOMBS.values()}
    for key in told.keys() - BOMBS.keys():
        assert told[key].startswith(
            ("the sandbox cannot run it: ", "the sandbox refuses it: ", f"marked {SECRET!r}, but")
        )
        assert SECRET not in told[key].removeprefix(f"marked {SECRET!r}")
    assert SECRET not in errors
    assert in_cpython == []
    assert [path.name for path in (tmp_path / "planted").iterdir()] == ["secret.csv"]
    assert await repository.list_questions(source=QuestionSource.IMPORTED) == []


async def test_what_is_stored_is_verified_as_a_strangers(
    desk: Desk, repository: Repository, tmp_path: Path, hostile: list[BankQuestion], in_cpython: list[object]
) -> None:
    await repository.store_questions(
        question_columns(question, Topic.STREAMING, QuestionSource.IMPORTED) for question in hostile
    )
    harmless = make_checked("harmless", CheckEngine.PYTHON, "print(42)", "42")
    status, output, _ = await desk("verify", write(tmp_path / "one.yaml", harmless), "--stored")
    assert status == 1
    assert output.endswith(f"{len(hostile)} wrong\n")
    assert in_cpython == []
    assert [path.name for path in (tmp_path / "planted").iterdir()] == ["secret.csv"]
