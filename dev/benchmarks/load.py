"""A load generator on asyncio's own protocols and httptools: cheap enough not to be what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self, cast

from httptools import HttpResponseParser

from local.servers import LOOPBACK


class ConnectionLostError(ConnectionError):
    """The server closed a connection in the middle of a request."""


def format_request(
    path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, method: str = "POST"
) -> bytes:
    """Return a request's bytes.

    Args:
        body: JSON, or nothing.
    """
    lines = {"host": LOOPBACK, "content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request under way."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = HttpResponseParser(self)
        self._body = bytearray()

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to a port of this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, LOOPBACK, port)
        return connection

    @property
    def is_closed(self) -> bool:
        """Return whether either side has ended it."""
        return self._transport is None or self._transport.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return the answer's status and body.

        Raises:
            ConnectionLostError: no answer came.
        """
        if self._transport is None or self.is_closed:
            raise ConnectionLostError
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    async def act(self, learner_id: int, what: str, body: Mapping[str, object]) -> None:
        """Let the simulator's learner do something that makes `taps` or `messages`.

        Raises:
            RuntimeError: it is not possible.
        """
        status, answer = await self.ask(format_request(f"/api/learners/{learner_id}/{what}", json.dumps(body).encode()))
        if status != HTTPStatus.CREATED:
            raise RuntimeError(f"the simulator refused what a learner did: {status} {answer[:200]!r}")

    def close(self) -> None:
        """Disconnect."""
        if self._transport:
            self._transport.close()

    # ------------------------------------------------------------ called by asyncio and by the parser

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, which is none of asyncio's

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self._parser.feed_data(data)

    def connection_lost(self, _: Exception | None) -> None:
        """Fail the request under way."""
        if self._answered and not self._answered.done():
            self._answered.set_exception(ConnectionLostError())

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the answer's body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Hand the answer over and make room for the next."""
        status, body = self._parser.get_status_code(), bytes(self._body)
        self._parser, self._body = HttpResponseParser(self), bytearray()
        if self._answered and not self._answered.done():
            self._answered.set_result((status, body))


@dataclass(slots=True)
class Round:
    """What one round of load measured."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds of each answered request."""
    failed: int = 0
    """Answers other than 200."""
    generator_cpu: float = 0.0
    """CPU seconds of this process."""

    @property
    def per_second(self) -> float:
        """Return how many requests were answered with 200 in a second."""
        return (len(self.latencies) - self.failed) / self.seconds

    @property
    def generator_share(self) -> float:
        """Return the part of one core that the generator itself used."""
        return self.generator_cpu / self.seconds


class Generator:
    """Keeps so many requests under way, each on a connection of its own, for a while."""

    def __init__(self, connections: list[Connection], next_request: Callable[[], bytes]) -> None:
        self._connections = connections
        self._next_request = next_request

    @classmethod
    async def connect(cls, port: int, concurrency: int, next_request: Callable[[], bytes]) -> Self:
        """Open connections.

        Args:
            next_request: called for each request, so that no two need be the same.
        """
        return cls([await Connection.open(port) for _ in range(concurrency)], next_request)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()

    async def run(self, seconds: float) -> Round:
        """Send one request after the other on each connection, and wait for the last answers."""
        result, began, cpu = Round(), time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for connection in self._connections:
                group.create_task(self._drive(connection, began + seconds, result))
        result.seconds = time.perf_counter() - began
        result.generator_cpu = time.process_time() - cpu
        return result

    async def _drive(self, connection: Connection, end: float, result: Round) -> None:
        now = time.perf_counter()
        while now < end:
            sent_at = now
            status, _ = await connection.ask(self._next_request())
            now = time.perf_counter()
            result.latencies.append(now - sent_at)
            result.failed += status != 200
