"""Polling, for a bot without a public address: it serves everybody, and says why when it cannot."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from prometheus_client import REGISTRY

from bot.client import TelegramGateway
from domain.settings import Settings, TelegramMode
from local import servers
from observability import background
from observability.metrics import UPDATES_REFUSED
from roles import polling
from roles.webhook import create_app
from tests.support.factories import BOT_ID, TOKEN, some_id
from tests.support.raw_server import RawServer, Seen, answers, raw_server
from tests.support.service import Learner, connected, running_worker
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS

BOT = TOKEN.partition(":")[0]
Answer = tuple[int, object]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")  # the library warns about the older form of retry_after
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(polling, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(polling, "CONFLICT_SECONDS", 0.02)


class Bot:
    """A bot role that polls."""

    def __init__(self, url: str, telegram: httpx.AsyncClient) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS)
        self.telegram = telegram

    async def problems(self, until: Callable[[list[str]], bool]) -> list[str]:
        """Return what `/ready` says about updates, once it fulfils a condition."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                reply = await self._client.get("/ready")
                said: list[str] = reply.json()["problems"]
                assert reply.status_code == (503 if said else 200)
                assert all("\n" not in problem and TOKEN not in problem for problem in said)
                if until(found := [problem for problem in said if f"bot {BOT} gets no updates" in problem]):
                    return found
                await asyncio.sleep(0.02)

    async def new_learner(self) -> Learner:
        reply = await self.telegram.post("/api/learners", json={"id": some_id()})
        return Learner(self.telegram, reply.json()["id"])

    async def fail(self, method: str, **fault: object) -> None:
        (await self.telegram.post("/api/faults", json={"method": method, "count": 1, **fault})).raise_for_status()

    async def set_webhook(self, url: str) -> None:
        reply = await self.telegram.post(f"/bot{TOKEN}/setWebhook", json={"url": url})
        reply.raise_for_status()


@asynccontextmanager
async def polling_bot(settings: Settings, *, before: Callable[[Bot], Any] | None = None) -> AsyncIterator[Bot]:
    """Run a bot that polls and a worker; nothing but the Bot API's address says that it is to poll."""
    port = servers.free_port()
    settings = settings.model_copy(update={"webhook_port": port})
    assert (settings.telegram_mode, settings.webhook_url) == (None, None)
    async with httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=WAIT_SECONDS) as telegram:
        bot = Bot(f"http://127.0.0.1:{port}", telegram)
        if before:
            await before(bot)
        async with serving(create_app(settings), port), running_worker(settings):
            yield bot


async def test_a_learner_is_served_through_a_bot_api_server_of_ones_own(settings: Settings) -> None:
    async with polling_bot(settings) as bot:
        await connected(bot.telegram, "polling")
        assert await bot.problems(lambda found: not found) == []
        learner = await bot.new_learner()
        await learner.ask("/start", "Welcome")
        feedback = await learner.answer(await learner.get_question(), 1)
        assert "Streak" in feedback["text"]
        requests = (await bot.telegram.get("/api/requests", params={"method": "answerCallbackQuery"})).json()
        assert requests[-1]["values"]["text"] == "Got it, checking…"


