"""Operators verify the bank: a wrong key of any kind is caught and named."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from domain.catalog import CheckEngine, Level, QuestionSource, Topic
from local import throwaway_postgres
from question_bank.format import Check, Option, Reference
from question_bank.rows import question_columns
from question_bank.templates.base import Draft, Misconception, Template
from repository import Repository
from roles.questions import commands
from sandbox import sql
from tests.integration.desk.support import KEY, Desk, make_checked, run_sql, write
from tests.integration.test_cli import ROOT
from tests.support.factories import make_bank_question, some_id
from tests.support.waiting import WAIT_SECONDS, wait_for


async def test_a_wrong_key_is_caught_on_every_engine(desk: Desk, tmp_path: Path) -> None:
    runs = {
        CheckEngine.DUCKDB: "SELECT 40 + 2",
        CheckEngine.PYTHON: "print(40 + 2)",
        CheckEngine.POSTGRES: "SELECT (40 + 2)::int4",
    }
    right = [make_checked(f"right-{engine}", engine, run, "42") for engine, run in runs.items()]
    wrong = [make_checked(f"wrong-{engine}", engine, run, "43") for engine, run in runs.items()]
    path = write(tmp_path / "mixed.yaml", *right, *wrong)
    status, output, _ = await desk("verify", path)
    assert status == 1
    for name, engine in (("DuckDB", "duckdb"), ("Python", "python"), ("PostgreSQL", "postgres")):
        assert f"wrong-{engine}: marked '43', but running it gives '42'" in output
        assert f"right-{engine}" not in output
        [row] = [line for line in output.splitlines() if line.startswith(f"{name} checks  ")]
        assert row.split() == [name, "checks", "2", "1"]
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "id: wrong-python" in text)
    assert f"\n{path.name}:{line}: wrong-python: marked" in output
    assert output.endswith("3 wrong\n")


async def test_a_postgres_setup_that_fails_is_named(desk: Desk, tmp_path: Path) -> None:
    question = make_checked("broken", CheckEngine.POSTGRES, "SELECT 1", "1")
    broken = question.model_copy(
        update={"check": Check(engine=CheckEngine.POSTGRES, setup="CREATE TABEL", run="SELECT 1")}
    )
    path = write(tmp_path / "one.yaml", broken)
    status, output, _ = await desk("verify", path)
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
    monkeypatch.setattr(commands, "TEMPLATES", {template.name: template for template in templates})
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
    assert f"\n{__file__}:" in output


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
    duplicate = make_bank_question(id="twin", prompt=stored.prompt, options=options)
    status, output, _ = await desk("verify", write(tmp_path / "twin.yaml", duplicate))
    assert status == 1
    assert f"twin: asks the same as {KEY}, which is in the bank" in output


async def test_long_work_shows_how_far_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "TEMPLATES", {})
    status, output, _ = await desk("verify")
    assert status == 0
    lines = [line for line in output.splitlines() if line.startswith("near duplicates: ")]
    assert lines == [f"near duplicates: {n} of 144" for n in (36, 72, 108)] + ["near duplicates: 144 of 144, done"]
    assert output.endswith("nothing is wrong\n")


async def test_a_server_for_checks_that_does_not_start_is_one_line(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throwaway_postgres, "POSTGRES_BIN_PATH", tmp_path)
    path = write(tmp_path / "one.yaml", make_checked("one", CheckEngine.POSTGRES, "SELECT 1", "1"))
    status, _, errors = await desk("verify", path)
    assert status == 1
    assert errors.startswith("quiz: The service cannot start: the throw-away PostgreSQL does not start")
    assert errors.count("\n") == 1


async def test_a_sandbox_that_does_not_start_is_one_line(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql.close()
    monkeypatch.setattr(sql, "_CHILD", tmp_path / "nowhere.py")
    path = write(tmp_path / "one.yaml", make_checked("one", CheckEngine.DUCKDB, "SELECT 1", "1"))
    status, _, errors = await desk("verify", path)
    sql.close()
    assert status == 1
    assert errors.startswith("quiz: The sandbox failed, whatever the code in it: SQL: ")
    assert errors.count("\n") == 1


async def test_where_the_banks_python_ran_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    monkeypatch.setenv("QUESTION_BANK_DIR", str(bank))
    simple = make_checked("simple", CheckEngine.PYTHON, "print(6 * 7)", "42")
    compressed = make_checked("compressed", CheckEngine.PYTHON, "import zlib\nprint(len(zlib.compress(b'')))", "8")
    (bank / "streaming").mkdir(parents=True)
    of_the_bank = write(bank / "streaming" / "python.yaml", simple, compressed)
    foreign = write(tmp_path / "foreign.yaml", simple.model_copy(update={"id": "foreign"}), compressed)
    _, output, _ = await desk("verify", of_the_bank)
    assert "Python checks: 1 in the sandbox, 1 in CPython\n" in output
    assert "compressed: " not in output
    _, output, _ = await desk("verify", foreign)
    assert "in CPython" not in output
    assert "compressed: the sandbox cannot run it: No module named 'zlib'" in output


@contextmanager
def verifying(data_folder: Path, temporary: Path, run: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `questions verify` on a slow check; yield the command, and its server's process once that is ready."""
    temporary.mkdir()
    temporary.chmod(0o777)  # the server may run as another user
    path = write(temporary / "slow.yaml", make_checked("slow", CheckEngine.POSTGRES, run, "1"))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "questions", "verify", str(path)],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(temporary), "DATA_DIR": str(data_folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while "ready" not in (state := "".join(map(Path.read_text, temporary.glob("*/postgres/postmaster.pid")))):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        yield process, int(state.split()[0])


def is_gone(process: int) -> bool:
    """Say whether a process has ended; without an init that reaps, it stays listed as a zombie."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_command_that_is_terminated_leaves_no_server_behind(data_folder: Path) -> None:
    temporary = data_folder / "terminated"
    with verifying(data_folder, temporary, "SELECT pg_sleep(60)") as (process, server):
        wait_for(lambda: any("SELECT" in " ".join(child.cmdline()) for child in psutil.Process(server).children()))
        process.terminate()
        _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, errors) == (143, "")
    assert list(temporary.glob("quiz-*")) == []
    wait_for(lambda: is_gone(server))


LISTENS_TO_NOTHING = """DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60);
EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot end with its parent")
@pytest.mark.parametrize("run", ["SELECT pg_sleep(60)", LISTENS_TO_NOTHING])
def test_a_command_that_is_killed_leaves_no_server_behind(
    run: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = data_folder / f"killed-{some_id()}"  # short, as sockets need it
    with verifying(data_folder, temporary, run) as (process, server):
        while not (sessions := psutil.Process(server).children()):
            time.sleep(0.05)
        process.kill()
        process.communicate(timeout=WAIT_SECONDS)
    processes = [server, *(session.pid for session in sessions)]
    wait_for(lambda: all(map(is_gone, processes)))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert len(list(temporary.glob("quiz-checks-*"))) == 1
    throwaway_postgres._remove_left()  # noqa: SLF001 - as the next command does
    assert list(temporary.glob("quiz-checks-*")) == []
