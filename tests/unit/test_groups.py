"""Groups are greeted beside the updates, some at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from bot.updates import GroupUpdate
from roles.groups import MAX_GREETINGS, GroupGreeter
from tests.support.factories import BOT_ID
from tests.support.waiting import until


class Telegram:
    """A gateway that does not say what the bot is called before it is let go on, and a Redis that forgets nothing."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked = 0
        self.greeted: Counter[int] = Counter()
        self.error: Exception | None = None
        self._known: set[str] = set()

    @property
    def account(self) -> Any:
        """Return the bot's account."""
        return SimpleNamespace(id=BOT_ID, gateway=self)

    async def name(self) -> str:
        """Return how the bot is called."""
        self.asked += 1
        await self.go_on.wait()
        return "@quiz_bot"

    async def set(self, key: str, _value: int, *, nx: bool) -> bool:
        """Keep a group, and return whether it was not kept before."""
        assert nx
        if self.error:
            raise self.error
        is_new = key not in self._known
        self._known.add(key)
        return is_new

    async def send_to_group(self, chat_id: int, _text: str, _topic_id: int | None) -> None:
        """Count a greeting."""
        self.greeted[chat_id] += 1


async def test_nobody_waits_for_greetings_and_few_are_under_way() -> None:
    telegram: Any = Telegram()
    greeter = GroupGreeter(telegram)
    groups = [GroupUpdate(-number) for number in range(1, MAX_GREETINGS + 3)]
    for group in (groups[0], *groups):
        greeter.greet(telegram.account, group)  # returns though Telegram does not answer
    await until(lambda: telegram.asked == MAX_GREETINGS)
    telegram.go_on.set()
    await until(lambda: len(telegram.greeted) == MAX_GREETINGS)
    await greeter.close()
    for group in groups[MAX_GREETINGS:]:  # whose next command asks again
        greeter.greet(telegram.account, group)
    await until(lambda: len(telegram.greeted) == len(groups))
    assert telegram.greeted == Counter({group.chat_id: 1 for group in groups})


async def test_what_is_under_way_ends_with_the_process() -> None:
    telegram: Any = Telegram()
    greeter = GroupGreeter(telegram)
    greeter.greet(telegram.account, GroupUpdate(-1))
    await until(lambda: telegram.asked)
    await greeter.close()
    telegram.go_on.set()
    assert not telegram.greeted


async def test_an_error_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    telegram: Any = Telegram()
    telegram.error = RuntimeError("words of a learner")
    telegram.go_on.set()
    greeter = GroupGreeter(telegram)
    greeter.greet(telegram.account, GroupUpdate(-1))
    with caplog.at_level(logging.ERROR):
        await until(lambda: caplog.records)
    assert [record.getMessage() for record in caplog.records] == [f"bot {BOT_ID}: a group is not greeted: RuntimeError"]
