"""From Telegram's JSON to a stored update: strict about form, and keeping nothing personal but the user id."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.callbacks import quiz_of, unpack
from bot.flood import MOST_WAITING, FloodGate, most_waiting
from bot.messages import COMMANDS, TOO_QUICK
from domain.errors import ForgedCallbackError, QuizServiceError
from domain.ids import BotId, LearnerId
from domain.models import Fate, Incoming, TapVerdict, UpdateKind
from observability import metrics
from repository import Repository

MAX_BYTES = 1_000_000
ALLOWED_UPDATES = ("message", "callback_query", "my_chat_member")
"""The kinds of updates that Telegram is asked for."""

KNOWN = frozenset({"start", *(name for name, _ in COMMANDS)})
"""Commands that are kept by name; any other is something that a learner wrote, and is not kept."""

_COMMAND = re.compile(r"^/([A-Za-z0-9_]{1,32})(?:@\w+)?(?:\s|$)")
_BIG = 2**63 - 1
_Id = Annotated[int, Field(strict=True, ge=1, le=_BIG)]


class NotAnUpdateError(QuizServiceError):
    """This is not a Telegram update."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _User(_Wire):
    id: _Id
    is_bot: bool = False


class _Chat(_Wire):
    id: Annotated[int, Field(strict=True, ge=-_BIG, le=_BIG)]
    type: str


class _Message(_Wire):
    message_id: Annotated[int, Field(strict=True, ge=0, le=_BIG)]
    chat: _Chat
    text: str | None = None


class _UserMessage(_Message):
    sender: Annotated[_User | None, Field(alias="from")] = None


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
    update_id: Annotated[int, Field(strict=True, ge=0, le=_BIG)]
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


def _from_tap(update_id: int, tap: _Tap) -> Incoming | None:
    if tap.data is None or (tap.message and tap.message.chat.type != "private"):
        return None
    message_id = tap.message.message_id if tap.message else None
    data = "" if _is_forged(tap.data) else tap.data  # what no button carries may be anything, somebody's words too
    return Incoming(update_id, LearnerId(tap.sender.id), UpdateKind.TAP, data, message_id, tap.id)


def _is_forged(data: str) -> bool:
    try:
        unpack(data)
    except ForgedCallbackError:
        return True
    return False


def _from_message(update_id: int, message: _UserMessage) -> Incoming | None:
    if message.chat.type != "private" or message.sender is None or message.sender.is_bot:
        return None
    learner = LearnerId(message.sender.id)
    command = _COMMAND.match(message.text or "")
    if command:
        name = command[1].lower()
        return Incoming(update_id, learner, UpdateKind.COMMAND, name if name in KNOWN else "", message.message_id)
    return Incoming(update_id, learner, UpdateKind.TEXT, "", message.message_id)


def _from_membership(update_id: int, membership: _Membership) -> Incoming | None:
    if membership.chat.type != "private":
        return None
    gone = membership.new_chat_member.status in {"kicked", "left"}
    kind = UpdateKind.BLOCKED if gone else UpdateKind.UNBLOCKED
    return Incoming(update_id, LearnerId(membership.sender.id), kind)


TOASTS: dict[TapVerdict, str | None] = {
    TapVerdict.FRESH: "Got it, checking…",
    TapVerdict.NOT_A_QUIZ: None,
    TapVerdict.FOREIGN: "This question belongs to somebody else. /quiz gets you one of your own.",
    TapVerdict.ANSWERED: "You have answered this one already: the first answer counts.",
    TapVerdict.EXPIRED: "This question has expired. /quiz gets you a new one.",
    TapVerdict.UNKNOWN: "This button does not work any more. /quiz gets you a new question.",
}
"""What a learner reads the moment they tap."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An update that is taken care of, and need not be delivered again."""

    update: Incoming
    fate: Fate
    verdict: TapVerdict

    @property
    def is_new(self) -> bool:
        """Return whether a worker has something new to do."""
        return self.fate is Fate.STORED

    @property
    def toast(self) -> str | None:
        """Return what acknowledges a tap on an answer, if it is one."""
        return TOO_QUICK if self.fate is Fate.SHED else TOASTS[self.verdict]


async def accept_update(
    repository: Repository, bot_id: BotId, update: Incoming, gate: FloodGate | None = None
) -> Accepted:
    """Store an update, unless it is part of a flood, and work out what acknowledges it.

    Args:
        repository: where to.
        bot_id: the bot that received it.
        update: what is left of it.
        gate: what recognises a flood; without it everything is stored.

    Raises:
        StorageUnavailableError: it is not stored; Telegram must deliver it again.
    """
    now = time.monotonic()
    if gate and gate.is_too_quick(update.learner_id, now) and (shed := await _shed(repository, update, gate, now)):
        metrics.UPDATES_SHED.labels("repeated" if shed.fate is Fate.REPEATED else "waiting").inc()
        return shed
    accepted = await _store(repository, bot_id, update)
    if gate and accepted.is_new:
        gate.note_stored(update, accepted.verdict, now)
    elif gate:
        gate.give_back(update.learner_id)
    return accepted


async def _shed(repository: Repository, update: Incoming, gate: FloodGate, now: float) -> Accepted | None:
    """Return what becomes of an update in a flood; None if it is to be stored all the same."""
    if verdict := gate.repeated(update, now):
        return Accepted(update, Fate.REPEATED, verdict)
    most = most_waiting(update.kind)
    if not (most == MOST_WAITING and gate.is_crowded(update.learner_id, now)):
        if await repository.count_waiting_of_learner(update.learner_id, most) < most:
            return None
        gate.note_crowded(update.learner_id, now)
    return Accepted(update, Fate.SHED, TapVerdict.UNKNOWN)


async def _store(repository: Repository, bot_id: BotId, update: Incoming) -> Accepted:
    quiz_id = quiz_of(update.content) if update.kind is UpdateKind.TAP else None
    is_new, verdict = await repository.store_update(bot_id, update, quiz_id)
    if is_new:
        metrics.UPDATES_RECEIVED.labels(update.kind).inc()
    else:
        metrics.UPDATES_REDELIVERED.inc()
    if not is_new and verdict is TapVerdict.ANSWERED:
        verdict = TapVerdict.FRESH  # the redelivery of the very tap that counted
    if update.kind is UpdateKind.TAP and not update.content:
        verdict = TapVerdict.UNKNOWN
    return Accepted(update, Fate.STORED if is_new else Fate.KNOWN, verdict)
