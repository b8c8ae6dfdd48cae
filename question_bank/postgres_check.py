"""Executes checks whose dialect is PostgreSQL, each as a role and in a database of its own, which are dropped after."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any, cast

import asyncpg

from domain.errors import first_line
from sandbox.results import Failed, Limits, OutOfMemory, Rows, SqlResult, TimedOut, Unsupported

RECOVERY_SECONDS = 30.0
"""How long a server may take to be back, after a check has made one of its processes crash."""
MAX_EXPONENT = 1000
"""Of numbers in a result: written out, some take a hundred thousand digits."""
SENT_FACTOR = 8
"""Of all that a session may send: rows within the limit are written in no more than so many times their bytes."""


def run_postgres(url: str, setup: str, run: str, limits: Limits | None = None) -> SqlResult:
    """Execute untrusted statements on a throw-away server, whose processes are limited in memory and files.

    Nothing that they do is there for the next: neither what they commit nor what they set for their role.

    Raises:
        OSError: the server does not answer.
    """
    return asyncio.run(_run_apart(url, setup, run, limits or Limits()))


async def _run_apart(url: str, setup: str, run: str, limits: Limits) -> SqlResult:
    async with _own_database(url) as name:
        try:
            async with asyncio.timeout(limits.seconds), _connection(url, name) as connection:
                return await _run(connection, setup, run, limits)
        except TimeoutError:
            return TimedOut()


@contextlib.asynccontextmanager
async def _own_database(url: str) -> AsyncIterator[str]:
    """Make a role that may connect to one database only, and there make tables; drop both, whoever still uses them."""
    name = f"check_{secrets.token_hex(8)}"
    async with _connection(url) as superuser:
        await superuser.execute(f"CREATE ROLE {name} LOGIN")
        await superuser.execute(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            # after a crash, or while a session listens to no signal, they stay until the server goes
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
                await superuser.execute(f"DROP ROLE {name}")


@contextlib.asynccontextmanager
async def _connection(url: str, name: str | None = None) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect as the superuser, or as the role of a check to its database."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            try:
                connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
                    url, user=name, database=name, server_settings={"client_min_messages": "error"}
                )
                break
            except (asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError, ConnectionError):
                await asyncio.sleep(0.05)
    try:
        yield connection
    finally:
        connection.terminate()  # at once: a session that is busy would let `close` wait


class _Intake(asyncio.Protocol):
    """Hands on what a session sends, be it rows, errors or notices, and ends the session once that is too much.

    The driver keeps a message whole before it looks at it, and a value takes several times as much again.
    """

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], max_bytes: int) -> None:
        self._transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
        self._driver = cast(asyncio.Protocol, self._transport.get_protocol())
        self._left = max_bytes
        self._transport.set_protocol(self)

    @property
    def is_over(self) -> bool:
        return self._left < 0

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self.is_over:
            self._transport.abort()
        else:
            self._driver.data_received(data)

    def eof_received(self) -> bool | None:
        return self._driver.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._driver.connection_lost(exc)

    def pause_writing(self) -> None:
        self._driver.pause_writing()

    def resume_writing(self) -> None:
        self._driver.resume_writing()


async def _run(connection: asyncpg.Connection[asyncpg.Record], setup: str, run: str, limits: Limits) -> SqlResult:
    intake = _Intake(connection, SENT_FACTOR * limits.output_bytes)
    in_setup = True
    try:
        await connection.execute(f"BEGIN;\n{setup}")
        if not connection.is_in_transaction():
            return Unsupported("its setup ends the transaction that it runs in")
        in_setup = False
        return await _fetch(connection, run, limits)
    except Exception as error:  # noqa: BLE001 - the driver lets out whatever an odd answer makes it raise
        return _too_large(limits, in_setup=in_setup) if intake.is_over else _failure(error, in_setup=in_setup)


async def _fetch(connection: asyncpg.Connection[asyncpg.Record], run: str, limits: Limits) -> SqlResult:
    """Read a result row by row, so that no more than one of them is beyond the limit."""
    statement = await connection.prepare(run)
    cursor = await statement.cursor()
    rows: list[tuple[Any, ...]] = []
    size = 0
    while row := await cursor.fetchrow():
        rows.append(tuple(row))
        size += len(str(rows[-1]))
        if len(rows) > limits.max_rows:
            return Failed("TooManyRows", f"more than {limits.max_rows} rows")
        if size > limits.output_bytes:
            return _too_large(limits)
        if any(abs(number.adjusted()) > MAX_EXPONENT for number in _numbers(rows[-1])):
            return Unsupported(f"a number of more than {MAX_EXPONENT} digits")
    return Rows(tuple(column.name for column in statement.get_attributes()), tuple(rows))


def _numbers(value: object) -> Iterator[Decimal]:
    """Yield the numbers in a value, however deep."""
    match value:
        case Decimal():
            yield value
        case asyncpg.Range():
            yield from _numbers((value.lower, value.upper))
        case list() | tuple() | asyncpg.Record():
            for part in value:
                yield from _numbers(part)


def _too_large(limits: Limits, *, in_setup: bool = False) -> Failed:
    return Failed("OutputTooLarge", f"the rows take more than {limits.output_bytes} bytes", in_setup)


def _failure(error: Exception, *, in_setup: bool = False) -> SqlResult:
    match error:
        case asyncpg.QueryCanceledError():
            return TimedOut()
        case asyncpg.InsufficientResourcesError():
            return OutOfMemory()
        case asyncpg.InternalServerError():  # such as a file that grows beyond its limit
            return Unsupported(first_line(error))
        case asyncpg.OperatorInterventionError() | asyncpg.PostgresConnectionError() | OSError():
            return Unsupported("it ended its own session")
        case asyncpg.PostgresError():
            return Failed(type(error).__name__, first_line(error), in_setup)
        case _:  # such as a date that Python does not have
            return Unsupported(first_line(error))
