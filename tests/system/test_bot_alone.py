"""The bot role by itself: it takes updates on an empty database, and holds nothing that only others need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import httpx
from pydantic import SecretStr

from domain.service_state import Role
from domain.settings import Settings
from roles.readiness import MISSING
from roles.webhook_registration import PATH, SECRET_HEADER, webhook_secret
from tests.support.factories import BOT_ID, some_id
from tests.support.roles import ROOT, running_role
from tests.support.waiting import WAIT_SECONDS

OF_OTHERS = {"openai", "duckdb", "pydantic_monty", "yaml", "prefect", "question_bank", "question_sources", "quizzes"}
"""What only those need who make quizzes, grade answers or write questions."""


def updates() -> list[dict[str, object]]:
    """Return a newcomer's first words and a tap, as Telegram delivers them."""
    person = {"id": some_id(), "is_bot": False, "first_name": "Ada"}
    said = {"message_id": 1, "date": 1, "chat": {"id": person["id"], "type": "private"}, "from": person}
    tap = {"id": "1", "from": person, "message": said, "chat_instance": "1", "data": "a:1:0"}
    return [
        {"update_id": some_id(), "message": said | {"text": "/start"}},
        {"update_id": some_id(), "callback_query": tap},
    ]


async def started(client: httpx.AsyncClient) -> None:
    """Return once the server answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                (await client.get("/health")).raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_on_an_empty_database_it_takes_updates_and_says_what_is_missing(
    settings: Settings, postgres_url: Callable[[str], str], tmp_path: Path
) -> None:
    url = postgres_url(f"empty_{some_id()}")
    settings = settings.model_copy(update={"database_url": SecretStr(url), "database_pooler": False})
    secret = {SECRET_HEADER: webhook_secret(settings, BOT_ID)}
    program = ["-m", "tests.listing_bot", "bot"]
    with running_role(settings, tmp_path, program, PYTHONPATH=str(ROOT)) as role:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.webhook_port}", timeout=WAIT_SECONDS
        ) as client:
            await started(client)
            problems = (await client.get("/ready")).json()["problems"]
            replies = [await client.post(PATH, json=update, headers=secret) for update in updates()]
    assert problems == [MISSING[Role.WORKER], MISSING[Role.PREFECT]]  # the schema brings questions to begin with
    assert [reply.status_code for reply in replies] == [200, 200]
    assert "no longer works" in replies[1].json()["text"]
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM updates WHERE state = 'new'") == len(replies)
    await connection.close()
    imported = set(role.output.rpartition("imported ")[2].split())
    assert "roles.intake" in imported
    assert imported & OF_OTHERS == set()
