"""A server that speaks as a test tells it to, down to the bytes and to what it leaves out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(slots=True)
class Seen:
    """A request that came in whole."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


Behaviour = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]
"""What is done about a request; a connection that is left open serves the next one."""


@dataclass(slots=True)
class RawServer:
    """Where it is, and what came."""

    url: str
    port: int
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    max_open: int = 0


@contextlib.asynccontextmanager
async def raw_server(
    behaviour: Behaviour, tls: ssl.SSLContext | None = None, *, port: int = 0
) -> AsyncIterator[RawServer]:
    """Serve until the end, when every connection is cut.

    Args:
        behaviour: what is done about each request.
        tls: with a certificate, for https.
        port: any free one when 0.
    """
    one = RawServer("", 0)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        one.connections += 1
        one.open += 1
        one.max_open = max(one.max_open, one.open)
        try:
            while not writer.is_closing() and (request := await _read(reader)):
                one.seen.append(request)
                await behaviour(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever asked has gone
        finally:
            one.open -= 1
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=tls)
    one.port = server.sockets[0].getsockname()[1]
    one.url = f"{'https' if tls else 'http'}://127.0.0.1:{one.port}"
    try:
        yield one
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert "transfer-encoding" not in headers  # Telegram takes it, proxies may not, and the library never does it
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, target, _ = first.split(" ")
    return Seen(method, target, headers, body)


# ---------------------------------------------------------------- behaviours


def answers(body: bytes | dict[str, object], status: int = 200, **headers: str) -> Behaviour:
    """Return what answers with a status, a body and headers, whose names are written with underscores."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Length": str(len(content)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unheard Of"

    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} {phrase}\r\n{head}\r\n".encode() + content)
        await writer.drain()

    return answer


def says(raw: bytes) -> Behaviour:
    """Return what sends some bytes and hangs up."""

    async def say(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return say


def stalls(raw: bytes) -> Behaviour:
    """Return what sends some bytes and then nothing more."""

    async def stall(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await asyncio.Event().wait()

    return stall


def drips(raw: bytes, pause: float) -> Behaviour:
    """Return what sends a few bytes at a time, with a pause of so many seconds after each."""

    async def drip(_: Seen, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(raw), 4):
            writer.write(raw[start : start + 4])
            await writer.drain()
            await asyncio.sleep(pause)

    return drip


async def resets(_: Seen, writer: asyncio.StreamWriter) -> None:
    """Take the request and reset the connection."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def quotes(request: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer 200 with a page that names the address that was asked for, as a captive portal does."""
    await answers(f"<h1>You asked for {request.target}</h1>".encode())(request, writer)


async def refuses_and_quotes(request: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer 502 with such a page."""
    await answers(f"<h1>Nobody serves {request.target}</h1>".encode(), 502)(request, writer)


async def redirects(request: Seen, writer: asyncio.StreamWriter) -> None:
    """Send the client to the same address once more."""
    await answers(b"", 302, Location=request.target)(request, writer)
