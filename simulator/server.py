"""The simulator as a web application: the Bot API, the control API and the chat page."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from local.cross_site import refuse_foreign_pages
from simulator.bot_api import BotApi
from simulator.clock import Clock
from simulator.control import Control
from simulator.core import Simulator
from simulator.options import Options

_BOT_API: Final = ("/bot", "/file/bot")
_STATIC: Final = Path(__file__).parent / "static"
_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/app.css": ("app.css", "text/css"),
    "/app.js": ("app.js", "text/javascript"),
    "/composer.js": ("composer.js", "text/javascript"),
    "/render.js": ("render.js", "text/javascript"),
    "/tools.js": ("tools.js", "text/javascript"),
}
_HEADERS: Final = {
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class SimulatorApp:
    """An ASGI application around one simulator.

    Attributes:
        simulator: Its state, for tests to read and act upon.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._bot_api = BotApi(simulator)
        pages = [Route(path, _page(*file), methods=["GET"]) for path, file in _FILES.items()]
        self._pages = Starlette(routes=[*pages, Mount("/api", routes=Control(simulator).routes())])
        self._answer = refuse_foreign_pages(self._route, simulator.options.hosts, ("/api/", *_BOT_API))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or follow the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(_BOT_API):
            await self._bot_api(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.simulator.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.simulator.close()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(options: Options | None = None, clock: Clock | None = None) -> SimulatorApp:
    """Make a simulator and its web application.

    Args:
        options: Limits, folder and the rest; Telegram's own unless told.
        clock: A clock for tests; the system's unless told.

    Returns:
        The application; its `simulator` holds the state. Its lifespan starts and ends delivery and storage.
    """
    return SimulatorApp(Simulator(options, clock))


def _page(name: str, media_type: str) -> Callable[[Request], Response]:
    def page(_request: Request) -> Response:
        # Read anew each time: the files are small, and an edit shows at once.
        return Response((_STATIC / name).read_bytes(), media_type=media_type, headers=_HEADERS)

    return page
