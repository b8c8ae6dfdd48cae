"""Roles that are started with what people paste: one line that names the variable, and nothing of a secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import run_psql
from tests.integration.test_cli import run
from tests.support.factories import TOKEN

ROLES = (["worker"], ["bot"], ["prefect"], ["init"], ["questions", "list"])
COMPLETE = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/quiz",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "PREFECT_API_URL": "http://127.0.0.1:1/api",
    "TELEGRAM_BOT_TOKEN": TOKEN,
}

PASTED = {
    "DATABASE_URL": "postgresql://quiz:S3cretPart#x@host/quiz",
    "DATABASE_REPLICA_URL": "postgresql://quiz:S3cret@Part@host/quiz",
    "REDIS_URL": "redis://:S3cretPart/x@host/0",
    "PREFECT_API_URL": "http://me:S3cretPart?@host/api",
    "WEBHOOK_URL": "https://me:S3cret%Part@host",
    "TELEGRAM_API_BASE_URL": "https://api.telegram.org/bot123456:S3cretPart",
    "OPENAI_BASE_URL": "https://me:S3cret Part@host/v1",
    "TELEGRAM_BOT_TOKEN": "123456:S3cretPart",
    "TELEGRAM_BOT_TOKENS": f"{TOKEN},123456:S3cretPart",
}


@pytest.mark.parametrize("role", ROLES, ids=" ".join)
async def test_a_role_says_what_is_wrong_with_each_variable_in_one_line(role: list[str]) -> None:
    status, output, errors = await run(*role, **COMPLETE | PASTED)
    assert (status, output) == (1, "")
    [line] = errors.splitlines()
    assert line.startswith("quiz: The service cannot start: ")
    assert all(f"{name}: " in line for name in PASTED)
    assert "S3cret" not in line
    assert "Part" not in line


@pytest.mark.parametrize("character", list("#@/?%[] "))
async def test_a_character_that_splits_the_address_of_the_database_is_told(character: str) -> None:
    pasted = {"DATABASE_URL": f"postgresql://quiz:S3cretPart{character}x@host/quiz"}
    status, output, errors = await run("init", **COMPLETE | pasted)
    assert (status, output) == (1, "")
    [line] = errors.splitlines()
    assert line.startswith("quiz: The service cannot start: DATABASE_URL: the password holds a character that must be")
    assert "S3cret" not in line


async def test_a_port_of_kubernetes_is_ignored_with_one_warning(database_url: str, bank_folder: Path) -> None:
    known = COMPLETE | {"DATABASE_URL": database_url, "QUESTION_BANK_DIR": str(bank_folder)}
    status, output, errors = await run("init", **known, PREFECT_PORT="tcp://10.96.4.7:4200", OPENAI_BASE_URL="")
    assert (status, output) == (0, "applied: nothing, all there; 144 questions loaded\n")
    [line] = errors.splitlines()
    assert "WARNING PREFECT_PORT was set by Kubernetes for a Service and is ignored" in line


# ---------------------------------------------------------------- what the server says


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("postgresql+asyncpg", "connect_timeout=5"),
        ("postgres", "pgbouncer=true"),
        ("postgresql+psycopg2", "sslmode=prefer&application_name=mine"),
        ("postgresql", "target_session_attrs=any&options=-c%20search_path%3Dpublic"),
        ("postgresql", "statement_timeout=60000&keepalives=1"),
    ],
)
async def test_addresses_of_other_drivers_serve(
    scheme: str, options: str, database_url: str, bank_folder: Path
) -> None:
    url = database_url.replace("postgresql://", f"{scheme}://", 1)
    known = COMPLETE | {"DATABASE_URL": f"{url}&{options}", "QUESTION_BANK_DIR": str(bank_folder)}
    status, _, errors = await run("init", **known)
    assert (status, errors) == (0, "")


async def refused(url: str) -> str:
    """Run `init` on a database that refuses it, and return the one line that it prints."""
    status, output, errors = await run("init", **COMPLETE | {"DATABASE_URL": url})
    assert (status, output) == (1, "")
    [line] = errors.splitlines()
    assert line.startswith("quiz: ")
    return line


async def test_a_role_that_may_not_create_is_told_what_to_grant(postgres_url: Callable[[str], str]) -> None:
    url = postgres_url("nothing_granted")
    run_psql(url, "DROP ROLE IF EXISTS pupil", "CREATE ROLE pupil LOGIN", "REVOKE CREATE ON SCHEMA public FROM public")
    line = await refused(url.replace("//postgres:@", "//pupil@"))
    assert "permission denied for schema public" in line
    assert 'GRANT USAGE, CREATE ON SCHEMA public TO "pupil"' in line
    run_psql(url, 'GRANT USAGE, CREATE ON SCHEMA public TO "pupil"')
    assert (await run("init", **COMPLETE | {"DATABASE_URL": url.replace("//postgres:@", "//pupil@")}))[0] == 0


async def test_a_role_that_may_not_connect_is_told(postgres_url: Callable[[str], str]) -> None:
    url = postgres_url("no_entry")
    run_psql(
        url,
        "DROP ROLE IF EXISTS visitor",
        "CREATE ROLE visitor LOGIN",
        "REVOKE CONNECT ON DATABASE no_entry FROM public",
    )
    line = await refused(url.replace("//postgres:@", "//visitor@"))
    assert 'refuses DATABASE_URL: permission denied for database "no_entry"' in line


async def test_what_is_not_there_is_told(postgres_url: Callable[[str], str]) -> None:
    url = postgres_url("is_there")
    assert 'database "nowhere" does not exist' in await refused(url.replace("/is_there?", "/nowhere?"))
    assert 'role "nobody" does not exist' in await refused(url.replace("//postgres:@", "//nobody@"))
    assert 'unrecognized configuration parameter "no_such"' in await refused(f"{url}&no_such=1")
    assert "does not exist or cannot be accessed" in await refused(
        "postgresql://127.0.0.1:1/quiz?sslmode=verify-full&sslrootcert="
    )


@asynccontextmanager
async def greeting(words: bytes, *, first: bool) -> AsyncIterator[str]:
    """Serve somebody else's protocol, and yield an address of Postgres that leads there."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first:
            await reader.read(8)
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        yield f"postgresql://quiz:S3cretPart@127.0.0.1:{server.sockets[0].getsockname()[1]}/quiz"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", False),
        (b"\x4a\x00\x00\x00\x0a8.4.0\x00", True),  # as MySQL begins
        (b"-ERR unknown command\r\n", False),
        (b"", False),
        (b"N", False),
    ],
    ids=["http", "mysql", "redis", "silence", "no encryption"],
)
@pytest.mark.parametrize("mode", ["prefer", "require", "disable"])
async def test_a_server_that_is_no_postgres_is_told(words: bytes, mode: str, *, first: bool) -> None:
    async with greeting(words, first=first) as url:
        line = await refused(f"{url}?sslmode={mode}")
    assert "The database cannot be reached: Connection" in line
    assert "S3cret" not in line
