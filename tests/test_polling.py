"""Polling, for a developer with a real token and no public address."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

from domain.settings import Settings, TelegramMode
from local import servers
from tests.factories import some_id
from tests.serving import serving
from tests.support import Learner, connected, running_worker
from webhook import create_app


async def test_an_update_that_the_library_cannot_read_ends_nothing_and_is_not_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    port = servers.free_port()
    settings = settings.model_copy(update={"telegram_mode": TelegramMode.POLLING, "webhook_port": port})
    async with (
        httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=20) as telegram,
        serving(create_app(settings), port),
    ):
        await connected(telegram, "polling")
        broken = {"message": {"text": "Zq7xWord", "from": {"first_name": "Zq7xName"}}}
        with caplog.at_level(logging.DEBUG):
            (await telegram.post("/api/updates", json=broken)).raise_for_status()
            async with asyncio.timeout(20):
                while caplog.text.count("what Telegram sent cannot be read") < 2:  # it asks again
                    await asyncio.sleep(0.05)
    assert "Zq7x" not in caplog.text


async def test_a_learner_is_served_by_polling(settings: Settings) -> None:
    port = servers.free_port()
    settings = settings.model_copy(update={"telegram_mode": TelegramMode.POLLING, "webhook_port": port})
    async with (
        httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=20) as telegram,
        serving(create_app(settings), port),
        running_worker(settings),
    ):
        await connected(telegram, "polling")
        reply = await telegram.post("/api/learners", json={"id": some_id()})
        learner = Learner(telegram, reply.json()["id"])
        await learner.ask("/start", "Welcome")
        feedback = await learner.answer(await learner.get_question(), 1)
        assert "Streak" in feedback["text"]
        requests = (await telegram.get("/api/requests", params={"method": "answerCallbackQuery"})).json()
        assert requests[-1]["values"]["text"] == "Got it, checking…"
