"""What the gateway makes of each kind of answer: which error it raises, what it counts, what it asks then."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from bot import client
from bot.answers import Meaning
from bot.breaker import BotBreaker
from bot.client import TelegramGateway, make_bot
from bot.rate_limiter import RateLimiter
from bot.transport import MAX_ANSWER_BYTES, MAX_WAIT
from domain.errors import (
    BotRefusedError,
    FileGoneError,
    LearnerUnreachableError,
    MessageGoneError,
    RateLimitedError,
    TelegramError,
    TelegramUnavailableError,
)
from domain.ids import BotId, LearnerId
from domain.settings import Settings
from tests.support.factories import TOKEN, some_id
from tests.support.raw_server import Behaviour, RawServer, answers, raw_server
from tests.support.transports import no_surroundings

_surroundings = pytest.fixture(autouse=True)(no_surroundings)
LEARNER = LearnerId(7)
OK = {"ok": True, "result": {"message_id": 7, "date": 1, "chat": {"id": 7, "type": "private"}, "text": "hello"}}


@asynccontextmanager
async def gateway(
    behaviour: Behaviour, breaker: BotBreaker | None = None
) -> AsyncIterator[tuple[TelegramGateway, RawServer]]:
    """Yield a gateway to a server that answers as told."""
    async with raw_server(behaviour) as server:
        settings = Settings(_env_file=None, telegram_bot_token=SecretStr(TOKEN), telegram_api_base_url=server.url)
        bot = make_bot(settings, SecretStr(TOKEN))
        for request in bot._request:  # noqa: SLF001 - initialize() would also call getMe
            await request.initialize()
        yield TelegramGateway(bot, RateLimiter(None, some_id(), 1000), breaker or BotBreaker(BotId(some_id()))), server
        for request in bot._request:  # noqa: SLF001
            await request.shutdown()


async def test_a_name_that_telegram_does_not_tell_is_asked_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(refusal(500, "Internal Server Error")) as (one, server):
        assert [await one.name() for _ in range(5)] == [None] * 5
        assert len(server.seen) == 1
        monkeypatch.setattr(client, "NAME_PAUSE_SECONDS", 0.0)
        one._nameless_until = 0.0  # noqa: SLF001 - the while is over
        assert [await one.name() for _ in range(2)] == [None] * 2
        assert len(server.seen) == 3


def refusal(status: int, description: str) -> Behaviour:
    """Return what answers with a refusal in Telegram's form."""
    return answers({"ok": False, "error_code": status, "description": description}, status)


def counted(meaning: Meaning, method: str = "sendMessage") -> float:
    labels = {"method": method, "outcome": meaning.value}
    return REGISTRY.get_sample_value("quiz_telegram_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("behaviour", "kind", "meaning"),
    [
        (refusal(403, "Forbidden: bot was blocked by the user"), LearnerUnreachableError, Meaning.LEARNER),
        (refusal(400, "Bad Request: chat not found"), LearnerUnreachableError, Meaning.LEARNER),
        (refusal(403, "Forbidden: the moon is full"), TelegramError, Meaning.UNKNOWN),
        (refusal(400, "Bad Request: SOMETHING_NEW"), TelegramError, Meaning.UNKNOWN),
        (refusal(400, "Bad Request: message is too long"), TelegramError, Meaning.REQUEST),
        (refusal(413, "Request Entity Too Large"), TelegramError, Meaning.REQUEST),
        (refusal(400, "Bad Request: message to edit not found"), MessageGoneError, Meaning.MESSAGE_GONE),
        (refusal(400, "Bad Request: wrong file identifier"), FileGoneError, Meaning.FILE_GONE),
        (refusal(403, "Forbidden: bot was kicked from the group chat"), TelegramError, Meaning.CHAT),
        (refusal(404, "Not Found: method not found"), TelegramError, Meaning.METHOD),
        (refusal(500, "Internal Server Error: restart"), TelegramUnavailableError, Meaning.NETWORK),
        (answers(b"<html>Forbidden</html>", 403), TelegramUnavailableError, Meaning.NETWORK),
        (answers({"message": "Forbidden"}, 403), TelegramUnavailableError, Meaning.NETWORK),
        (answers(b"", 401), TelegramUnavailableError, Meaning.NETWORK),
        (answers({"error": "Not Found"}, 404), TelegramUnavailableError, Meaning.NETWORK),
        (answers(b"<html>Sign in</html>", 200), TelegramUnavailableError, Meaning.NETWORK),
        (answers({"status": "ok"}, 200), TelegramUnavailableError, Meaning.NETWORK),
        (answers(b"", 302), TelegramUnavailableError, Meaning.NETWORK),
        (refusal(401, "Unauthorized"), BotRefusedError, Meaning.BOT),
        (refusal(404, "Not Found"), BotRefusedError, Meaning.BOT),
        (refusal(400, "Bad Request: FROZEN_METHOD_INVALID"), BotRefusedError, Meaning.BOT),
        (refusal(421, "Misdirected Request: unallowed token specified"), BotRefusedError, Meaning.BOT),
    ],
)
async def test_each_answer_becomes_the_error_that_says_whom_it_concerns(
    behaviour: Behaviour, kind: type[TelegramError], meaning: Meaning
) -> None:
    before = counted(meaning)
    async with gateway(behaviour) as (one, server):
        with pytest.raises(TelegramError) as caught:
            await one.send(LEARNER, "hello")
        assert type(caught.value) is kind
        assert counted(meaning) == before + 1
        with pytest.raises(kind):
            await one.send(LEARNER, "hello")
        assert len(server.seen) == (1 if kind is BotRefusedError else 2)  # a refused bot asks no more


