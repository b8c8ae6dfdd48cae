"""A pool of connections that runs the named queries and prepares the schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import asyncpg

from domain.addresses import read_database_address
from domain.errors import SchemaMismatchError, StartupError, StorageUnavailableError, first_line
from storage.loader import load_queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record]
    PooledConnection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

SCHEMA_FILE = Path(__file__).parent.parent / "schema.sql"
MIGRATIONS_FOLDER = Path(__file__).with_name("migrations")

COMMAND_SECONDS = 30.0
CONNECT_SECONDS = 5.0
LOCK_TIMEOUT = "5s"
"""For how long a migration waits for a table that others use, and they behind it."""


MIN_SERVER_VERSION = 15
"""The oldest major version of PostgreSQL that schema and queries were tried on."""

_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedObjectError,  # a setting that the server does not know, or a value that is none
    asyncpg.InvalidParameterValueError,
    asyncpg.CantChangeRuntimeParamError,
)

_UNAVAILABLE_STATES = (
    "08",  # connection exception
    "0A000",  # what a statement was prepared on has changed meanwhile
    "25006",  # read-only
    "28",  # the password was changed, or pg_hba.conf
    "3D000",  # the database was dropped or renamed
    "3F000",  # the schema was
    "42501",  # a right was taken away
    "42P01",  # a table was dropped, as when a backup is restored
    "53",  # out of disk, memory or connections
    "55000",  # not accepting connections
    "57",  # shut down, or cancelled by an operator
    "58",  # system error
    "XX",  # internal error; poolers say so when they cannot reach the server
)
"""SQLSTATE classes and codes that blame the database, not the query: every query is fixed and known to run, so what a
healthy database never says about one means that the same call may work later."""


def _is_unavailable(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_UNAVAILABLE_STATES)
    return isinstance(error, (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError))


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate the driver's errors for an unavailable database, in one line each.

    Raises:
        StorageUnavailableError: the database is unavailable, full or read-only, or refuses.
    """
    try:
        yield
    except Exception as error:
        if _is_unavailable(error):
            raise StorageUnavailableError(f"{type(error).__name__}: {first_line(error)}") from error
        raise


@contextmanager
def schema_mismatch_in_one_line() -> Iterator[None]:
    """Say of a table or column that is missing what an operator is to do; for a role, it may come back.

    Raises:
        SchemaMismatchError: the schema is another version's.
    """
    try:
        yield
    except asyncpg.UndefinedColumnError as error:
        raise SchemaMismatchError(str(error)) from error
    except StorageUnavailableError as error:
        if isinstance(error.__cause__, asyncpg.UndefinedTableError):
            raise SchemaMismatchError(str(error.__cause__)) from error
        raise


@contextmanager
def refusals_in_one_line() -> Iterator[None]:
    """Turn errors that an operator must resolve into one line each.

    Raises:
        StartupError: the address, the login, the database or its rights are wrong.
    """
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        raise StartupError(f"DATABASE_URL: {error}") from error
    except _REFUSED as error:
        raise StartupError(f"the database refuses DATABASE_URL: {error}") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise StartupError(f"the database refuses DATABASE_URL: {error}; GRANT its role what is missing") from error
    except asyncpg.ProtocolViolationError as error:
        if "unsupported startup parameter" not in str(error):
            raise  # a pooler says it in the same way when the database behind it is unavailable
        raise StartupError("DATABASE_URL leads to a pooler; set DATABASE_POOLER=true") from error


@contextmanager
def _rights_in_one_line(role: str, database: str) -> Iterator[None]:
    try:
        yield
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError) as error:
        raise StartupError(
            f"the role of DATABASE_URL may not prepare the schema ({error}); as a superuser in its database: "
            f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"; or ALTER DATABASE "{database}" OWNER TO "{role}"'
        ) from error


@contextmanager
def _locks_in_one_line() -> Iterator[None]:
    try:
        yield
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise StartupError(
            f"the schema is unchanged, since others hold its tables ({first_line(error)}); "
            "stop the roles of the release before, or wait for a backup or transaction that runs, and start again"
        ) from error


class CheckedConnection(asyncpg.Connection):
    """Refuses a server that reports no version, at which the driver fails with a traceback."""

    def __init__(self, protocol: Any, transport: Any, *others: Any) -> None:  # noqa: ANN401 - the driver's own
        try:
            super().__init__(protocol, transport, *others)
        except (AttributeError, ValueError) as error:
            transport.abort()
            self._aborted = True  # or the driver misses in its `__del__` what was not set
            raise StartupError("DATABASE_URL: the server reports no PostgreSQL version (server_version)") from error


