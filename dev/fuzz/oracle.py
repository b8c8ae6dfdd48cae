"""What may be stored of a request's body, worked out a second time and from nothing of the service's own code.

The service reads bodies with pydantic, in Rust, into models; here the standard library's parser and a few patterns do.
Where the two may differ in good faith, such as whether ``"yes"`` is a boolean, this side only says what is allowed.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from zoneinfo import available_timezones

MAX_ID, MAX_LEARNER_ID = 2**63 - 1, 2**52 - 1

KNOWN_COMMANDS = frozenset(
    ["start", "quiz", "review", "stats", "settings", "stop", "resume", "help", "privacy", "export", "erase"]
)

_TOPICS = (
    "data_modeling|sql_performance|distributed_systems|streaming|data_warehouse_lakehouse|etl_vs_elt|orchestration"
    "|data_quality|observability|batch_processing|file_formats_storage|governance_security"
)
_NUMBER = "[1-9][0-9]{0,17}"
_BUTTON = re.compile(
    rf"a:{_NUMBER}:[0-4]|nr?|e:(?:new|some|solid|deep)|s:(?:main|hour|zone|topics|done)|h:(?:[0-9]|1[0-9]|2[0-3])"
    rf"|o:(?:0|-?[1-9][0-9]{{0,2}})|z:[A-Za-z_/+-]{{1,60}}|t:(?:{_TOPICS})|ta|(?:an|[dx]):[01]"
    rf"|rb?:{_NUMBER}:(?:wrong|unclear|outdated)?|rq:{_NUMBER}:(?:wrong|unclear|outdated)"
)
FARTHEST_WEST, FARTHEST_EAST = -12 * 60, 14 * 60
"""Minutes from UTC."""

_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,32})(?![A-Za-z0-9_])")
_NO_TEXT = frozenset(
    {
        *("photo", "video", "voice", "audio", "document", "animation", "sticker", "video_note", "story", "paid_media"),
        *("location", "venue", "contact", "poll", "dice", "game", "checklist"),
    }
)
"""What people send without words; a message with neither is Telegram's own."""
_ZONES = available_timezones()


class Row(NamedTuple):
    """As much of a stored update as comes from outside."""

    learner_id: int
    kind: str
    content: str
    message_id: int | None


def is_button(data: str) -> bool:
    """Say whether a button of the bot may carry this."""
    if not _BUTTON.fullmatch(data):
        return False
    if data.startswith("o:"):
        return FARTHEST_WEST <= int(data[2:]) <= FARTHEST_EAST
    return not data.startswith("z:") or data[2:] in _ZONES


def may_be_kept(content: str) -> bool:
    """Say whether a row may hold this as its content, whoever sent it."""
    return content == "" or content in KNOWN_COMMANDS or is_button(content)


def allowed_rows(body: bytes) -> list[tuple[int, Row]]:
    """Return what may be stored of a body: update ids and rows, at most one of which is."""
    try:
        update = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return []
    if not isinstance(update, dict) or not _is_id(update.get("update_id"), 0, MAX_ID):
        return []
    row = _row(update)
    return [] if row is None else [(update["update_id"], row)]


def _row(update: dict[str, Any]) -> Row | None:
    """Return the row of the first kind of content that an update has: Telegram sends one at most."""
    if isinstance(update.get("callback_query"), dict):
        return _of_tap(update["callback_query"])
    if isinstance(update.get("message"), dict):
        return _of_message(update["message"])
    if isinstance(update.get("my_chat_member"), dict):
        return _of_membership(update["my_chat_member"])
    return None


def _of_tap(tap: dict[str, Any]) -> Row | None:
    sender, data, under = _person(tap), tap.get("data"), tap.get("message")
    if sender is None or not isinstance(data, str):
        return None
    if under is not None and not _is_private(under):
        return None
    return Row(sender, "tap", data if is_button(data) else "", None if under is None else under.get("message_id"))


def _of_message(message: dict[str, Any]) -> Row | None:
    sender, text = _person(message), message.get("text")
    if sender is None or message["from"].get("is_bot") is True or not _is_private(message):
        return None
    if text is None and not _NO_TEXT & message.keys():
        return None
    command = _COMMAND.match(text) if isinstance(text, str) else None
    if command is None:
        return Row(sender, "text", "", message.get("message_id"))
    # A command with something odd behind it, such as "/quiz@" or "/quiz/", may be taken as a text.
    name = command[1].lower()
    return Row(sender, "command", name if name in KNOWN_COMMANDS else "", message.get("message_id"))


def _of_membership(change: dict[str, Any]) -> Row | None:
    sender, after = _person(change), change.get("new_chat_member")
    status = after.get("status") if isinstance(after, dict) else None
    if sender is None or not isinstance(status, str) or not _is_private(change):
        return None
    return Row(sender, "blocked" if status in {"kicked", "left"} else "unblocked", "", None)


def _person(content: dict[str, Any]) -> int | None:
    sender = content.get("from")
    if not isinstance(sender, dict) or not _is_id(sender.get("id"), 1, MAX_LEARNER_ID):
        return None
    return int(sender["id"])


def _is_private(content: Any) -> bool:  # noqa: ANN401 - a piece of somebody's JSON
    place = content.get("chat") if isinstance(content, dict) else None
    return isinstance(place, dict) and place.get("type") == "private"


def _is_id(value: object, least: int, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= largest


def agrees(stored: Row, allowed: Row) -> bool:
    """Say whether a stored row is what a body allows, one of `allowed_rows`."""
    if stored == allowed:
        return True
    as_text = allowed.kind == "command" and stored.kind == "text" and stored.content == ""
    return as_text and (stored.learner_id, stored.message_id) == (allowed.learner_id, allowed.message_id)
