"""`python main.py backup` and `python main.py restore FILE`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from difficulty_adapter import rules_of
from domain.addresses import read_database_address
from domain.errors import BackupError, QuizServiceError, RestoreError, StartupError, StorageUnavailableError
from domain.ids import BackupId
from domain.service_state import BackupState
from domain.settings import Settings
from domain.words import plural
from observability.logs import one_line
from repository import Repository
from roles.backups.folder import BackupFolder, NewDump
from roles.backups.programs import check_file, program_folder, require_version, run_on
from roles.backups.verification import RESTORE, Tables, verify_dump
from roles.questions.terminal import open_console, say
from roles.replay.checks import replay
from roles.replay.command import read_records
from storage.snapshot import open_snapshot

logger = logging.getLogger(__name__)

MEGABYTE = 1_000_000


@dataclass(slots=True)
class Result:
    """What became of a backup, to be filled in before its end."""

    file: Path
    size_bytes: int | None = None
    differences: list[str] | None = None
    """What the replay found."""


async def run_backup(settings: Settings) -> int:
    """Make a verified backup, remove the oldest, and print what was done.

    Returns:
        The exit status: 0; a backup that fails raises.

    Raises:
        StartupError: a setting, a program or a right is missing, or another backup is under way.
        BackupError: the database could not be dumped, or the dump could not be verified.
        StorageUnavailableError: the database does not answer.
    """
    begun_at, folder = datetime.now(UTC), BackupFolder(_folder_of(settings))
    url = _direct_address(settings, settings.backup_database_url or settings.database_url)
    program_folder()
    with folder.in_use(), folder.new_dump(begun_at) as dump:
        async with await Repository.open(settings) as repository, _noted(repository, dump) as result:
            tables, schema = await _write_dump(url, dump)
            result.size_bytes = dump.partial.stat().st_size
            try:
                result.differences = await verify_dump(dump.partial, tables, schema, settings)
            except QuizServiceError:
                result.file = folder.keep_unverified(dump)
                logger.warning("a dump that could not be verified is kept until the next backup: %s", result.file.name)
                raise
            result.file = dump.keep()
            try:
                folder.prune(result.file, settings.backups_kept)
            except OSError as error:
                logger.warning("older backups could not be removed: %s", one_line(error))
    _report(result, tables, (datetime.now(UTC) - begun_at).total_seconds())
    return 0


def _folder_of(settings: Settings) -> Path:
    if settings.backup_dir is None:
        raise StartupError("set BACKUP_DIR to the folder that backups are to be kept in")
    return settings.backup_dir.absolute()


def _direct_address(settings: Settings, given: SecretStr | None) -> str:
    """Return an address of the database as these programs need it."""
    if given is None:
        raise StartupError("set DATABASE_URL")
    address = read_database_address(given.get_secret_value())
    if address.pooler or (settings.database_pooler and given == settings.database_url):
        raise StartupError(
            "pg_dump cannot work through a pooler; set BACKUP_DATABASE_URL to the database's own address"
        )
    return address.url


@asynccontextmanager
async def _noted(repository: Repository, dump: NewDump) -> AsyncIterator[Result]:
    """Note that a backup begins and how it ended; a database that takes no note can be dumped all the same."""
    result, number = Result(dump.path), None
    try:
        number = await repository.begin_backup(dump.path.name)
    except StorageUnavailableError as error:
        logger.warning("the beginning of the backup could not be noted: %s", error)
    try:
        yield result
    except BaseException as error:
        reason = one_line(error) or type(error).__name__
        await _note_end(repository, number, BackupState.FAILED, result, reason)
        raise
    await _note_end(repository, number, BackupState.VERIFIED, result)


async def _note_end(
    repository: Repository, number: BackupId | None, state: BackupState, result: Result, reason: str | None = None
) -> None:
    if number is None:
        return
    differences = None if result.differences is None else len(result.differences)
    try:
        await repository.end_backup(number, state, reason=reason, size_bytes=result.size_bytes, differences=differences)
    except StorageUnavailableError as error:
        logger.warning("the end of the backup could not be noted: %s", error)


async def _write_dump(url: str, dump: NewDump) -> tuple[Tables, str]:
    """Dump the database as it is at one moment, and return what its tables held then, and their schema."""
    async with open_snapshot(url) as snapshot:
        await require_version(snapshot.server_version)
        name, schema = await snapshot.export(), await snapshot.get_schema()
        try:
            with dump.writing() as file:
                await run_on(url, "pg_dump", ["--format=custom", f"--snapshot={name}"], file)
        except OSError as error:
            raise BackupError(f"{dump.path.parent} cannot be written: {error.strerror}") from error
        return await snapshot.digest_tables(), schema


def _report(result: Result, tables: Tables, seconds: float) -> None:
    console, size = open_console(), (result.size_bytes or 0) / MEGABYTE
    rows = sum(table.rows for table in tables.values())
    say(console, f"verified {result.file.name}: {size:.1f} MB, {rows} rows in {len(tables)} tables, {seconds:.0f} s")
    if found := result.differences:
        count = f"{len(found)} {plural(len(found), 'difference')}"
        logger.warning("the backup is a true copy of a database in which a replay finds %s: %s", count, found[0])
        say(console, f"a replay of the database finds {count}, see `python main.py replay`: {one_line(found[0])}")


async def run_restore(settings: Settings, file: Path) -> int:
    """Restore a backup into the empty database of the settings, and replay it.

    Returns:
        The exit status: 0 if the replay finds nothing, else 1.

    Raises:
        StartupError: a setting or a program is missing, or the database refuses the login.
        RestoreError: the database is not empty, or the file is no whole dump; the database is as it was.
        StorageUnavailableError: the database does not answer.
    """
    url = _direct_address(settings, settings.backup_database_url if settings.database_pooler else settings.database_url)
    console = open_console()
    async with open_snapshot(url) as snapshot:
        if not await snapshot.is_empty():
            raise RestoreError("the database has tables; make an empty one (DEPLOYMENT.md, Backups)")
        schema = await snapshot.get_schema()
    try:
        await check_file(file)
        await run_on(url, "pg_restore", [*RESTORE, "--single-transaction", str(file)])
    except BackupError as error:
        raise RestoreError(one_line(error).partition(": ")[2]) from error
    async with open_snapshot(url) as snapshot:
        tables = await snapshot.digest_tables()
    rows = sum(table.rows for table in tables.values())
    say(console, f"restored {file} into schema {schema}: {rows} rows in {len(tables)} tables")
    async with await Repository.open(settings) as repository:
        await repository.database.prepare_schema()
    found = replay(await read_records(url), rules_of(settings), settled=False)
    say(console, "\n".join(found) if found else "a replay finds no difference")
    return 1 if found else 0
