"""The library's requests over httpx beside ours over aiohttp: `sendMessage` to a server that costs next to nothing.

`python -m dev.benchmarks.transport PORT` is that server.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop
from httptools import HttpRequestParser
from telegram import Bot, InlineKeyboardMarkup
from telegram.constants import ParseMode
from telegram.request import BaseRequest, HTTPXRequest

from bot.keyboards import question_keyboard
from bot.transport import AiohttpRequest
from dev.benchmarks.numbers import SHARES, Figures, latency_figures, spread
from dev.benchmarks.section import Section, Table, plain
from dev.stack import TOKEN, Say, cpu_seconds, open_ground
from domain.ids import QuizId
from local import servers
from local.supervisor import Program

TEXT = "<b>Streaming</b> · intermediate\n\nA consumer commits before it writes. What may happen after a crash?" * 4
FIRST_CHAT = 1000
NAMES = ("aiohttp", "httpx")


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    concurrencies: tuple[int, ...]
    rounds: int
    seconds: float


FULL = Size(concurrencies=(1, 8, 32, 64), rounds=10, seconds=2.0)
QUICK = Size(concurrencies=(1, 8), rounds=2, seconds=0.3)


# ---------------------------------------------------------------- the server


class Answerer(asyncio.Protocol):
    """Answers every request alike, as Telegram answers `sendMessage`."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, which is none of asyncio's

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer."""
        if self._transport:
            self._transport.write(self._answer)


def make_answer() -> bytes:
    """Return what Telegram answers, of about its size."""
    message = {
        "message_id": 4711,
        "from": {"id": 1, "is_bot": True, "first_name": "Quiz", "username": "quiz_bot"},
        "chat": {"id": FIRST_CHAT, "first_name": "Learner", "type": "private"},
        "date": 1_700_000_000,
        "text": TEXT,
        "entities": [{"offset": 0, "length": 9, "type": "bold"}],
        "reply_markup": question_keyboard(QuizId(1)).to_dict(),
    }
    body = json.dumps({"ok": True, "result": message}).encode()
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def serve(port: int) -> None:
    """Answer until the process is ended."""
    answer = make_answer()
    server = await asyncio.get_running_loop().create_server(lambda: Answerer(answer), servers.LOOPBACK, port)
    await server.serve_forever()


@dataclass(slots=True)
class Client:
    """The library's bot over one of the transports, and what was measured of it."""

    name: str
    bot: Bot
    keyboard: InlineKeyboardMarkup
    per_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    server_share: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    async def send_until(self, end: float, chats: Callable[[], int], latencies: list[float]) -> None:
        """Send one message after the other; the seconds that each took are added to the latencies."""
        now = time.perf_counter()
        while now < end:
            sent_at = now
            await self.bot.send_message(chats(), TEXT, parse_mode=ParseMode.HTML, reply_markup=self.keyboard)
            now = time.perf_counter()
            latencies.append(now - sent_at)


async def measure(size: Size, say: Say) -> Figures:
    """Send over both in turn."""
    with open_ground() as stack:
        port = servers.free_port()
        server = stack.start_python("answerer", "-m", "dev.benchmarks.transport", str(port), port=port)
        # The roles that send run on asyncio's own loop, so it is the one to measure on.
        results = await asyncio.to_thread(asyncio.run, _measure_all(server, size, say))
        return {"rounds": size.rounds, "seconds_a_round": size.seconds, "at": results}


