"""A pool of connections that runs the named queries and prepares the schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import asyncpg

from domain.errors import StartupError, StorageUnavailableError
from sql.loader import load_queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record]
    PooledConnection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

SCHEMA_FILE = Path(__file__).parent.parent / "schema.sql"
MIGRATIONS_FOLDER = Path(__file__).with_name("migrations")

COMMAND_SECONDS = 30.0
CONNECT_SECONDS = 5.0


_AWAY_STATES = ("08", "53", "57", "58", "25006", "55000")
"""SQLSTATE classes and codes that blame the database, not the query: the same call may work later. In order: connection
lost, out of disk or connections, shut down or cancelled, system error, read-only, not accepting connections."""


def _is_away(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_AWAY_STATES)
    return isinstance(error, (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError))


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's errors for an absent database into ours.

    Raises:
        StorageUnavailableError: the database is away, full or read-only.
    """
    try:
        yield
    except Exception as error:
        if _is_away(error):
            raise StorageUnavailableError(f"{type(error).__name__}: {error}") from error
        raise


@contextmanager
def _refusals_in_one_line() -> Iterator[None]:
    try:
        yield
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise StartupError(f"the database refuses DATABASE_URL: {error}") from error
    except asyncpg.ProtocolViolationError as error:
        if "unsupported startup parameter" not in str(error):
            raise  # a pooler says it in the same way when the database behind it is away
        raise StartupError("a pooler stands before the database; set DATABASE_POOLER=true") from error