class Database:
    """Runs named queries on a pool."""

    def __init__(self, pool: Pool, dsn: str, *, pooler: bool) -> None:
        """Wrap a pool; use `connect` to make one."""
        self._pool = pool
        self._dsn = dsn
        self._queries = load_queries()
        self.pooler = pooler

    @classmethod
    async def connect(cls, dsn: str, *, size: int = 10, pooler: bool = False) -> Self:
        """Open a pool.

        Args:
            pooler: True behind a transaction pooler, which cannot keep prepared statements.

        Raises:
            StorageUnavailableError: nobody answers there.
            StartupError: the password is wrong, there is no such user or database, the server is too old, or a pooler
                that is not expected.
        """
        address = read_database_address(dsn)
        pooler = pooler or address.pooler
        with translated_errors(), refusals_in_one_line():
            pool = await asyncpg.create_pool(
                address.url,
                min_size=1,
                max_size=size,
                timeout=address.connect_seconds or CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                reset=_keep_session,
                connection_class=CheckedConnection,
                statement_cache_size=0 if pooler else 256,
                server_settings=None if pooler else {"application_name": "quiz", "jit": "off"},
            )
            async with pool.acquire() as connection:
                version = connection.get_server_version()
        if version.major < MIN_SERVER_VERSION:
            await pool.close()
            raise StartupError(f"the database is PostgreSQL {version.major}; {MIN_SERVER_VERSION} or newer is needed")
        return cls(pool, address.url, pooler=pooler)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, by force if a query does not end within a few seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS)
        except TimeoutError:
            self._pool.terminate()

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named query and return its rows."""
        with translated_errors():
            return await self._pool.fetch(self._queries[name], *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> asyncpg.Record | None:
        """Run a named query and return its first row, or None."""
        with translated_errors():
            return await self._pool.fetchrow(self._queries[name], *arguments)

    async def fetchval(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the query yields
        """Run a named query and return the first value of its first row, or None."""
        with translated_errors():
            return await self._pool.fetchval(self._queries[name], *arguments)

    async def execute(self, name: str, *arguments: object) -> int:
        """Run a named statement and return how many rows it touched."""
        with translated_errors():
            tag = await self._pool.execute(self._queries[name], *arguments)
        return int(tag.rsplit(" ", 1)[-1]) if tag[-1].isdigit() else 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Run several named queries as one: all or nothing.

        Raises:
            StorageUnavailableError: the database was lost; nothing of it was kept.
        """
        with translated_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                yield Transaction(connection, self._queries)

    async def notify(self, channel: str) -> None:
        """Wake the listeners on a channel."""
        with translated_errors():
            await self._pool.execute(f"NOTIFY {channel}")

    async def listen(
        self, channel: str, wake: Callable[[], None], lost: Callable[[], None]
    ) -> Callable[[], Awaitable[None]]:
        """Call back on every notification, on a connection outside the pool.

        Returns:
            What ends the listening.

        Raises:
            StorageUnavailableError: the database is unavailable.
        """
        with translated_errors():
            connection = await asyncpg.connect(self._dsn, timeout=CONNECT_SECONDS)
            connection.add_termination_listener(lambda _: lost())
            await connection.add_listener(channel, lambda *_: wake())
        return connection.close

    async def prepare_schema(self, migrations: Path = MIGRATIONS_FOLDER) -> list[str]:
        """Apply schema.sql to an empty database and the missing migrations to any other.

        Several processes may call this at once: one works, the others wait and find it done.

        Returns:
            What was applied, in order.

        Raises:
            StorageUnavailableError: the database is unavailable.
            StartupError: the role may not do it, or others hold a table for too long.
        """
        with translated_errors(), _locks_in_one_line():
            async with self._pool.acquire() as connection, connection.transaction():
                role, database = await connection.fetchrow(self._queries["get_role_and_database"]) or ("", "")
                with _rights_in_one_line(role, database):
                    await connection.fetch(self._queries["lock_schema"])
                    await connection.fetch(self._queries["limit_lock_wait"], LOCK_TIMEOUT)
                    return await self._apply(connection, migrations)

    async def find_missing_migrations(self) -> list[str]:
        """Return what `prepare_schema` would apply, in order."""
        if not await self.fetchval("schema_exists"):
            return [SCHEMA_FILE.name]
        known = {row["name"] for row in await self.fetch("list_applied_migrations")}
        names = await asyncio.to_thread(lambda: sorted(MIGRATIONS_FOLDER.glob("*.sql")))
        return [path.name for path in names if path.stem not in known]

    async def find_unknown_zones(self, zones: Sequence[str]) -> set[str]:
        """Return those of some time zones that the server does not know."""
        return {row["zone"] for row in await self.fetch("find_unknown_zones", list(zones))}

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
        """Take a connection inside its transaction."""
        self._connection = connection
        self._queries = queries

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named query and return its rows."""
        return await self._connection.fetch(self._queries[name], *arguments)

    async def execute(self, name: str, *arguments: object) -> str:
        """Run a named statement and return its command tag."""
        return await self._connection.execute(self._queries[name], *arguments)

    async def executemany(self, name: str, arguments: list[tuple[object, ...]]) -> None:
        """Run a named statement once for each set of parameters, in one exchange."""
        await self._connection.executemany(self._queries[name], arguments)


async def _keep_session(_: object) -> None:
    """Hand a connection back as it is.

    The pool would reset it with a second exchange for each query. There is nothing to reset: locks end with their
    transactions, and listening has a connection of its own. Without it the webhook takes a fifth more requests.
    """


def _without_transaction(script: str) -> str:
    """Cut out the BEGIN and COMMIT that psql needs, for a script that runs inside a transaction."""
    lines = script.splitlines()
    return "\n".join(line for line in lines if line not in {"BEGIN;", "COMMIT;"})