async def test_words_that_nobody_knows_are_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async with gateway(refusal(403, f"Forbidden: the moon is full, {TOKEN}")) as (one, _):
        with caplog.at_level(logging.WARNING, "bot.client"), pytest.raises(TelegramError) as caught:
            await one.send(LEARNER, "hello")
    assert "Telegram refuses sendMessage for a reason that is not known: Forbidden: the moon is full" in caplog.text
    assert "T" * 20 not in caplog.text + str(caught.value)


async def test_what_telegram_says_of_a_refused_bot_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    async with gateway(refusal(401, f"Unauthorized: {TOKEN}")) as (one, _):
        with pytest.raises(BotRefusedError) as caught:
            await one.send(LEARNER, "hello")
        assert "T" * 20 not in caplog.text + str(caught.value) + str(one.breaker.refusal)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7),
        ("-5", 1),
        ("NaN", 1),
        ("Infinity", MAX_WAIT),
        ("1e18", MAX_WAIT),
        ("1e999", MAX_WAIT),
        ("9" * 400, 1),
        ('"20"', 20),
        ('"soon"', 1),
        ("null", 1),
        ("[]", 1),
        ("0.2", 1),
    ],
)
async def test_an_absurd_wait_stops_nobody_for_ever(asked: str, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    body = f'{{"ok": false, "error_code": 429, "description": "x", "parameters": {{"retry_after": {asked}}}}}'
    async with gateway(answers(body.encode(), 429)) as (one, _):
        for _ in range(2):  # the first one finds out
            with pytest.raises(RateLimitedError) as caught:
                await one.publish_commands()
        assert seconds - 1 < caught.value.retry_after <= seconds


def sent(message: object) -> Behaviour:
    return answers({"ok": True, "result": message})


@pytest.mark.parametrize(
    "behaviour",
    [
        sent(message=True),
        sent(None),
        sent([]),
        sent("x"),
        *(sent(OK["result"] | {"message_id": odd}) for odd in ("x", None, True, 0, -1, 10**20, [1])),  # type: ignore[operator]
        answers({"ok": False, "error_code": 429, "description": "x", "parameters": [1]}, 429),
    ],
)
async def test_an_answer_that_cannot_be_read_is_none(behaviour: Behaviour) -> None:
    async with gateway(behaviour) as (one, _):
        with pytest.raises((TelegramUnavailableError, RateLimitedError)):
            await one.send(LEARNER, "hello")


async def test_an_answer_without_an_end_is_given_up() -> None:
    async with gateway(answers(b"x" * (MAX_ANSWER_BYTES + 1))) as (one, _):
        with pytest.raises(TelegramUnavailableError):
            await one.send(LEARNER, "hello")


async def test_the_words_of_a_refusal_can_be_stored() -> None:
    async with gateway(refusal(400, "Bad Request: \0\ud800" + "x" * 10_000)) as (one, _):
        with pytest.raises(TelegramError) as caught:
            await one.send(LEARNER, "hello")
    assert "\0" not in str(caught.value)
    assert len(str(caught.value).encode()) < 5_000


@pytest.mark.parametrize(
    ("behaviour", "is_open"),
    [
        (answers({"ok": True, "result": True}), True),
        (refusal(403, "Forbidden: bot was blocked by the user"), True),  # whoever says so has let the bot in
        (refusal(401, "Unauthorized"), False),
        (refusal(502, "Bad Gateway"), False),
        (answers(b"<html>", 403), False),
        (answers({"ok": False, "error_code": 429, "description": "x", "parameters": {"retry_after": 1}}, 429), False),
    ],
    ids=["granted", "blocked", "refused", "away", "page", "429"],
)
async def test_only_an_answer_of_telegram_that_is_not_about_the_bot_lets_it_in_again(
    behaviour: Behaviour, is_open: bool  # noqa: FBT001 - a parameter
) -> None:  # fmt: skip
    async with gateway(behaviour) as (one, _):
        await one.breaker.trip("Unauthorized", lambda: one.bot.send_chat_action(LEARNER, "typing"))
        await one.probe()
        assert (one.breaker.refusal is None) == is_open