class Database:
    """Runs named queries on a pool."""

    def __init__(self, pool: Pool, dsn: str, *, pooler: bool) -> None:
        """Wrap a pool; use `connect` to make one.

        Args:
            pool: the open pool.
            dsn: where it leads, for a connection of its own to listen on.
            pooler: whether a transaction pooler stands between.
        """
        self._pool = pool
        self._dsn = dsn
        self._queries = load_queries()
        self.pooler = pooler

    @classmethod
    async def connect(cls, dsn: str, *, size: int = 10, pooler: bool = False) -> Self:
        """Open a pool.

        Args:
            dsn: a PostgreSQL URL.
            size: connections at most.
            pooler: True behind a transaction pooler, which cannot keep prepared statements.

        Raises:
            StorageUnavailableError: nobody answers there.
            StartupError: the password is wrong, there is no such user or database, or a pooler that is not expected.
        """
        with translated_errors(), _refusals_in_one_line():
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=size,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                reset=_keep_session,
                statement_cache_size=0 if pooler else 256,
                server_settings=None if pooler else {"application_name": "quiz", "jit": "off"},
            )
        return cls(pool, dsn, pooler=pooler)

    async def __aenter__(self) -> Self:
        """Return itself: the pool is open already."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the pool."""
        await self.close()

    async def close(self) -> None:
        """Close every connection, by force if a query does not end within a few seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS)
        except TimeoutError:
            self._pool.terminate()

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named query and return its rows.

        Args:
            name: the query's name in queries.sql.
            arguments: its parameters.
        """
        with translated_errors():
            return await self._pool.fetch(self._queries[name], *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> asyncpg.Record | None:
        """Run a named query and return its first row, or None.

        Args:
            name: the query's name in queries.sql.
            arguments: its parameters.
        """
        with translated_errors():
            return await self._pool.fetchrow(self._queries[name], *arguments)

    async def fetchval(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the query yields
        """Run a named query and return the first value of its first row, or None.

        Args:
            name: the query's name in queries.sql.
            arguments: its parameters.
        """
        with translated_errors():
            return await self._pool.fetchval(self._queries[name], *arguments)

    async def execute(self, name: str, *arguments: object) -> int:
        """Run a named statement and return how many rows it touched.

        Args:
            name: the query's name in queries.sql.
            arguments: its parameters.
        """
        with translated_errors():
            tag = await self._pool.execute(self._queries[name], *arguments)
        return int(tag.rsplit(" ", 1)[-1]) if tag[-1].isdigit() else 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Run several named queries as one: all or nothing.

        Raises:
            StorageUnavailableError: the database went away; nothing of it was kept.
        """
        with translated_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                yield Transaction(connection, self._queries)

    async def notify(self, channel: str) -> None:
        """Wake whoever listens on a channel.

        Args:
            channel: a plain identifier.
        """
        with translated_errors():
            await self._pool.execute(f"NOTIFY {channel}")

    async def listen(
        self, channel: str, wake: Callable[[], None], lost: Callable[[], None]
    ) -> Callable[[], Awaitable[None]]:
        """Call back on every notification, on a connection outside the pool.

        Args:
            channel: a plain identifier.
            wake: called on each notification.
            lost: called when the connection is gone and nothing will be heard any more.

        Returns:
            What ends the listening.

        Raises:
            StorageUnavailableError: the database is away.
        """
        with translated_errors():
            connection = await asyncpg.connect(self._dsn, timeout=CONNECT_SECONDS)
            connection.add_termination_listener(lambda _: lost())
            await connection.add_listener(channel, lambda *_: wake())
        return connection.close

    async def prepare_schema(self, migrations: Path = MIGRATIONS_FOLDER) -> list[str]:
        """Apply schema.sql to an empty database and the missing migrations to any other.

        Several processes may call this at once: one works, the others wait and find it done.

        Args:
            migrations: where the migrations are.

        Returns:
            What was applied, in order.
        """
        with translated_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.fetch(self._queries["lock_schema"])
                return await self._apply(connection, migrations)

    async def _apply(self, connection: PooledConnection, migrations: Path) -> list[str]:
        if not await connection.fetchval(self._queries["schema_exists"]):
            await connection.execute(_without_transaction(SCHEMA_FILE.read_text(encoding="utf-8")))
            applied = [SCHEMA_FILE.name]
        else:
            applied = []
        known = {row["name"] for row in await connection.fetch(self._queries["list_applied_migrations"])}
        for path in sorted(migrations.glob("*.sql")):  # noqa: ASYNC240 - a few small files, once at the start
            if path.stem not in known:
                await connection.execute(path.read_text(encoding="utf-8"))
                await connection.execute(self._queries["record_migration"], path.stem)
                applied.append(path.name)
        return applied


class Transaction:
    """Named queries on one connection, inside one transaction."""

    def __init__(self, connection: PooledConnection, queries: dict[str, str]) -> None:
        """Take the connection that the transaction runs on.

        Args:
            connection: inside its transaction already.
            queries: the named queries.
        """
        self._connection = connection
        self._queries = queries

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named query and return its rows.

        Args:
            name: the query's name in queries.sql.
            arguments: its parameters.
        """
        return await self._connection.fetch(self._queries[name], *arguments)

    async def execute(self, name: str, *arguments: object) -> str:
        """Run a named statement and return its command tag.

        Args:
            name: the query's name in queries.sql.
            arguments: its parameters.
        """
        return await self._connection.execute(self._queries[name], *arguments)

    async def executemany(self, name: str, arguments: list[tuple[object, ...]]) -> None:
        """Run a named statement once for each set of parameters, in one exchange.

        Args:
            name: the query's name in queries.sql.
            arguments: one tuple of parameters for each run.
        """
        await self._connection.executemany(self._queries[name], arguments)


async def _keep_session(_: object) -> None:
    """Hand a connection back as it is.

    The pool would reset it with a second exchange for each query. There is nothing to reset: locks end with their
    transactions, and listening has a connection of its own. Without it the webhook takes a fifth more requests.
    """


def _without_transaction(script: str) -> str:
    """Cut the BEGIN and COMMIT that psql needs out of a script that runs inside a transaction of ours."""
    lines = script.splitlines()
    return "\n".join(line for line in lines if line not in {"BEGIN;", "COMMIT;"})