@pytest.mark.parametrize(
    "broken",
    [
        {"message": {"text": "Zq7xWord", "from": {"first_name": "Zq7xName"}}},
        {"message": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "gift": {"gift": {}}}},
        {"message": [["Zq7x"]]},
        {"callback_query": {"id": 5}},
        {"of_next_year": {"Zq7x": []}},
        {"poll": "Zq7x"},
    ],
)
async def test_an_update_that_cannot_be_read_is_passed_over_and_not_logged(
    settings: Settings, broken: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    async with polling_bot(settings) as bot:
        await connected(bot.telegram, "polling")
        with caplog.at_level(logging.DEBUG):
            (await bot.telegram.post("/api/updates", json=broken)).raise_for_status()
            for _ in range(2):
                await (await bot.new_learner()).ask("/start", "Welcome")
        assert (await bot.telegram.get("/api/updates")).json()["pending"] == []
        calls = (await bot.telegram.get("/api/requests", params={"method": "setMyCommands"})).json()
        assert len(calls) == 1
    assert "Zq7x" not in caplog.text


async def test_a_webhook_that_is_set_is_told_and_stays(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = f"http://127.0.0.1:{servers.free_port()}"
    async with polling_bot(settings, before=lambda bot: bot.set_webhook(f"{elsewhere}/secret-path")) as bot:
        [problem] = await bot.problems(lambda found: any("webhook" in one for one in found))
        assert problem.endswith(
            "a webhook is set (127.0.0.1): run `python main.py webhook delete` to poll, or set WEBHOOK_URL"
        )
        info = (await bot.telegram.post(f"/bot{TOKEN}/getWebhookInfo")).json()["result"]
        assert info["url"].startswith(elsewhere)
        await bot.telegram.post(f"/bot{TOKEN}/deleteWebhook")
        await bot.problems(lambda found: not found)
        await (await bot.new_learner()).ask("/start", "Welcome")
    assert caplog.text.count("a webhook is set") == 1  # however often it was asked


async def test_a_second_poller_is_told(settings: Settings) -> None:
    async with polling_bot(settings) as bot:
        await connected(bot.telegram, "polling")
        other = asyncio.create_task(_poll_too(bot.telegram))
        [problem] = await bot.problems(lambda found: any("another process" in one for one in found))
        assert problem.endswith("another process polls with the same token: stop one of the two")
        other.cancel()
        await bot.problems(lambda found: not found)


async def _poll_too(telegram: httpx.AsyncClient) -> None:
    while True:
        await telegram.post(f"/bot{TOKEN}/getUpdates", json={"timeout": 5})


async def test_telegram_asks_polling_to_wait(settings: Settings) -> None:
    async with polling_bot(settings, before=lambda bot: bot.fail("getupdates", kind="429", retry_after=4)) as bot:
        [problem] = await bot.problems(lambda found: any("asks to wait" in one for one in found))
        assert problem.endswith("Telegram asks to wait 4 s before the next getUpdates")
        await bot.problems(lambda found: not found)
        calls = (await bot.telegram.get("/api/requests", params={"method": "getUpdates"})).json()
        assert [call["status"] for call in calls[:2]] == [429, 200]
        assert calls[1]["at"] - calls[0]["at"] >= 4


async def test_telegram_that_cannot_be_reached_is_told_and_found_again(settings: Settings) -> None:
    port, telegrams = servers.free_port(), servers.free_port()
    away = settings.model_copy(update={"telegram_api_base_url": f"http://127.0.0.1:{telegrams}"})
    async with serving(create_app(away), port):
        bot = Bot(f"http://127.0.0.1:{port}", httpx.AsyncClient(timeout=WAIT_SECONDS))
        [problem] = await bot.problems(lambda found: any("getUpdates fails" in one for one in found))
        assert "127.0.0.1" in problem
        assert REGISTRY.get_sample_value("quiz_polling_fails", {"bot": str(BOT_ID)}) == 1
        async with raw_server(answers({"ok": True, "result": []}), port=telegrams):
            await bot.problems(lambda found: not found)
            assert REGISTRY.get_sample_value("quiz_polling_fails", {"bot": str(BOT_ID)}) == 0


@pytest.mark.parametrize("kind", ["500", "502", "403", "429", "reset"])
async def test_polling_does_not_wait_for_the_commands_menu(settings: Settings, kind: str) -> None:
    async def fail(bot: Bot) -> None:
        await bot.fail("setmycommands", kind=kind, count=3, retry_after=1)

    async with polling_bot(settings, before=fail) as bot:
        await (await bot.new_learner()).ask("/start", "Welcome")
        async with asyncio.timeout(WAIT_SECONDS):  # and it is published in the end
            while not (await bot.telegram.post(f"/bot{TOKEN}/getMyCommands")).json()["result"]:
                await asyncio.sleep(0.05)


# ---------------------------------------------------------------- answers that no simulator gives


@asynccontextmanager
async def scripted(settings: Settings, script: list[Answer]) -> AsyncIterator[tuple[Bot, RawServer]]:
    """Run a bot whose Telegram answers getUpdates by a script, and the last answer of it for ever."""

    async def behave(request: Seen, writer: asyncio.StreamWriter) -> None:
        status, body = 200, {"ok": True, "result": True}
        if request.target.endswith("/getUpdates"):
            status, body = script.pop(0) if len(script) > 1 else script[0]  # type: ignore[assignment]
        await answers(body if isinstance(body, bytes) else json.dumps(body).encode(), status)(request, writer)

    async with raw_server(behave) as telegram:
        port = servers.free_port()
        theirs = settings.model_copy(update={"telegram_api_base_url": telegram.url, "webhook_port": port})
        async with serving(create_app(theirs), port):
            yield (
                Bot(f"http://127.0.0.1:{port}", httpx.AsyncClient(base_url=telegram.url, timeout=WAIT_SECONDS)),
                telegram,
            )


def asked(telegram: RawServer) -> list[dict[str, list[str]]]:
    """Return what each getUpdates asked for."""
    return [parse_qs(seen.body.decode()) for seen in telegram.seen if seen.target.endswith("/getUpdates")]


async def until_asked(telegram: RawServer, times: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while len(asked(telegram)) < times:
            await asyncio.sleep(0.01)


def started(update_id: object) -> dict[str, object]:
    learner = some_id()
    message = {"message_id": 1, "date": 1, "chat": {"id": learner, "type": "private"}, "from": {"id": learner}}
    return {"update_id": update_id, "message": message | {"text": "/start"}}


@pytest.mark.parametrize("update_id", [None, "7", 1.5, True, -1, 2**63, [], {}])
async def test_an_update_without_a_usable_number_holds_nothing_up(settings: Settings, update_id: object) -> None:
    script: list[Answer] = [
        (200, {"ok": True, "result": [started(update_id)]}),
        (200, {"ok": True, "result": [7, None, "x", started(update_id), started(41)]}),
        (200, {"ok": True, "result": [started(43), started(update_id), started(42)]}),
        (200, {"ok": True, "result": []}),
    ]
    async with scripted(settings, script) as (bot, telegram):
        await until_asked(telegram, 5)
        assert await bot.problems(lambda found: not found) == []
    offsets = [request.get("offset", [""])[0] for request in asked(telegram)]
    assert offsets[:5] == ["", "", "42", "44", "44"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, b"<html>\n<h1>Forbidden</h1>\n" + b"x" * 10_000), "Forbidden (403)"),
        ((401, {"ok": False, "error_code": 401, "description": "Unauthorized"}), "Unauthorized"),
        ((200, {"ok": True, "result": {"not": "a list"}}), "no list of updates"),
        ((200, {"ok": True}), "Invalid server response"),
        ((200, b"not json"), "Invalid server response"),
        ((500, b""), "Internal Server Error (500)"),
        ((404, {"ok": False, "description": f"no bot {TOKEN}"}), "Not Found (404)"),
        ((400, {"ok": False, "error_code": 400, "description": f"no bot {TOKEN}\nhere"}), "no bot <token> here"),
    ],
)
async def test_what_is_no_answer_of_telegrams_is_told_in_a_line(settings: Settings, answer: Answer, said: str) -> None:
    script = [answer, answer, (200, {"ok": True, "result": []})]
    async with scripted(settings, [answer]) as (bot, telegram):
        [problem] = await bot.problems(lambda found: any("getUpdates fails" in one for one in found))
        assert said in problem
        assert len(problem) < 300
        await until_asked(telegram, 3)
    async with scripted(settings, script) as (bot, _):
        await bot.problems(lambda found: not found)


