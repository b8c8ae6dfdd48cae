"""Asks an ASGI application without a socket, so that many thousands of requests take seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from dev.fuzz.inputs import NO_ANSWER, Input

Message = MutableMapping[str, Any]
Application = Callable[..., Awaitable[None]]

BROKEN = 599
"""Stands for an exception out of the application."""


async def ask(app: Application, path: str, secret_header: str, given: Input) -> tuple[int, bytes]:
    """Return the answer's status and body; no answer is `NO_ANSWER`, an exception is `BROKEN` with its name."""
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), *given.headers]
    if given.secret is not None:
        headers.append((secret_header.lower().encode(), given.secret))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path + given.below,
        "raw_path": (path + given.below).encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    answer = _Answer()
    try:
        await app(scope, _Body(given).receive, answer.send)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return BROKEN, f"{type(error).__name__}: {error}".encode()
    return answer.status, bytes(answer.body)


class _Body:
    """The request's body in pieces, as a server hands it over."""

    def __init__(self, given: Input) -> None:
        size = max(1, -(-len(given.body) // given.pieces))
        self._pieces = [given.body[start : start + size] for start in range(0, len(given.body), size)] or [b""]
        if given.is_cut:
            self._pieces.pop()
        self._is_cut = given.is_cut

    async def receive(self) -> Message:
        if not self._pieces:
            return {"type": "http.disconnect"}
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or self._is_cut}


class _Answer:
    """Collects what the application sends."""

    def __init__(self) -> None:
        self.status = NO_ANSWER
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
