"""Learners in front of their chats, each with a connection of their own, and how long each waited for a reply."""

from __future__ import annotations

import asyncio
import json
import random
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx

from bot.texts import TRY_AGAIN_TEXT
from dev.benchmarks.load import Connection
from dev.benchmarks.numbers import Figures, latency_figures
from domain.callbacks import AnswerTap, ChooseExperience
from domain.ids import LearnerId
from local.supervisor import Program

REPLY_WITHIN = 120.0
SPREAD = (0.5, 1.5)
"""How long a learner thinks, as multiples of their own mean."""

START, CHOICE, QUESTION, FEEDBACK = KINDS = ("welcome", "choice", "question", "feedback")
"""What a learner waits for."""

CALLS = ("sendmessage", "editmessagetext")


class Action(NamedTuple):
    """What a learner did, and which kind of reply they expect."""

    at: float
    """Seconds since the epoch."""
    learner_id: LearnerId
    kind: str


class Learner:
    """Does one thing after another, each when the bot has answered the one before."""

    def __init__(self, learner_id: LearnerId, port: int) -> None:
        self.id = learner_id
        self.inbox: asyncio.Queue[Figures] = asyncio.Queue()
        self.actions: list[Action] = []
        self._port = port
        self._connection: Connection | None = None
        self._rng = random.Random(int(learner_id))

    async def live(self, until: float, think_seconds: tuple[float, float]) -> None:
        """Press START, and go on from there at one's own pace until a moment of the monotonic clock."""
        mean = self._rng.uniform(*think_seconds)
        message = await self._act(START, "messages", {"text": "/start"})
        while True:
            await asyncio.sleep(mean * self._rng.uniform(*SPREAD))
            if time.monotonic() >= until:
                return
            message = await self.step(message)

    async def step(self, message: Figures | None = None) -> Figures | None:
        """Answer what the latest message asks, or else ask for a question; return the reply, if one is in time."""
        rows = (message or {}).get("reply_markup", {}).get("inline_keyboard", [])
        buttons = [str(button["callback_data"]) for row in rows for button in row]
        for kind, callback in ((FEEDBACK, AnswerTap), (CHOICE, ChooseExperience)):
            answers = [data for data in buttons if data.startswith(f"{callback.prefix}:")]
            if message and answers:
                tap = {"message_id": message["message_id"], "data": self._rng.choice(answers)}
                return await self._act(kind, "taps", tap)
        return await self._act(QUESTION, "messages", {"text": "/quiz"})

    async def _act(self, kind: str, what: str, body: Figures) -> Figures | None:
        if self._connection is None or self._connection.is_closed:
            self._connection = await Connection.open(self._port)
        self.inbox = asyncio.Queue()
        self.actions.append(Action(time.time(), self.id, kind))
        await self._connection.act(self.id, what, body)
        try:
            return await asyncio.wait_for(self.inbox.get(), REPLY_WITHIN)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Disconnect."""
        if self._connection:
            self._connection.close()


@asynccontextmanager
async def at_their_chats(
    simulator: Program, client: httpx.AsyncClient, learner_ids: Sequence[LearnerId]
) -> AsyncIterator[list[Learner]]:
    """Yield learners who see what the bot writes to them."""
    learners = {int(learner_id): Learner(learner_id, simulator.port) for learner_id in learner_ids}
    async with asyncio.TaskGroup() as group, client.stream("GET", f"{simulator.url}/api/events", timeout=None) as told:
        following = group.create_task(_follow(told, learners))
        try:
            yield list(learners.values())
        finally:
            following.cancel()
            for learner in learners.values():
                learner.close()


async def _follow(told: httpx.Response, learners: dict[int, Learner]) -> None:
    async for line in told.aiter_lines():
        for event in json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else []:
            if event["type"] == "resync":
                raise RuntimeError("more happened at once than this process could follow")
            if event["type"] in {"message", "edit"} and not event["message"]["out"] and event["learner"] in learners:
                learners[event["learner"]].inbox.put_nowait(event["message"])


# ---------------------------------------------------------------- how long they waited


def least_waits(asked_at: Sequence[float], rate: float, burst: int) -> list[float]:
    """Return how long each must wait at least where each gets one message, in turn, at a rate.

    Args:
        asked_at: seconds, ascending.
        burst: how many may go at once after a rest.
    """
    waits, next_at = [], 0.0
    for at in asked_at:
        sent_at = max(at, next_at - (burst - 1) / rate)
        waits.append(sent_at - at)
        next_at = max(sent_at, next_at) + 1 / rate
    return waits


def summarise(actions: Sequence[Action], calls: Sequence[Figures], rate: float, burst: int) -> Figures:
    """Return how long learners waited for each kind of reply, beside the least that the rate allows.

    Args:
        calls: the bot's calls that the simulator took, in any order.
        rate: messages and edits a second.
        burst: see `least_waits`.
    """
    told: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for call in sorted(calls, key=lambda one: float(one["at"])):
        told[int(call["values"]["chat_id"])].append((call["at"], str(call["values"].get("text", ""))))
    in_order = sorted(actions)
    least = dict(zip(in_order, least_waits([action.at for action in in_order], rate, burst), strict=True))
    figures: Figures = {"missing": 0, "extra": 0, "try_again": 0}
    waits: dict[str, list[tuple[float, float]]] = defaultdict(list)
    ends: dict[int, float] = {}
    for action in reversed(in_order):  # a reply comes between an action and the learner's next one
        replies = told[action.learner_id]
        first, end = (bisect_left(replies, (at,)) for at in (action.at, ends.get(action.learner_id, float("inf"))))
        ends[action.learner_id] = action.at
        figures["try_again"] += sum(text == TRY_AGAIN_TEXT for _, text in replies[first:end])
        figures["extra"] += max(0, end - first - 1)
        if first == end:
            figures["missing"] += 1
        else:
            waits[action.kind].append((replies[first][0] - action.at, least[action]))
    kinds = {
        kind: {"reply": latency_figures([one for one, _ in pairs]), "least": latency_figures([one for _, one in pairs])}
        for kind in KINDS
        if (pairs := waits[kind])
    }
    return figures | {"kinds": kinds}
