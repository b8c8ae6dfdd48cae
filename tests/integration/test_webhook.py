"""The webhook's manners: what it refuses, what it ignores, and that it stores before it says yes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from domain.errors import StorageUnavailableError
from domain.service_state import Role
from domain.settings import Settings
from domain.version import VERSION
from local import servers
from repository import Repository
from roles.readiness import MISSING, find_problems, wrong_role
from roles.webhook import create_app
from roles.webhook_registration import PATH, SECRET_HEADER, webhook_secret
from tests.support.factories import BOT_ID, some_id
from tests.support.service import Service
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS, until

Update = dict[str, Any]


def command(text: str = "/help", **fields: object) -> Update:
    """Return an update with a command in it, and more of a person than the service may keep."""
    learner = some_id()
    sender = {"id": learner, "is_bot": False, "first_name": "Secretname", "username": "secretuser"}
    message = {
        "message_id": 7,
        "date": 1_790_000_000,
        "chat": {"id": learner, "type": "private", "first_name": "Secretname"},
        "from": sender,
        "text": text,
    }
    return {"update_id": some_id(), "message": message | fields}


async def post(service: Service, body: object, **headers: str) -> httpx.Response:
    given = {SECRET_HEADER: webhook_secret(service.runtime.settings, BOT_ID)} | headers
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        return await client.post(f"{service.url}{PATH}", content=content, headers=given)


async def stored(service: Service) -> list[Any]:
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - a look behind the scenes
    return list(await pool.fetch("SELECT * FROM updates"))


@pytest.mark.parametrize("secret", ["", "wrong", "ü"])
async def test_a_wrong_or_missing_secret_is_refused(service: Service, secret: str) -> None:
    reply = await post(service, command(), **{SECRET_HEADER: secret.encode()})  # type: ignore[arg-type]
    assert (reply.status_code, reply.text) == (401, "wrong or missing secret\n")
    assert await stored(service) == []


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"{}", b'{"update_id": "x"}', b"\xff\xfe", b"[" * 5000])
async def test_what_is_no_update_is_refused_in_one_line(service: Service, body: bytes) -> None:
    reply = await post(service, body)
    assert reply.status_code == 400
    assert reply.text.count("\n") == 1
    assert await stored(service) == []


async def test_more_than_a_megabyte_is_refused(service: Service) -> None:
    reply = await post(service, command(text="x" * 1_000_001))
    assert reply.status_code == 413
    assert await stored(service) == []


async def test_update_kinds_that_are_not_used_are_taken_and_dropped(service: Service) -> None:
    for kind in ("edited_message", "channel_post", "poll", "inline_query"):
        reply = await post(service, {"update_id": some_id(), kind: {"id": "1"}})
        assert (reply.status_code, reply.content) == (200, b"")
    group = command()
    group["message"]["chat"] = {"id": -100, "type": "group", "title": "A group"}
    assert (await post(service, group)).status_code == 200
    assert await stored(service) == []


async def test_nothing_personal_but_the_user_id_is_stored(service: Service) -> None:
    written = command(text="my address is Secretstreet 5")
    assert (await post(service, written)).status_code == 200
    assert (await post(service, command(text="/help Secretword"))).status_code == 200
    rows = await stored(service)
    assert len(rows) == 2
    assert "Secret" not in str(rows).replace("secretuser", "Secret")
    assert {row["content"] for row in rows} == {"", "help"}


async def test_the_same_update_is_stored_once(service: Service) -> None:
    update = command()
    for _ in range(3):
        assert (await post(service, update)).status_code == 200
    assert len(await stored(service)) == 1


async def test_a_tap_is_acknowledged_in_the_same_response(service: Service) -> None:
    learner = some_id()
    tap = {
        "id": "4711",
        "from": {"id": learner, "is_bot": False, "first_name": "x"},
        "message": {"message_id": 1, "date": 1, "chat": {"id": learner, "type": "private"}},
        "chat_instance": "1",
        "data": "a:123456:0",
    }
    reply = await post(service, {"update_id": some_id(), "callback_query": tap})
    assert reply.status_code == 200
    assert reply.json()["method"] == "answerCallbackQuery"
    assert reply.json()["callback_query_id"] == "4711"
    assert "no longer works" in reply.json()["text"]


@pytest.mark.pooler
async def test_without_its_database_telegram_is_asked_to_deliver_again(service: Service) -> None:
    database = service.runtime.repository.database
    name = await database._pool.fetchval("SELECT current_database()")  # noqa: SLF001
    admin = service.runtime.settings.database_url.get_secret_value().replace(name, "postgres")  # type: ignore[union-attr]
    import asyncpg

    connection = await asyncpg.connect(admin)
    await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        replies = [await post(service, command()) for _ in range(3)]
        assert [reply.status_code for reply in replies] == [503, 503, 503]
        async with httpx.AsyncClient(base_url=service.url, timeout=WAIT_SECONDS) as client:
            assert (await client.get("/ready", params={"role": "bot"})).status_code == 503
            assert "quiz_role_processes" not in (await client.get("/metrics")).text
    finally:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await connection.close()
    async with asyncio.timeout(WAIT_SECONDS):
        while (await post(service, command())).status_code != 200:  # a pooler needs a moment to try again
            await asyncio.sleep(0.1)


async def until_ready(client: httpx.AsyncClient) -> httpx.Response:
    """Return the first answer of `/ready` that is 200."""

    async def ask() -> httpx.Response | None:
        reply = await client.get("/ready")
        return reply if reply.status_code == 200 else None

    return await until(ask)


async def test_health_readiness_and_metrics_answer(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=WAIT_SECONDS) as client:
        assert (await client.get("/health")).json() == {"status": "alive", "version": VERSION}
        ready = await until_ready(client)
        assert ready.json() == {"ready": True, "problems": []}
        assert "quiz_updates_received_total" in (await client.get("/metrics")).text


async def test_readiness_shows_no_secret_of_an_error(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StorageUnavailableError("OSError: cannot reach postgresql://quiz:hunter2-and-more@db/quiz")

    monkeypatch.setattr(Repository, "list_heartbeats", fail)
    problems = await find_problems(service.runtime)
    assert problems == ["The database cannot be reached: OSError: cannot reach postgresql://quiz:<password>@db/quiz"]


async def test_readiness_says_what_is_missing(settings: Settings, repository: Repository) -> None:
    settings = settings.model_copy(update={"webhook_port": servers.free_port(), "webhook_url": "http://127.0.0.1:1"})
    missing = [MISSING[Role.WORKER], MISSING[Role.PREFECT]]
    async with (
        serving(create_app(settings), settings.webhook_port) as url,
        httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client,
    ):
        assert (await client.get("/ready")).json()["problems"] == missing
        await repository.database._pool.execute("UPDATE questions SET state = 'retired'")  # noqa: SLF001
        reply = await client.get("/ready")
    assert reply.status_code == 503
    assert reply.json()["problems"] == [*missing, "the question bank is empty"]


async def test_a_probe_asks_for_this_processs_own_part_alone(settings: Settings) -> None:
    """No worker, no Prefect and no Redis are there: updates can be stored, so the webhook stays in service."""
    gone = SecretStr(f"redis://127.0.0.1:{servers.free_port()}")
    port = servers.free_port()
    settings = settings.model_copy(
        update={"webhook_port": port, "webhook_url": "http://127.0.0.1:1", "redis_url": gone}
    )
    async with serving(create_app(settings), port) as url, httpx.AsyncClient(base_url=url) as client:
        reply = await client.get("/ready", params={"role": "bot"})
        assert (reply.status_code, reply.json()) == (200, {"ready": True, "problems": []})
        whole = await client.get("/ready")
        assert whole.status_code == 503
        assert "Redis is unavailable: ConnectionError" in whole.json()["problems"]
        wrong = await client.get("/ready", params={"role": "worker"})
        assert (wrong.status_code, wrong.json()["problems"]) == (400, [wrong_role(Role.BOT)])
