"""Failures on order: what the next calls of a method will meet."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from simulator.errors import ApiError

REFUSALS: Final = {
    "403": ApiError(403, "Forbidden: bot was blocked by the user"),
    "401": ApiError(401, "Unauthorized"),
    "404": ApiError(404, "Not Found"),
    "frozen": ApiError(400, "Bad Request: FROZEN_METHOD_INVALID"),
    "500": ApiError(500, "Internal Server Error"),
}
"""What Telegram itself says."""

FOREIGN: Final = {
    "502": (502, b"text/html", b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body></body>\r\n</html>"),
    "403-page": (403, b"text/html", b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body></body>\r\n</html>"),
    "403-json": (403, b"application/json", b'{"error": {"code": 403, "message": "Forbidden by policy"}}'),
    "403-empty": (403, b"text/plain", b""),
    "401-page": (401, b"text/html", b"<html><body>Sign in to use the network</body></html>"),
    "200-page": (200, b"text/html", b"<html><body>Sign in to use the network</body></html>"),
}
"""What a proxy or a portal before Telegram says: status, content type and body."""

KINDS: Final = ("429", *REFUSALS, *FOREIGN, "slow", "hang", "reset")


@dataclass(slots=True)
class Fault:
    """One kind of failure, for so many calls."""

    method: str
    """In lower case, or `*` for any; a frozen bot may call those that only read, whatever stands here."""
    kind: str
    remaining: int
    applied: bool
    """Whether the call takes effect before it fails: the sender cannot tell."""
    retry_after: int
    seconds: float
    """How long a slow or hanging call is held."""
    bot: int | None = None
    """Only calls of this bot."""
    chat: int | None = None
    """Only calls for this chat."""

    def meets(self, method: str, bot: int, chat: str) -> bool:
        """Whether a call is one of those that fail."""
        return (
            self.method in {"*", method}
            and self.bot in {None, bot}
            and (self.chat is None or str(self.chat) == chat)
            and not (self.kind == "frozen" and method.startswith("get"))
        )


class Faults:
    """The failures still to come, in the order in which they were ordered."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._released = asyncio.Event()
        self._closed = False

    def add(self, fault: Fault) -> None:
        """Order a failure."""
        self._faults.append(fault)

    def take(self, method: str, bot: int, chat: str) -> Fault | None:
        """The failure that a call of this method (in lower case) meets now, if any; `chat` may be empty."""
        if not self._faults:
            return None
        for fault in self._faults:
            if fault.meets(method, bot, chat):
                fault.remaining -= 1
                if fault.remaining <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    def remaining(self) -> int:
        """How many calls will still fail."""
        return sum(fault.remaining for fault in self._faults)

    def list(self) -> list[dict[str, object]]:
        """Each kind of failure still to come, with the calls that it is for."""
        shown = ("kind", "method", "remaining", "bot", "chat")
        return [{name: getattr(fault, name) for name in shown} for fault in self._faults]

    async def hang(self, seconds: float) -> None:
        """Hold a call that long, or until failures are cleared."""
        if self._closed:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._released.wait()

    def clear(self) -> None:
        """Call off all failures and release what hangs."""
        self._faults.clear()
        self._released.set()
        self._released = asyncio.Event()

    def close(self) -> None:
        """Release what hangs, for good."""
        self._closed = True
        self.clear()
