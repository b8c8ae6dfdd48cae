"""The service as tests run it, and learners who use it through the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from domain.service_state import Role
from domain.settings import Settings
from flows.context import open_for_flows
from roles.webhook import create_app
from roles.worker import Worker
from tests.support.factories import some_id
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS, until
from wiring import Runtime, send_heartbeats

Message = dict[str, Any]


class Learner:
    """A person in front of a chat with the bot."""

    def __init__(self, client: httpx.AsyncClient, learner_id: int, bot_id: int | None = None) -> None:
        """Take where the simulator is, who this is, and the bot they talk to: any if there is but one."""
        self._client = client
        self.id = learner_id
        self._bot = {} if bot_id is None else {"bot": bot_id}

    def at(self, bot_id: int) -> Learner:
        """Return the same person in front of the chat with another bot."""
        return Learner(self._client, self.id, bot_id)

    async def messages(self) -> list[Message]:
        """Return the chat, oldest first."""
        reply = await self._client.get(f"/api/learners/{self.id}/messages", params=self._bot)
        reply.raise_for_status()
        return list(reply.json()["messages"])

    async def say(self, text: str) -> None:
        """Write to the bot."""
        body = {"text": text} | self._bot
        (await self._client.post(f"/api/learners/{self.id}/messages", json=body)).raise_for_status()

    async def press(self, message: Message, column: int = 0, row: int = 0) -> None:
        """Tap a button under a message."""
        body = {"message_id": message["message_id"], "row": row, "column": column} | self._bot
        (await self._client.post(f"/api/learners/{self.id}/taps", json=body)).raise_for_status()

    async def forge(self, message: Message, data: str) -> None:
        """Send a tap that no button of this chat makes."""
        body = {"message_id": message["message_id"], "data": data, "forge": True} | self._bot
        (await self._client.post(f"/api/learners/{self.id}/taps", json=body)).raise_for_status()

    async def press_labelled(self, message: Message, label: str) -> None:
        """Tap the button whose text holds a label."""
        for row, buttons in enumerate(rows(message)):
            for column, button in enumerate(buttons):
                if label in button["text"]:
                    await self.press(message, column, row)
                    return
        raise AssertionError(f"no button {label!r} in {rows(message)}")

    async def wait_for(self, condition: Callable[[Message], bool]) -> Message:
        """Return the latest message of the bot that fulfils a condition, once there is one."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for message in reversed(await self.messages()):
                    if not message["out"] and condition(message):
                        return message
                await asyncio.sleep(0.03)

    async def ask(self, text: str, reply: str) -> Message:
        """Write, and return the bot's next message that holds a text."""
        known = len(await self.messages())
        await self.say(text)
        return await self.wait_after(known, lambda message: reply in str(message.get("text", message.get("caption"))))

    async def wait_after(self, known: int, condition: Callable[[Message], bool]) -> Message:
        """Return a message of the bot that came after so many and fulfils a condition."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for message in (await self.messages())[known:]:
                    if not message["out"] and condition(message):
                        return message
                await asyncio.sleep(0.03)

    async def get_question(self) -> Message:
        """Ask for a question and return it."""
        known = len(await self.messages())
        await self.say("/quiz")
        return await self.wait_after(known, is_question)

    async def answer(self, question: Message, column: int) -> Message:
        """Answer a question and return its message once it shows the feedback."""
        await self.press(question, column)
        return await self.wait_for(
            lambda message: message["message_id"] == question["message_id"] and message["edited"]
        )


def rows(message: Message) -> list[list[Message]]:
    """Return a message's buttons."""
    return list((message.get("reply_markup") or {}).get("inline_keyboard", []))


def is_question(message: Message) -> bool:
    """Say whether a message asks a question."""
    return [button["text"] for row in rows(message) for button in row] == ["A", "B", "C", "D", "I don't know"]


@dataclass(slots=True)
class Service:
    """The bot and a worker, running in this process."""

    runtime: Runtime
    worker: Worker
    url: str
    telegram: httpx.AsyncClient

    async def new_learner(self, *, registered: bool = True, bot_id: int | None = None) -> Learner:
        """Return somebody new, who has pressed START unless told otherwise."""
        reply = await self.telegram.post("/api/learners", json={"id": some_id()})
        learner = Learner(self.telegram, reply.json()["id"], bot_id)
        if registered:
            await learner.ask("/start", "Welcome")
        return learner

    async def requests(self, method: str) -> list[Message]:
        """Return the bot's calls of a method."""
        reply = await self.telegram.get("/api/requests", params={"method": method, "limit": 10_000})
        return list(reply.json())

    async def shown(self) -> None:
        """Return when Prefect shows what the worker does from now on."""
        await until(lambda: all(run.takes_work for run in self.worker.standing_runs))

    async def settled(self) -> None:
        """Return when nothing waits: not at the simulator, not in the database."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                pending = (await self.telegram.get("/api/updates")).json()["pending"]
                waiting, _ = await self.runtime.repository.count_waiting_updates()
                if not pending and not waiting:
                    return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running_service(settings: Settings, port: int) -> AsyncIterator[Service]:
    """Run the webhook on a port and a worker beside it, and yield them once the webhook is set and both are ready."""
    settings = settings.model_copy(update={"webhook_port": port, "webhook_url": f"http://127.0.0.1:{port}"})
    async with (
        httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=WAIT_SECONDS) as telegram,
        serving(create_app(settings), port) as url,
        running_worker(settings) as (runtime, worker),
    ):
        await connected(telegram, "webhook", len(settings.bots))
        await until(lambda: has_worker(runtime))
        yield Service(runtime, worker, url, telegram)


async def has_worker(runtime: Runtime) -> bool:
    """Say whether a worker has shown that it is alive."""
    return any(beat.role == Role.WORKER for beat in await runtime.repository.list_heartbeats())


@asynccontextmanager
async def running_worker(settings: Settings) -> AsyncIterator[tuple[Runtime, Worker]]:
    """Run a worker in this process, beside a Prefect worker of which there is no more than its heartbeat."""
    async with open_for_flows(settings) as runtime:
        worker = Worker(runtime)
        running = asyncio.create_task(worker.run())
        prefect = asyncio.create_task(send_heartbeats(runtime.repository, Role.PREFECT))
        try:
            yield runtime, worker
        finally:
            prefect.cancel()
            worker.stop()
            await running


async def connected(telegram: httpx.AsyncClient, mode: str, bots: int = 1) -> None:
    """Return when all bots have told the simulator how their updates come in: ``webhook`` or ``polling``."""
    async with asyncio.timeout(WAIT_SECONDS):
        while sum(bot["mode"] == mode for bot in (await telegram.get("/api/state")).json()["bots"]) < bots:
            await asyncio.sleep(0.02)
