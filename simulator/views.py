"""What the control API and the page are shown of bots, learners and chats."""

import heapq
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Final

from simulator.bot_api import NAMES
from simulator.core import Simulator
from simulator.model import Bot, Chat, Learner
from simulator.params import Json
from simulator.settings import commands_for
from simulator.stats import Request

_POLLING_SECONDS: Final = 60.0


def bot_view(simulator: Simulator, bot: Bot) -> Json:
    """A bot with the state of its connection: `webhook`, `polling` or `idle`."""
    now = simulator.clock.monotonic()
    if bot.webhook.url:
        mode = "webhook"
    else:
        mode = "polling" if bot.polled is not None and now - bot.polled < _POLLING_SECONDS else "idle"
    return {
        "id": bot.id,
        "name": bot.name,
        "username": bot.username,
        "mode": mode,
        "webhook_url": bot.webhook.url,
        "webhook_error": bot.webhook.last_error,
        "pending_updates": len(simulator.outboxes[bot.id].pending),
        "called": bot.seen is not None,
    }


def learner_view(learner: Learner, bot: Bot | None) -> Json:
    """A learner, with a summary of the chat with a bot."""
    chat = bot.chats.get(learner.id) if bot else None
    last = next(reversed(chat.messages.values()), None) if chat else None
    return {
        **learner.record(),
        "automatic": learner.auto is not None,
        "started": chat is not None and chat.started,
        "blocked": chat is not None and chat.blocked,
        "last_message": last.view() if last else None,
        "bot_message_ids": _last_ids(chat),
        "commands": commands_for(bot, learner.id, learner.language_code) if bot else [],
    }


def messages_view(simulator: Simulator, bot: Bot, learner: Learner, limit: int, before: int) -> Json:
    """The last messages of a chat before a number (0: the newest), oldest first."""
    chat = simulator.chat(bot, learner)
    messages = list(chat.messages.values())
    pinned = chat.messages.get(chat.pinned or 0)
    if before:
        messages = [message for message in messages if message.id < before]
    return {
        "messages": [message.view() for message in messages[-limit:]],
        "has_more": len(messages) > limit,
        "pinned": pinned.view() if pinned else None,
    }


def _last_ids(chat: Chat | None, limit: int = 100) -> list[int]:
    """The newest messages of the bot, from which the page counts what is unread."""
    if chat is None:
        return []
    ids: list[int] = []
    for message in reversed(chat.messages.values()):
        if message.from_bot:
            ids.append(message.id)
            if len(ids) == limit:
                break
    return ids


def log_view(simulator: Simulator, bot: Bot, learner_id: int | None, limit: int) -> list[Json]:
    """A bot's updates and requests, newest first: of one chat, or all with None."""
    updates: Iterator[Json] = (
        {"at": one.at, "kind": "update", "name": one.kind, "body": one.body()}
        for one in reversed(simulator.outboxes[bot.id].history)
        if learner_id in {None, one.key[1]}
    )
    requests: Iterator[Json] = (
        {
            "at": one.at,
            "kind": "request",
            "name": NAMES.get(one.method, one.method),
            "status": one.status,
            "description": one.description,
            "body": one.values,
        }
        for one in reversed(simulator.stats.requests)
        if one.bot_id == bot.id and learner_id in {None, _chat_of(bot, one)}
    )
    merged = heapq.merge(updates, requests, key=itemgetter("at"), reverse=True)
    return list(islice(merged, limit))


def _chat_of(bot: Bot, request: Request) -> int | None:
    """The chat that a request is about; that of the tap for an answer to one."""
    if tap := bot.taps.get(str(request.values.get("callback_query_id"))):
        return tap.learner_id
    chat = str(request.values.get("chat_id", ""))
    return int(chat) if chat.removeprefix("-").isdecimal() else None