async def test_polling_is_not_ready_before_telegram_has_answered(settings: Settings) -> None:
    chosen = settings.model_copy(update={"telegram_mode": TelegramMode.POLLING})
    account: Any = type("", (), {"id": int(BOT), "gateway": type("", (), {"bot": None})})
    poller = polling.make_poller(chosen, account, None, None)  # type: ignore[arg-type]
    assert poller is not None
    assert poller.problem


async def test_a_tap_that_cannot_be_acknowledged_is_stored_and_not_counted_as_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("Zq7x")

    monkeypatch.setattr(TelegramGateway, "acknowledge", fail)
    tap = {"id": "1", "from": {"id": some_id()}, "chat_instance": "1", "data": "stranger"}
    script: list[Answer] = [
        (200, {"ok": True, "result": []}),
        (200, {"ok": True, "result": [{"update_id": 41, "callback_query": tap}]}),
        (200, {"ok": True, "result": []}),
    ]
    refused = UPDATES_REFUSED.labels("form")._value.get()  # noqa: SLF001 - nothing public tells it
    async with scripted(settings, script) as (_, telegram):
        await until_asked(telegram, 3)
        assert asked(telegram)[2]["offset"] == ["42"]
    assert UPDATES_REFUSED.labels("form")._value.get() == refused  # noqa: SLF001
    assert "was not acknowledged: ValueError" in caplog.text
    assert "passed over" not in caplog.text
