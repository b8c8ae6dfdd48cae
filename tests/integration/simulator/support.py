"""A simulator and webhooks on real ports, and python-telegram-bot as their client."""

import asyncio
import contextlib
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from telegram import Bot, Update
from telegram.error import TelegramError
from telegram.request import HTTPXRequest

from simulator.core import Simulator
from simulator.model import Bot as SimulatedBot
from simulator.options import Options
from simulator.server import create_app
from tests.support.manual_clock import ManualClock
from tests.support.waiting import WAIT_SECONDS, until

_bot_ids = itertools.count(5001)
ALICE, BOB = 1001, 1002
#: Loading all certificates anew for each client would take most of a test's time.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNLIMITED = Options(fast_retries=True, bot_rate=0, chat_rate=0)


class QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers, which belong to pytest here, and without its clock, which delays the end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait until told to end."""
        await self.ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End as uvicorn does, but look every few milliseconds, where it sleeps for a tenth of a second each time."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(0.002)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@contextlib.asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on a free port; gives its address."""
    # Said outright, for asyncio switches off the wait for fuller packets only on what calls itself TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = QuietServer(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.ended.set()
        await task
        listener.close()


@dataclass
class World:
    """A running simulator with one bot in it, known to one learner."""

    simulator: Simulator
    url: str
    bot: Bot
    http: httpx.AsyncClient
    clock: ManualClock | None = None

    @property
    def here(self) -> SimulatedBot:
        """The bot as the simulator sees it."""
        return self.simulator.bots[self.bot.id]

    def open_chat(self, learner: int = ALICE) -> None:
        """Open a chat as if its learner had pressed START."""
        self.simulator.open_chat(self.here, self.simulator.learners[learner])

    def say(self, text: str, learner: int = ALICE) -> int:
        """Write to the bot; returns the message's number."""
        return self.simulator.say(self.here, self.simulator.learners[learner], text).id

    def tap(self, message_id: int, data: str, learner: int = ALICE, *, forged: bool = False) -> str:
        """Press a button; returns the callback query's id."""
        return self.simulator.tap(self.here, self.simulator.learners[learner], message_id, data, forged=forged)

    async def updates(self, count: int) -> list[Update]:
        """The updates that the bot has not confirmed, once there are so many."""
        while len(updates := await self.bot.get_updates(timeout=1)) < count:
            pass
        return list(updates)

    async def refused(self, call: Awaitable[Any]) -> str:
        """Telegram's words for refusing a call; python-telegram-bot shortens them."""
        with pytest.raises(TelegramError):
            await call
        return self.simulator.stats.requests[-1].description

    async def control(self, method: str, path: str, status: int = 0, /, **body: Any) -> Any:
        """Call the control API; any success will do unless a status is named."""
        answer = await self.http.request(method, f"/api/{path}", json=body or None, params={"bot": self.bot.id})
        assert answer.status_code == status or (not status and answer.is_success), answer.text
        return answer.json()


@contextlib.asynccontextmanager
async def world_of(options: Options, clock: ManualClock | None = None, bot_id: int = 0) -> AsyncIterator[World]:
    """Start a simulator and a bot that has called it once."""
    app = create_app(options, clock)
    async with served(app) as url, httpx.AsyncClient(base_url=url, verify=NO_TLS, timeout=WAIT_SECONDS) as http:
        token = f"{bot_id or next(_bot_ids)}:{'x' * 35}"
        request = HTTPXRequest(connection_pool_size=64, read_timeout=WAIT_SECONDS, httpx_kwargs={"verify": NO_TLS})
        bot = Bot(
            token,
            base_url=f"{url}/bot",
            base_file_url=f"{url}/file/bot",
            request=request,
            get_updates_request=HTTPXRequest(read_timeout=WAIT_SECONDS, httpx_kwargs={"verify": NO_TLS}),
        )
        async with bot:
            world = World(app.simulator, url, bot, http, clock)
            if ALICE in app.simulator.learners:
                world.open_chat()
            yield world


@dataclass
class Webhook:
    """A webhook that remembers what it got and answers as told."""

    url: str = ""
    updates: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[str | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Answers to come, in order; 200 after the last."""
    reply: bytes = b""
    gate: Callable[[dict[str, Any]], Awaitable[None]] | None = None
    """Awaited before an update is answered."""
    open: int = 0
    max_open: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        update = orjson.loads(body)
        self.updates.append(update)
        headers = dict(scope["headers"])
        secret = headers.get(b"x-telegram-bot-api-secret-token")
        self.secrets.append(secret.decode() if secret is not None else None)
        self.open += 1
        self.max_open = max(self.max_open, self.open)
        status = self.statuses.pop(0) if self.statuses else 200
        if self.gate is not None:
            await self.gate(update)
        self.open -= 1
        headers_out = [(b"content-length", str(len(self.reply)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers_out})
        await send({"type": "http.response.body", "body": self.reply})

    async def got(self, count: int) -> list[dict[str, Any]]:
        """The updates, once there are so many."""
        return await until(lambda: self.updates if len(self.updates) >= count else None)

    def ids(self) -> list[int]:
        """The numbers of the updates that came."""
        return [update["update_id"] for update in self.updates]
