"""Learners at work while something fails: they ask, answer, tap twice, and lose their patience."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

PATIENCE_SECONDS = 12.0
"""After so long without a reply a learner asks once more."""

PAUSE_SECONDS = 1.5
"""Between two actions of one learner: Telegram takes one message a second in a chat."""

SECOND_TAPS = 0.2
"""Share of answers after which a learner taps another option as well."""


@dataclass(slots=True)
class Person:
    """A learner in front of their chat."""

    id: int
    acted_at: float = 0.0
    seen: tuple[int, bool] = (0, False)
    """The latest message that they acted on, and whether it was edited by then."""


@dataclass(slots=True)
class Load:
    """Some actions a second, by as many learners, until it is paused."""

    client: httpx.AsyncClient
    """Of the simulator."""
    people: list[Person]
    per_second: float
    rng: random.Random = field(default_factory=lambda: random.Random(20261125))
    _running: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def gather(cls, client: httpx.AsyncClient, count: int, per_second: float) -> Load:
        """Let so many learners press START, as Telegram users do, who are to act so many times a second together."""
        crowd = {"count": count, "text": "/start", "per_second": 10, "probability": 0}
        reply = await client.post("/api/crowd", json=crowd)
        reply.raise_for_status()
        return cls(client, [Person(learner_id) for learner_id in reply.json()["learners"]], per_second)

    def resume(self) -> None:
        """Let them act."""
        self._running.set()

    def pause(self) -> None:
        """Let them rest."""
        self._running.clear()

    async def run(self) -> None:
        """Act until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._running.wait()
                ready = [person for person in self.people if time.monotonic() - person.acted_at > PAUSE_SECONDS]
                if ready:
                    person = self.rng.choice(ready)
                    person.acted_at = time.monotonic()
                    group.create_task(self._act(person))
                await asyncio.sleep(1 / self.per_second)

    async def burst(self) -> None:
        """Let everybody act at once."""
        await asyncio.gather(*(self._act(person) for person in self.people))

    async def _act(self, person: Person) -> None:
        with contextlib.suppress(httpx.HTTPError):
            message = await self._latest(person)
            if message is None:
                return
            seen = (message["message_id"], bool(message["edited"]))
            if seen == person.seen:
                if self.rng.random() < PAUSE_SECONDS / PATIENCE_SECONDS:
                    await self._post(person, "messages", {"text": "/quiz"})
                return
            person.seen = seen
            buttons = [button for row in message["reply_markup"]["inline_keyboard"] for button in row]
            answers = [button["callback_data"] for button in buttons if button["callback_data"].startswith("a:")]
            if not answers:
                await self._ask(person, message, buttons)
                return
            first, second = self.rng.sample(answers, 2)
            await self._post(person, "taps", {"message_id": message["message_id"], "data": first})
            if self.rng.random() < SECOND_TAPS:
                await asyncio.sleep(0.2)
                await self._post(person, "taps", {"message_id": message["message_id"], "data": second})

    async def _latest(self, person: Person) -> dict[str, Any] | None:
        """Return the latest message of the bot that has buttons."""
        reply = await self.client.get(f"/api/learners/{person.id}/messages", params={"limit": 6})
        messages = reply.json()["messages"] if reply.is_success else []
        return next((one for one in reversed(messages) if not one["out"] and one.get("reply_markup")), None)

    async def _ask(self, person: Person, message: dict[str, Any], buttons: list[dict[str, str]]) -> None:
        if self.rng.random() < 0.5 and any(button["callback_data"] == "n" for button in buttons):
            await self._post(person, "taps", {"message_id": message["message_id"], "data": "n"})
        else:
            await self._post(person, "messages", {"text": "/quiz"})

    async def _post(self, person: Person, what: str, body: dict[str, Any]) -> None:
        await self.client.post(f"/api/learners/{person.id}/{what}", json=body)
