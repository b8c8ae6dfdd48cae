"""A small HTTP client for webhooks: keep-alive connections, one request at a time on each.

A general client costs several milliseconds of processor time a request, which on a slow machine would make the
simulator, and not the service under test, the limit of a load test.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

_IDLE_SECONDS: Final = 3.0
_STATUS_OK: Final = range(200, 300)


@dataclass(slots=True)
class Response:
    """What a webhook answered."""

    status: int = 0
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""

    @property
    def is_ack(self) -> bool:
        """Whether Telegram takes it as a receipt."""
        return self.status in _STATUS_OK


class _Connection(asyncio.Protocol):
    """One connection; the `on_` methods are called by httptools."""

    def __init__(self) -> None:
        self.used = time.monotonic()
        self.open = True
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._response = Response()
        self._parser = httptools.HttpResponseParser(self)
        self._keep_alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("Webhook connection closed"))

    def on_status(self, status: bytes) -> None:
        self._response.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._response.body += body

    def on_message_complete(self) -> None:
        self._response.status = self._parser.get_status_code()
        self._keep_alive = self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._response)

    async def exchange(self, request: bytes) -> Response:
        """Send a request and wait for its answer."""
        if self._transport is None or not self.open:
            raise ConnectionResetError("Webhook connection closed")
        self._response = Response()
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        response = await self._answer
        self.used = time.monotonic()
        if not self._keep_alive:
            self.close()
        return response

    def close(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.abort()


class HttpClient:
    """Posts to one URL over as many connections as are needed at once."""

    def __init__(self, url: str, timeout: float) -> None:
        """Prepare for a URL; `timeout` is for one exchange, in seconds."""
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = (
            f"POST {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
            "Content-Type: application/json\r\nConnection: keep-alive\r\n"
        )
        self._timeout = timeout
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()

    async def post(self, body: bytes, headers: dict[str, str]) -> Response:
        """Send a JSON body.

        Raises:
            OSError: The connection cannot be made or breaks.
            TimeoutError: No answer in time.
        """
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{self._head}{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body
        async with asyncio.timeout(self._timeout):
            connection = await self._connection()
            try:
                response = await connection.exchange(request)
            except BaseException:
                connection.close()
                self._all.discard(connection)
                raise
        if connection.open:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
        return response

    def close(self) -> None:
        """Close all connections."""
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._idle.clear()

    async def _connection(self) -> _Connection:
        oldest = time.monotonic() - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            # A server may close an idle connection just as it is used again: rather open a new one.
            if connection.open and connection.used > oldest:
                return connection
            connection.close()
            self._all.discard(connection)
        context = ssl.create_default_context() if self._secure else None
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=context)
        self._all.add(connection)
        return connection


def error_text(error: Exception) -> str:
    """How Telegram words a failed delivery in `last_error_message`."""
    if isinstance(error, TimeoutError):
        return "Read timeout expired"
    if isinstance(error, ConnectionRefusedError):
        return "Connection refused"
    if isinstance(error, ConnectionResetError):
        return "Webhook connection closed"
    return f"Connection failed: {type(error).__name__}"