async def _measure_all(server: Program, size: Size, say: Say) -> list[Figures]:
    most = max(size.concurrencies)
    requests: dict[str, BaseRequest] = {
        "aiohttp": AiohttpRequest(pool_size=most, pool_timeout=None),
        "httpx": HTTPXRequest(connection_pool_size=most, pool_timeout=None),
    }
    results = []
    for concurrency in size.concurrencies:
        clients = [Client(name, _bot(server.port, requests[name]), question_keyboard(QuizId(1))) for name in NAMES]
        for client in clients:
            await requests[client.name].initialize()
            await _one_round(client, server, concurrency, size.seconds / 3, keep=False)  # connections are made
        for number in range(size.rounds):
            for client in clients if number % 2 == 0 else reversed(clients):
                await _one_round(client, server, concurrency, size.seconds, keep=True)
            speeds = ", ".join(f"{client.name} {client.per_second[-1]:.0f}/s" for client in clients)
            say(f"{concurrency} at once, round {number + 1} of {size.rounds}: {speeds}")
        results.append(_summary(concurrency, clients))
    for request in requests.values():
        await request.shutdown()
    return results


def _bot(port: int, request: BaseRequest) -> Bot:
    return Bot(TOKEN, base_url=f"http://{servers.LOOPBACK}:{port}/bot", request=request, get_updates_request=request)


async def _one_round(client: Client, server: Program, concurrency: int, seconds: float, *, keep: bool) -> None:
    chats, latencies = itertools.count(FIRST_CHAT), list[float]()
    server_cpu, cpu, began = cpu_seconds(server.pid), time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client.send_until(began + seconds, chats.__next__, latencies))
    took = time.perf_counter() - began
    if keep:
        client.latencies += latencies
        client.per_second.append(len(latencies) / took)
        client.cpu_ms.append(1000 * (time.process_time() - cpu) / len(latencies))
        client.server_share.append((cpu_seconds(server.pid) - server_cpu) / took)


def _summary(concurrency: int, clients: list[Client]) -> Figures:
    figures: Figures = {"concurrency": concurrency}
    for client in clients:
        figures[client.name] = {
            "per_second": spread(client.per_second, 0),
            "latency": latency_figures(client.latencies),
            "cpu_ms": spread(client.cpu_ms),
            "server_share_of_a_core": spread(client.server_share),
        }
    ours, theirs = clients
    pairs = zip(ours.per_second, theirs.per_second, strict=True)
    figures["ratio"] = spread([one / other for one, other in pairs])
    return figures


def present(figures: Figures) -> Section:
    """Show the figures."""
    return Section(
        title="Transport: messages a second of one process",
        about=(
            "`Bot.send_message` of python-telegram-bot, a question with its keyboard, over the service's aiohttp "
            "transport (`bot/transport.py`) and over the library's own HTTPXRequest, to a server in a process of its "
            "own that answers at once with what Telegram would. Both have as many connections as requests at once. "
            f"In the same run: {figures['rounds']} rounds of {figures['seconds_a_round']:g} s each in turn, every "
            "second turn in reverse order."
        ),
        tables=[_speeds(figures)],
        notes=[
            (
                "CPU is what a message costs the sending process, the library's own part included, which is the same "
                "for both. The server is not the bottleneck as long as its share of a core stays well under 1."
            )
        ],
        limits=[
            "TLS, and the way to Telegram and back: with some 50 ms for each message, 8 at once are 160 a second.",
            "The rate limiter, which is asked once for each message.",
        ],
    )


def _speeds(figures: Figures) -> Table:
    rows = []
    for at in figures["at"]:
        for name in NAMES:
            one, ratio = at[name], at["ratio"] if name == NAMES[0] else None
            speed = one["per_second"]
            rows.append(
                [
                    str(at["concurrency"]),
                    name,
                    f"{plain(speed['median'])} ({plain(speed['least'])}–{plain(speed['greatest'])})",
                    *(f"{one['latency'][share]:.1f}" for share in list(SHARES)[:3]),
                    f"{one['cpu_ms']['median']:.2f}",
                    f"{one['server_share_of_a_core']['median']:.2f}",
                    f"**{ratio['median']:.2f}** ({ratio['least']:.2f}–{ratio['greatest']:.2f})" if ratio else "",
                ]
            )
    columns = ["at once", "over", "a second", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "server's core"]
    columns.append("aiohttp / httpx")
    return Table("Messages a second: median of the rounds (least–greatest); latencies over all rounds", columns, rows)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
