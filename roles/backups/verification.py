"""Whether a dump is a true copy: it is restored into a database that is thrown away."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import asyncpg

from difficulty_adapter import rules_of
from domain.errors import BackupError
from domain.settings import Settings
from roles.backups.programs import run_on
from roles.replay.checks import replay
from roles.replay.command import read_records
from storage.database import Database
from storage.snapshot import TableDigest, open_snapshot

RESTORE = ("--exit-on-error", "--no-owner", "--no-privileges")
"""Rights and owners are the place's own, not the dump's."""

Tables = dict[str, TableDigest]


async def verify_dump(dump: Path, tables: Tables, schema: str, settings: Settings) -> list[str]:
    """Restore a dump, compare it, and replay every stored answer.

    Args:
        tables: what it should hold.
        schema: the one that has the service's tables.

    Returns:
        What the replay found; a true copy of a database with differences has them as well.

    Raises:
        BackupError: it cannot be restored, or lacks something.
        StartupError: the throw-away server does not start.
    """
    from local.throwaway_postgres import throwaway_postgres  # noqa: PLC0415 - a deployed service may lack it

    with throwaway_postgres(limited=False) as url:
        await run_on(url, "pg_restore", [*RESTORE, str(dump)])
        async with open_snapshot(url) as restored:
            compare(tables, await restored.digest_tables())
        own = f"{url}{'&' if '?' in url else '?'}search_path={quote(schema)}"
        async with await Database.connect(own, size=2) as database:
            await database.prepare_schema()  # what an upgrade would do with it
        try:
            return replay(await read_records(own), rules_of(settings), settled=False)
        except (asyncpg.PostgresError, ValueError, LookupError) as error:
            raise BackupError(f"the restored rows cannot be replayed: {error}") from error


def compare(wanted: Tables, found: Tables) -> None:
    """Make sure that two databases hold the same.

    Raises:
        BackupError: they do not; the message names the first table.
    """
    for name in sorted(wanted.keys() | found.keys()):
        there, here = wanted.get(name), found.get(name)
        if there == here:
            continue
        if there is None or here is None:
            raise BackupError(f"table {name} is {'missing' if here is None else 'not in the database'} in the dump")
        other = f"{here.rows} rows, not {there.rows}" if here.rows != there.rows else "other rows than the database"
        raise BackupError(f"table {name} of the dump holds {other}")
