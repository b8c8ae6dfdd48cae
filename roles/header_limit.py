"""uvicorn's HTTP with limits on a request that is still coming in: the size of its head, and the time it takes."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from observability import metrics

MAX_HEAD_BYTES = 65_536
"""Beyond what comes with the first read: Telegram and proxies send less than a thousandth of it."""

HEAD_SECONDS = 10.0
"""From a connection's begin, or a further request's first byte, to the end of the head. Telegram and proxies send it in
one piece."""

BODY_SECONDS = 30.0
"""From there to the end of the body, which has at most a megabyte."""

_LATE = b"The request did not come in time.\n"
_ANSWER_408 = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_LATE), _LATE)
)


class HeaderLimitProtocol(HttpToolsProtocol):
    """Answers 400 once a head is too long and 408 once a request is too slow, and hangs up.

    Nothing limits the time between two requests but uvicorn's own `timeout_keep_alive`.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **named)
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._set_deadline(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._drop_deadline()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        if self._deadline is None:
            self._set_deadline(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """Note that it ends, and wait for the body."""
        self._in_head, self._in_body = False, True
        self._set_deadline(BODY_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request is here."""
        self._in_body = False
        self._drop_deadline()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count it while a head goes on."""
        goes_on = self._in_head
        if self._deadline is None:  # also for bytes that begin no request, such as empty lines
            self._set_deadline(HEAD_SECONDS)
        super().data_received(data)
        if goes_on and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"A request's head has at most {MAX_HEAD_BYTES} bytes.")

    def _set_deadline(self, seconds: float) -> None:
        self._drop_deadline()
        self._deadline = self.loop.call_later(seconds, self._on_deadline)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        cycle = self.cycle
        answers_earlier = bool(self.pipeline) if self._in_body else cycle is not None and not cycle.response_complete
        if answers_earlier or self.flow.read_paused:  # the service is slow, not the sender
            self._set_deadline(HEAD_SECONDS)
            return
        if self._in_head or (self._in_body and not cycle.response_started):
            metrics.UPDATES_REFUSED.labels("too slow").inc()
            self.transport.write(_ANSWER_408)
        self.transport.close()
