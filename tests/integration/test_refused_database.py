"""A database that is there and refuses: its password was changed while the service runs, and later changed back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from domain.errors import StartupError, StorageUnavailableError
from domain.settings import Settings
from local import servers
from observability import background
from observability.logs import REPEATED
from roles.webhook_registration import PATH, SECRET_HEADER, webhook_secret
from storage.database import Database, translated_errors
from tests.support.factories import BOT_ID, some_id
from tests.support.service import Service, running_service
from tests.support.waiting import WAIT_SECONDS

_numbers = itertools.count(1)


class GuardedDatabase:
    """A database of one role, whose password this server asks for; it trusts everybody else."""

    def __init__(self, admin: asyncpg.Connection[asyncpg.Record], url: str, role: str) -> None:
        """Take a connection that stays, the address with the password, and the role."""
        self.url, self.role = url, role
        self._admin = admin

    async def refuse(self) -> None:
        """Change the password, and cut everybody off who came in with the old one."""
        await self._admin.execute(f"ALTER ROLE {self.role} PASSWORD 'another'")
        await self._admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", self.role
        )

    async def relent(self) -> None:
        """Change it back."""
        await self._admin.execute(f"ALTER ROLE {self.role} PASSWORD 'first-password'")

    async def beats(self) -> dict[str, datetime]:
        """Return when each role gave its latest sign of life."""
        rows = await self._admin.fetch("SELECT role, max(seen_at) AS at FROM heartbeats GROUP BY role")
        return {row["role"]: row["at"] for row in rows}


@pytest.fixture
async def guarded(postgres_url: Callable[[str], str], template_database: str) -> AsyncIterator[GuardedDatabase]:
    """Yield a copy of the template whose role needs its password."""
    name = f"guarded_{next(_numbers)}"
    maker = await asyncpg.connect(postgres_url("postgres"))
    await maker.execute(f'CREATE DATABASE {name} TEMPLATE "{template_database}"')
    await maker.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'first-password'")
    rules = await maker.fetchval("SHOW hba_file")
    before = _prepend(rules, f"local all {name} scram-sha-256\nhost all {name} all scram-sha-256\n")
    await maker.execute("SELECT pg_reload_conf()")
    url = postgres_url(name)
    admin = await asyncpg.connect(url)
    address = urlsplit(url)
    host = address.netloc.rpartition("@")[2]
    yield GuardedDatabase(admin, address._replace(netloc=f"{name}:first-password@{host}").geturl(), name)
    await admin.close()
    _rewrite(rules, before)
    await maker.execute("SELECT pg_reload_conf()")
    await maker.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await maker.execute(f"DROP ROLE {name}")
    await maker.close()


def _prepend(file: str, lines: str) -> str:
    """Put lines before what a file holds, and return that."""
    before = Path(file).read_text(encoding="utf-8")
    _rewrite(file, lines + before)
    return before


def _rewrite(file: str, content: str) -> None:
    Path(file).write_text(content, encoding="utf-8")


async def test_a_changed_password_is_an_absence_that_ends(
    settings: Settings, guarded: GuardedDatabase, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiring.HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.2)
    settings = settings.model_copy(update={"database_url": SecretStr(guarded.url), "database_pooler": False})
    async with running_service(settings, servers.free_port()) as service:
        learner = await service.new_learner()
        await until_ready(service)

        await guarded.refuse()
        refused_at = await guarded.beats()
        caplog.clear()
        for _ in range(3):
            reply = await post(service)
            assert (reply.status_code, reply.text) == (503, "the database is unavailable; deliver again\n")
            ready = await until(service, lambda reply: reply.status_code == 503)
            [problem] = ready.json()["problems"]
            assert "password authentication failed" in problem
            assert "\n" not in problem
            assert "first-password" not in problem
        await learner.say("/help")  # Telegram keeps it
        await until_tried(caplog, "heartbeat", "taking updates")
        assert [record for record in caplog.records if record.exc_info and record.name not in REPEATED] == []
        assert await guarded.beats() == refused_at

        await guarded.relent()
        await learner.wait_for(lambda message: "/privacy" in message.get("text", ""))
        assert (await post(service)).status_code == 200
        await until_ready(service)
        async with asyncio.timeout(WAIT_SECONDS):
            while any(at <= refused_at[role] for role, at in (await guarded.beats()).items()):
                await asyncio.sleep(0.05)
        assert set(refused_at) == {"bot", "worker", "prefect"}


async def until(service: Service, condition: Callable[[httpx.Response], bool]) -> httpx.Response:
    """Return what `/ready` says, once it fulfils a condition."""
    async with asyncio.timeout(WAIT_SECONDS), httpx.AsyncClient(base_url=service.url, timeout=WAIT_SECONDS) as client:
        while not condition(reply := await client.get("/ready")):
            await asyncio.sleep(0.05)
        return reply


async def until_ready(service: Service) -> None:
    await until(service, lambda reply: reply.status_code == 200)


async def until_tried(caplog: pytest.LogCaptureFixture, *names: str) -> None:
    """Return when each of these tasks has told that the database refuses."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not all(f"{name}: The database cannot be reached: InvalidPasswordError" in caplog.text for name in names):
            await asyncio.sleep(0.05)


async def post(service: Service) -> httpx.Response:
    """Bring an update as Telegram does."""
    learner = some_id()
    message = {"message_id": 1, "date": 1, "chat": {"id": learner, "type": "private"}, "from": {"id": learner}}
    body = json.dumps({"update_id": some_id(), "message": message | {"text": "/help"}})
    headers = {SECRET_HEADER: webhook_secret(service.runtime.settings, BOT_ID)}
    async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        return await client.post(f"{service.url}{PATH}", content=body, headers=headers)


async def test_at_the_start_a_wrong_password_is_one_line(guarded: GuardedDatabase) -> None:
    await guarded.refuse()
    with pytest.raises(
        StartupError, match="the database refuses DATABASE_URL: password authentication failed"
    ) as caught:
        await Database.connect(guarded.url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [b"", b"server_version\0a strange one\0"])
async def test_a_server_without_a_version_is_one_line(version: bytes) -> None:
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(message(b"R", bytes(4)) + (message(b"S", version) if version else b"") + message(b"Z", b"I"))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StartupError, match="reports no PostgreSQL version"):
        await Database.connect(f"postgresql://quiz@127.0.0.1:{port}/quiz?sslmode=disable")
    server.close()


@pytest.mark.parametrize(
    ("code", "is_away"),
    [
        *((code, True) for code in ("28000", "28P01", "3D000", "3F000", "42501", "42P01", "0A000", "XX000", "55000")),
        *((code, True) for code in ("08006", "25006", "53100", "53300", "57P01", "57P03", "58030")),
        *((code, False) for code in ("22003", "23505", "40P01", "42601", "42703", "42883", "P0001")),
    ],
)
async def test_what_blames_the_database_is_told_from_what_blames_the_query(
    guarded: GuardedDatabase,
    code: str,
    is_away: bool,  # noqa: FBT001 - a row of the table
) -> None:
    statement = (
        f"DO $$ BEGIN RAISE EXCEPTION 'said so' USING ERRCODE = '{code}', DETAIL = 'more', HINT = 'yet more'; END $$"
    )
    connection = await asyncpg.connect(guarded.url)
    with pytest.raises(StorageUnavailableError if is_away else asyncpg.PostgresError) as caught, translated_errors():
        await connection.execute(statement)
    if is_away:
        assert str(caught.value).endswith("said so")
    await connection.close()
