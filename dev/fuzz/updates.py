"""Updates as Telegram sends them, from people whose names and words all carry a mark that must never be found again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dev.fuzz.oracle import KNOWN_COMMANDS

Json = dict[str, Any]

MARK = "Zq7x"
"""Stands in every name and every word of a person, so that whatever is kept of them is found by it."""

FIRST_STRANGER = 3_000_000_000

COMMANDS = (*sorted(KNOWN_COMMANDS), "START", "Help@quiz_bot", "quiz@quiz_bot")
OTHER_KINDS = (
    *("edited_message", "channel_post", "edited_channel_post", "business_message", "message_reaction", "inline_query"),
    *("chosen_inline_result", "shipping_query", "pre_checkout_query", "poll", "poll_answer", "chat_member"),
    *("chat_join_request", "chat_boost", "removed_chat_boost", "purchased_paid_media", "of_next_year"),
)

SERVICE = (
    *("pinned_message", "message_auto_delete_timer_changed", "new_chat_photo", "gift", "unique_gift", "users_shared"),
    *("chat_shared", "web_app_data", "write_access_allowed", "boost_added", "giveaway_created", "forum_topic_created"),
    *("video_chat_started", "proximity_alert_triggered", "successful_payment", "passport_data", "of_next_year"),
)
"""What Telegram itself says in a chat, in the name of whoever did it."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who writes to the bot."""

    id: int
    quiz_id: int = 1
    """A question in their chat, if they are registered."""
    message_id: int = 1


@dataclass(frozen=True, slots=True)
class Crowd:
    """Everybody who writes: some learners with a question in their chats, and strangers without end."""

    learners: Sequence[Person] = ()

    def anybody(self, rng: random.Random, number: int) -> Person:
        """Return somebody who has not written before, or now and then a learner."""
        if self.learners and rng.random() < LEARNERS_SHARE:
            return rng.choice(self.learners)
        return Person(FIRST_STRANGER + number)


LEARNERS_SHARE = 0.1
"""Of the inputs; more would be a flood by these few, which the webhook turns away."""


def user(person: Person) -> Json:
    """Return who wrote, with more about them than the service may keep."""
    return {
        "id": person.id,
        "is_bot": False,
        "first_name": f"{MARK}first",
        "last_name": f"{MARK}last <b>&",
        "username": f"{MARK}user",
        "language_code": "en",
    }


def chat(person: Person) -> Json:
    """Return their private chat."""
    return {"id": person.id, "type": "private", "first_name": f"{MARK}first", "username": f"{MARK}user"}


def message(person: Person, text: str, message_id: int) -> Json:
    """Return what they wrote."""
    entities = (
        [{"offset": 0, "length": len(text.split(maxsplit=1)[0]), "type": "bot_command"}] if text.startswith("/") else []
    )
    return {
        "message_id": message_id,
        "from": user(person),
        "chat": chat(person),
        "date": 1_790_000_000,
        "text": text,
        "entities": entities,
    }


def tap(person: Person, data: str, number: int) -> Json:
    """Return a tap on a button under a message of the bot."""
    return {
        "id": f"{number:019}",
        "from": user(person),
        "message": {
            "message_id": person.message_id,
            "from": {"id": 424242, "is_bot": True, "first_name": "Quiz", "username": "quiz_bot"},
            "chat": chat(person),
            "date": 1_790_000_000,
            "text": "A question",
        },
        "chat_instance": "-4711",
        "data": data,
    }


def membership(person: Person, status: str) -> Json:
    """Return the news that somebody blocked the bot, or let it in again."""
    bot = {"id": 424242, "is_bot": True, "first_name": "Quiz", "username": "quiz_bot"}
    return {
        "chat": chat(person),
        "from": user(person),
        "date": 1_790_000_000,
        "old_chat_member": {"user": bot, "status": "member"},
        "new_chat_member": {"user": bot, "status": status, "until_date": 0},
    }
