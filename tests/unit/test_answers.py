"""What Telegram's answers mean: bodies as they came to bots, and as proxies and portals before them sent them."""

from __future__ import annotations

import json

import pytest
from telegram.error import TelegramError

from bot.answers import Meaning, is_refusal, meaning_of

CASES: list[tuple[int, str, Meaning]] = [
    # the learner
    (403, "Forbidden: bot was blocked by the user", Meaning.LEARNER),
    (403, "Forbidden: user is deactivated", Meaning.LEARNER),
    (403, "Forbidden: bot can't initiate conversation with a user", Meaning.LEARNER),
    (403, "Forbidden: bot can't send messages to bots", Meaning.LEARNER),
    (403, "Forbidden: can't write to chat with deleted user", Meaning.LEARNER),
    (400, "Bad Request: chat not found", Meaning.LEARNER),
    (400, "Bad Request: private chat not found", Meaning.LEARNER),
    (400, "Bad Request: user not found", Meaning.LEARNER),
    (400, "Bad Request: PEER_ID_INVALID", Meaning.LEARNER),
    (400, "Bad Request: USER_ID_INVALID", Meaning.LEARNER),
    # the bot
    (401, "Unauthorized", Meaning.BOT),
    (401, "Unauthorized: invalid token specified", Meaning.BOT),
    (401, "Unauthorized: invalid api-id/api-hash", Meaning.BOT),
    (404, "Not Found", Meaning.BOT),
    (404, "Not Found: absolute URI is specified in the Request-Line", Meaning.BOT),
    (400, "Bad Request: FROZEN_METHOD_INVALID", Meaning.BOT),
    (420, "FROZEN_METHOD_INVALID", Meaning.BOT),
    (403, "Forbidden: bot was frozen", Meaning.BOT),
    (403, "Forbidden: the bot is frozen", Meaning.BOT),
    (400, "Bad Request: USER_DEACTIVATED_BAN", Meaning.BOT),
    (400, "Logged out", Meaning.BOT),
    (421, "Misdirected Request: unallowed token specified", Meaning.BOT),
    (400, "Misdirected Request: unallowed token specified", Meaning.BOT),
    # the method
    (404, "Not Found: method not found", Meaning.METHOD),
    (409, "Conflict: terminated by other getUpdates request; make sure that only one bot runs", Meaning.METHOD),
    (409, "Conflict: can't use getUpdates method while webhook is active", Meaning.METHOD),
    # the chat
    (403, "Forbidden: bot was kicked from the supergroup chat", Meaning.CHAT),
    (403, "Forbidden: bot is not a member of the channel chat", Meaning.CHAT),
    (403, "Forbidden: the group chat was deleted", Meaning.CHAT),
    (400, "Bad Request: group chat was upgraded to a supergroup chat", Meaning.CHAT),
    (400, "Bad Request: CHAT_WRITE_FORBIDDEN", Meaning.CHAT),
    (400, "Group migrated to supergroup. New chat id: -100123", Meaning.CHAT),
    (429, "Too Many Requests: retry after 5", Meaning.RATE_LIMITED),
    # the message, the file
    (400, "Bad Request: message is not modified: specified new message content and reply markup are exactly the same",
     Meaning.UNCHANGED),
    (400, "Bad Request: message to edit not found", Meaning.MESSAGE_GONE),
    (400, "Bad Request: message can't be edited", Meaning.MESSAGE_GONE),
    (400, "Bad Request: MESSAGE_ID_INVALID", Meaning.MESSAGE_GONE),
    (400, "Bad Request: wrong file identifier/HTTP URL specified", Meaning.FILE_GONE),
    (400, "Bad Request: FILE_REFERENCE_EXPIRED", Meaning.FILE_GONE),
    # this request
    (400, "Bad Request: can't parse entities: Unsupported start tag \"x\" at byte offset 0", Meaning.REQUEST),
    (400, "Bad Request: message text is empty", Meaning.REQUEST),
    (400, "Bad Request: message is too long", Meaning.REQUEST),
    (400, "Bad Request: MESSAGE_TOO_LONG", Meaning.REQUEST),
    (400, "Bad Request: BUTTON_DATA_INVALID", Meaning.REQUEST),
    (400, "Bad Request: REPLY_MARKUP_INVALID", Meaning.REQUEST),
    (400, "Bad Request: PHOTO_INVALID_DIMENSIONS", Meaning.REQUEST),
    (400, "Bad Request: query is too old and response timeout expired or query ID is invalid", Meaning.REQUEST),
    (413, "Request Entity Too Large", Meaning.REQUEST),
    # the way
    (500, "Internal Server Error: restart", Meaning.NETWORK),
    (502, "Bad Gateway", Meaning.NETWORK),
    (504, "Gateway Timeout", Meaning.NETWORK),
    # words that nobody has heard yet
    (403, "Forbidden: the moon is full", Meaning.UNKNOWN),
    (400, "Bad Request: SOMETHING_NEW", Meaning.UNKNOWN),
    (406, "Not Acceptable: something new", Meaning.UNKNOWN),
    (403, "", Meaning.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("status", "description", "meaning"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES])
def test_telegrams_words_are_read_for_what_they_mean(status: int, description: str, meaning: Meaning) -> None:
    body = {"ok": False, "error_code": status, "description": description}
    assert is_refusal(status, json.dumps(body).encode())
    assert meaning_of(status, description) is meaning
    assert meaning_of(status, TelegramError(description).message) is meaning  # the library cuts some of it off


@pytest.mark.parametrize(
    "description",
    [
        'Bad Request: can\'t parse entities: Unsupported start tag "chat not found" at byte offset 3',
        'Bad Request: can\'t parse entities: Unsupported start tag "frozen_method_invalid" at byte offset 3',
        "Bad Request: can't parse inline keyboard button: bot was blocked by the user",
        "Bad Request: wrong text: user is deactivated",
    ],
)
def test_what_telegram_quotes_of_a_message_says_nothing_of_its_learner_or_of_the_bot(description: str) -> None:
    assert meaning_of(400, description) in {Meaning.REQUEST, Meaning.UNKNOWN}


def test_what_is_no_answer_of_telegram_tells_of_the_way() -> None:
    assert meaning_of(None, "Forbidden: bot was blocked by the user") is Meaning.NETWORK


BLOCKED = {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Forbidden",
        b"<html><head><title>403 Forbidden</title></head><body><center>nginx</center></body></html>",
        b"\xff\xfe\x00",
        b"null",
        b"403",
        b"[" * 100_000,
        b'["Forbidden: bot was blocked by the user"]',
        json.dumps({"message": "Forbidden"}).encode(),  # API gateways
        json.dumps({"error": {"code": 403, "message": "Forbidden: bot was blocked by the user"}}).encode(),
        json.dumps({"success": False, "errors": [{"code": 1020}]}).encode(),
        *(json.dumps({key: BLOCKED[key] for key in BLOCKED if key != absent}).encode() for absent in BLOCKED),
        json.dumps(BLOCKED | {"ok": "false"}).encode(),
        json.dumps(BLOCKED | {"error_code": "403"}).encode(),
        json.dumps(BLOCKED | {"error_code": 400}).encode(),
        json.dumps(BLOCKED | {"description": {"text": "bot was blocked by the user"}}).encode(),
    ],
)  # fmt: skip
def test_only_telegrams_form_is_telegrams_answer(body: bytes) -> None:
    assert is_refusal(403, json.dumps(BLOCKED).encode())
    assert not is_refusal(403, body)
