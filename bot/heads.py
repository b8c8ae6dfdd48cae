"""uvicorn's HTTP with a bound on the head of a request, which it would otherwise collect without end."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 65_536
"""Beyond what comes with the first read: Telegram and proxies send less than a thousandth of it."""


class BoundedHeads(HttpToolsProtocol):
    """Answers 400 and hangs up once a head is too long."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Begin without a request.

        Args:
            arguments: of uvicorn's protocol.
            named: likewise.
        """
        super().__init__(*arguments, **named)
        self._in_head = False
        self._head_bytes = 0

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Note that it ends."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count it while a head goes on.

        Args:
            data: at most as much as one read takes.
        """
        goes_on = self._in_head
        super().data_received(data)
        if goes_on and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"A request's head has at most {MOST_HEAD_BYTES} bytes.")
