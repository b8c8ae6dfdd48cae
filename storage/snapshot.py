"""What a database holds at one moment: for a dump of it, and for comparing two of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import asyncpg

from storage.database import CONNECT_SECONDS, CheckedConnection, refusals_in_one_line, translated_errors
from storage.loader import load_queries

if TYPE_CHECKING:
    from storage.database import Connection

_SESSION = {
    "application_name": "quiz backup",
    "jit": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
"""Rows as text are the same in every session that has these."""


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What a table holds."""

    rows: int
    digest: Decimal
    """A sum over the rows; equal tables have equal ones."""


class Snapshot:
    """A transaction that sees the database as it was when it began."""

    def __init__(self, connection: Connection) -> None:
        """Take a connection inside its transaction."""
        self._connection = connection
        self._queries = load_queries()

    @property
    def server_version(self) -> int:
        """Return the major version of the server."""
        return self._connection.get_server_version().major

    async def export(self) -> str:
        """Return the name by which other connections see the same, as long as this lasts."""
        return str(await self._connection.fetchval(self._queries["export_snapshot"]))

    async def get_schema(self) -> str:
        """Return the schema that has the tables."""
        return str(await self._connection.fetchval(self._queries["get_schema"]))

    async def is_empty(self) -> bool:
        """Return whether there is no table."""
        return bool(await self._connection.fetchval(self._queries["is_empty"]))

    async def digest_tables(self) -> dict[str, TableDigest]:
        """Return what each table holds, by its name with its schema; reads every row."""
        statement = await self._connection.fetchval(self._queries["compose_table_digests"])
        rows = await self._connection.fetch(statement) if statement else []
        return {row["name"]: TableDigest(row["rows"], row["digest"]) for row in rows}


@asynccontextmanager
async def open_snapshot(url: str) -> AsyncIterator[Snapshot]:
    """Open a connection of its own, and begin its transaction.

    Raises:
        StorageUnavailableError: the database does not answer, or is lost meanwhile.
        StartupError: it refuses the address or the login, or is behind a pooler.
    """
    with translated_errors(), refusals_in_one_line():
        connection = await asyncpg.connect(
            url, timeout=CONNECT_SECONDS, server_settings=_SESSION, connection_class=CheckedConnection
        )
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield Snapshot(connection)
        finally:
            connection.terminate()
