"""From Telegram's JSON to an update: strict about form, and keeping nothing personal but the user id."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.texts import COMMANDS
from domain.callbacks import read_callback
from domain.errors import NotAnUpdateError
from domain.ids import MAX_ID, MAX_LEARNER_ID, LearnerId
from domain.updates import Incoming, UpdateKind

MAX_BYTES = 1_000_000
ALLOWED_UPDATES = ("message", "callback_query", "my_chat_member")
"""The kinds of updates that Telegram is asked for."""
KNOWN = frozenset({"start", *(name for name, _ in COMMANDS)})
"""Commands that are kept by name; any other is something that a learner wrote, and is not kept."""
_COMMAND = re.compile(r"^/([A-Za-z0-9_]{1,32})(@\w+)?[^\w\s/@<>]*(?:\s|$)")
"""With what closes a sentence behind it, as in "/help."; Telegram's apps show that as a command too."""
_GROUPS = frozenset({"group", "supergroup"})
_CONTENT = frozenset(
    {
        *("animation", "audio", "checklist", "contact", "dice", "document", "game", "location", "paid_media", "photo"),
        *("poll", "sticker", "story", "venue", "video", "video_note", "voice"),
    }
)
"""What a person's message has, if no text. One without is a service message, such as that something was pinned."""


@dataclass(frozen=True, slots=True)
class GroupUpdate:
    """A command in a group, or that the bot was added to it; nothing of who did it."""

    chat_id: int
    topic_id: int | None = None
    """The topic of a forum that the command was sent in."""
    addressee: str = ""
    """The bot that a command names, such as @quiz_bot, in lower case."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _User(_Wire):
    id: Annotated[int, Field(strict=True, ge=1, le=MAX_LEARNER_ID)]
    is_bot: bool = False


class _Chat(_Wire):
    id: Annotated[int, Field(strict=True, ge=-MAX_ID, le=MAX_ID)]
    type: str


class _Message(_Wire):
    message_id: Annotated[int, Field(strict=True, ge=0, le=MAX_ID)]
    chat: _Chat
    text: str | None = None
    message_thread_id: Annotated[int, Field(strict=True, ge=0, le=MAX_ID)] | None = None
    is_topic_message: bool = False


class _UserMessage(_Message):
    model_config = ConfigDict(extra="allow")  # only to see which fields there are

    sender: Annotated[_User | None, Field(alias="from")] = None

    @property
    def has_content(self) -> bool:
        return self.text is not None or not _CONTENT.isdisjoint(self.model_extra or ())

    @property
    def album(self) -> int | None:
        given = (self.model_extra or {}).get("media_group_id")
        if not isinstance(given, str):
            return None
        return int.from_bytes(hashlib.blake2s(given.encode(errors="replace"), digest_size=8).digest())


class _Tap(_Wire):
    id: Annotated[str, Field(min_length=1, max_length=128)]
    sender: Annotated[_User, Field(alias="from")]
    message: _Message | None = None
    data: Annotated[str, Field(max_length=256)] | None = None


class _Member(_Wire):
    status: str


class _Membership(_Wire):
    chat: _Chat
    sender: Annotated[_User, Field(alias="from")]
    new_chat_member: _Member


class _Update(_Wire):
    update_id: Annotated[int, Field(strict=True, ge=0, le=MAX_ID)]
    message: _UserMessage | None = None
    callback_query: _Tap | None = None
    my_chat_member: _Membership | None = None


def parse_update(body: bytes | str) -> Incoming | None:
    """Return what is left of an update once everything personal but the user id is stripped.

    Args:
        body: one update as JSON.

    Returns:
        None for an update of a kind that the service does not use.

    Raises:
        NotAnUpdateError: it is not JSON, or not of an update's form.
    """
    try:
        update = _Update.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotAnUpdateError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    if update.callback_query:
        return _from_tap(update.update_id, update.callback_query)
    if update.message:
        return _from_message(update.update_id, update.message)
    if update.my_chat_member:
        return _from_membership(update.update_id, update.my_chat_member)
    return None


def find_group(body: bytes | str) -> GroupUpdate | None:
    """Return the group in which the bot is called, or to which it was added; None for every other update.

    Args:
        body: an update that `parse_update` has no use for.
    """
    update = _Update.model_validate_json(body)
    if member := update.my_chat_member:
        added = member.chat.type in _GROUPS and member.new_chat_member.status in {"member", "administrator"}
        return GroupUpdate(member.chat.id) if added else None
    message = update.message
    if message is None or message.chat.type not in _GROUPS or message.sender is None or message.sender.is_bot:
        return None
    if not (command := _COMMAND.match(message.text or "")):
        return None
    addressee = (command[2] or "").lower()
    return GroupUpdate(message.chat.id, message.message_thread_id if message.is_topic_message else None, addressee)


def _from_tap(update_id: int, tap: _Tap) -> Incoming | None:
    if tap.data is None or (tap.message and tap.message.chat.type != "private"):
        return None
    message_id = tap.message.message_id if tap.message else None
    callback = read_callback(tap.data)
    data = tap.data if callback else ""  # what no button carries may be anything, a learner's words too
    return Incoming(update_id, LearnerId(tap.sender.id), UpdateKind.TAP, data, message_id, tap.id, callback)


def _from_message(update_id: int, message: _UserMessage) -> Incoming | None:
    if message.chat.type != "private" or message.sender is None or message.sender.is_bot:
        return None
    learner = LearnerId(message.sender.id)
    command = _COMMAND.match(message.text or "")
    if command:
        name = command[1].lower()
        return Incoming(update_id, learner, UpdateKind.COMMAND, name if name in KNOWN else "", message.message_id)
    if not message.has_content:
        return None
    return Incoming(update_id, learner, UpdateKind.TEXT, "", message.message_id, album=message.album)


def _from_membership(update_id: int, membership: _Membership) -> Incoming | None:
    if membership.chat.type != "private":
        return None
    gone = membership.new_chat_member.status in {"kicked", "left"}
    kind = UpdateKind.BLOCKED if gone else UpdateKind.UNBLOCKED
    return Incoming(update_id, LearnerId(membership.sender.id), kind)
