"""What Telegram's answers mean, as data: for each one, whom it concerns.

An answer is Telegram's only in Telegram's form: JSON with `"ok": false`, the HTTP status again as `error_code`, and a
`description`. Anything else, such as a proxy's page, is a network error.

The words are those of the Bot API server, which is public (tdlib/telegram-bot-api, `Client::fail_query_with_error`,
`check_chat_access` and `get_closing_error`). It turns every status that it does not know into 400, so a frozen bot
reads "Bad Request: FROZEN_METHOD_INVALID".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum

ANY = 0
"""In a rule, whatever the status."""


class Meaning(StrEnum):
    """Whom an answer concerns; the value is its label in the metrics."""

    OK = "ok"
    UNCHANGED = "unchanged"
    """The message says so already."""
    RATE_LIMITED = "rate_limited"
    """The chat, or the method where there is no chat, has to wait."""
    LEARNER = "learner"
    """No message of this bot reaches the learner, until they come back."""
    CHAT = "chat"
    """The chat is gone, or the bot may not write there; it says nothing about a learner."""
    MESSAGE_GONE = "message_gone"
    FILE_GONE = "file_gone"
    REQUEST = "request"
    """This request is wrong, and would be again."""
    METHOD = "method"
    """The method cannot be called, here or now."""
    BOT = "bot"
    """The bot is refused as a whole, whatever it asks for."""
    NETWORK = "network"
    """No answer of Telegram came: it may have acted or not."""
    UNKNOWN = "unknown"
    """Words that no rule knows: taken as a refusal of this one request."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Answers that mean the same."""

    status: int
    words: str
    """A regular expression for the beginning of the description in lower case, without the status's own name."""
    meaning: Meaning


RULES = (
    Rule(ANY, r"frozen_\w+$|(the )?bot (is|was) frozen", Meaning.BOT),
    Rule(ANY, r"user_deactivated(_ban)?$|logged out$|unallowed token", Meaning.BOT),
    Rule(404, r"method not found", Meaning.METHOD),
    Rule(401, r"", Meaning.BOT),
    Rule(404, r"", Meaning.BOT),
    Rule(409, r"", Meaning.METHOD),
    Rule(429, r"", Meaning.RATE_LIMITED),
    Rule(403, r"bot was blocked by the user|user is deactivated", Meaning.LEARNER),
    Rule(403, r"bot can't initiate conversation|bot can't send messages to bots", Meaning.LEARNER),
    Rule(403, r"can't write to chat with deleted user", Meaning.LEARNER),
    Rule(400, r"(private )?chat not found|user not found|peer_id_invalid$|user_id_invalid$", Meaning.LEARNER),
    Rule(400, r"user_is_blocked$|user_is_bot$|(input_user_deactivated|user is deactivated)$", Meaning.LEARNER),
    Rule(403, r"bot was kicked|bot is not a member|the group chat was deleted", Meaning.CHAT),
    Rule(400, r"group (chat was upgraded|migrated) to (a )?supergroup|(chat|topic)_\w+$|message thread", Meaning.CHAT),
    Rule(400, r"message is not modified", Meaning.UNCHANGED),
    Rule(
        400, r"message to (edit|be edited) not found|message can't be edited|message_id_invalid$", Meaning.MESSAGE_GONE
    ),
    Rule(400, r"(wrong|invalid) (remote )?file identifier|wrong file_id|file_reference_", Meaning.FILE_GONE),
    Rule(
        400, r"can't parse|message text is empty|text must be non-empty|.* is too long|\w+_too_long$", Meaning.REQUEST
    ),
    Rule(400, r"button_\w+_invalid$|reply_markup_\w+$|photo_\w+$|image_process_failed$|media_\w+$", Meaning.REQUEST),
    Rule(400, r"query is too old|query_id_invalid$|file must be non-empty|.*_empty$", Meaning.REQUEST),
    Rule(ANY, r"request entity too large", Meaning.REQUEST),
)
"""The first rule that fits holds."""

_STATUS_NAME = re.compile(r"^(bad request|unauthorized|forbidden|not found|conflict|misdirected request)(: |$)")


def is_refusal(status: int, body: bytes) -> bool:
    """Return whether a body is Telegram's own refusal, and not that of a proxy in between."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(answer, dict)
        and answer.get("ok") is False
        and answer.get("error_code") == status
        and isinstance(answer.get("description"), str)
    )


def meaning_of(status: int | None, description: str = "") -> Meaning:
    """Return whom a refusal concerns.

    Args:
        status: of a refusal in Telegram's form; None for anything else.
    """
    if status is None or status >= 500:  # noqa: PLR2004 - Telegram's own servers are unavailable
        return Meaning.NETWORK
    words = _STATUS_NAME.sub("", description.lower())
    for rule in RULES:
        if rule.status in {ANY, status} and re.match(rule.words, words):
            return rule.meaning
    return Meaning.UNKNOWN
