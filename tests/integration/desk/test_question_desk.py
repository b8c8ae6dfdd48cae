"""`python main.py questions` as operators start it: the command line and the database behind it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.integration.desk.support import KEY, Desk, run_sql
from tests.integration.test_cli import ROOT, run
from tests.support.factories import TOKEN
from tests.support.waiting import WAIT_SECONDS


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE questions RENAME TO other", "quiz: The database has the schema of another version"),
        ("ALTER TABLE questions DROP COLUMN state_reason", "quiz: The database has the schema of another version"),
    ],
)
async def test_another_versions_schema_is_one_line(
    desk: Desk, database_url: str, statement: str, expected: str
) -> None:
    await run_sql(database_url, statement)
    status, _, errors = await desk("list")
    assert status == 1
    assert errors.startswith(expected)
    assert errors.count("\n") == 1


async def test_a_database_that_is_not_there_is_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    for url, expected in (
        ("postgresql://127.0.0.1:1/x", "The database cannot be reached"),
        (database_url.replace("/test_", "/no_test_"), "does not exist"),
    ):
        monkeypatch.setenv("DATABASE_URL", url)
        status, _, errors = await desk("list")
        assert status == 1
        assert expected in errors
        assert errors.count("\n") == 1


HOLD = """
import sys
from pathlib import Path
from local import servers
from local.shared_postgres import shared_postgres

folder = Path(sys.argv[2])
if sys.argv[1] == "run":  # as `python main.py` holds it
    context = servers.postgres(folder)
else:
    context = shared_postgres(folder, "quiz")
with context as found:
    print(found if isinstance(found, str) else found("quiz"), flush=True)
    sys.stdin.read()
"""


def hold(how: str, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Have a process use the embedded server until its input ends; return it and the database's URL."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, how, str(folder)], cwd=ROOT, stdin=-1, stdout=-1, text=True)
    assert process.stdout
    return process, process.stdout.readline().strip()


async def ping(url: str) -> bool:
    """Say whether a database answers."""
    try:
        connection = await asyncpg.connect(url, timeout=WAIT_SECONDS)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


async def release(process: subprocess.Popen[str]) -> None:
    """Let a process that holds the server end."""
    output, _ = await asyncio.to_thread(process.communicate, timeout=WAIT_SECONDS)
    assert output == ""
    assert process.returncode == 0


async def test_without_a_database_url_the_embedded_one_serves_beside_whoever_uses_it(
    data_folder: Path, bank_folder: Path
) -> None:
    data = data_folder / "desk"  # a short path, as sockets need
    known: dict[str, Any] = {"DATA_DIR": str(data), "QUESTION_BANK_DIR": str(bank_folder)}
    postmaster = data / "postgres" / "postmaster.pid"

    status, output, errors = await run("questions", "list", "--state", "active", "--limit", "1", **known)
    assert (status, errors) == (0, "")
    assert output.endswith("1 of 144 questions; --limit N shows more\n")  # a new database holds the bank
    assert not postmaster.exists()  # the command stopped what it had started

    stack, url = await asyncio.to_thread(hold, "run", data / "postgres")
    status, _, errors = await run("questions", "quarantine", KEY, "--reason", "doubt", **known)
    assert (status, errors) == (0, "")
    assert await ping(url)  # it left the server to the one who runs it

    command, _ = await asyncio.to_thread(hold, "command", data / "postgres")
    await release(stack)
    assert await ping(url)  # and whoever runs it leaves it to a command that is not done
    await release(command)
    assert not postmaster.exists()  # which stops it, as the last one

    leftover, url = await asyncio.to_thread(hold, "run", data / "postgres")
    leftover.kill()
    await asyncio.to_thread(leftover.communicate)
    status, output, _ = await run("questions", "list", "--state", "quarantined", **known)
    assert KEY in output
    assert await ping(url)  # what was left behind may still serve others
    stack, _ = await asyncio.to_thread(hold, "run", data / "postgres")
    await release(stack)
    assert not postmaster.exists()


async def test_without_a_command_the_commands_are_told() -> None:
    status, output, _ = await run("questions")
    assert status == 0
    assert all(command in output for command in ("list", "verify", "import", "quarantine"))


async def test_a_command_line_that_says_nothing_sensible_is_told_what_would_be() -> None:
    for arguments, expected in (
        (["list", "--topic", "streeming"], "no such topic: 'streeming'; is it streaming?"),
        (["list", "--level", "guru"], "no such level: 'guru'; known: 1, 2, 3, 4, beginner"),
        (["list", "--limit", "0"], "must be a number from 1: '0'"),
        (["quarantine", "x", "--reason", " "], "must not be empty"),
    ):
        status, output, errors = await run("questions", *arguments, TELEGRAM_BOT_TOKEN=TOKEN)
        assert (status, output) == (2, "")
        assert expected in errors
