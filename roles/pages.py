"""Pages of a role that has no HTTP application: served from a thread, answered by the event loop.

`/health` says whether the event loop runs, `/ready` whether the database answers as well. Neither waits for `/metrics`,
which answers even when the loop does not.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST

from domain.service_state import Role
from domain.version import VERSION
from observability.service_metrics import ASK_SECONDS, Ask, ServiceMetrics, run_on
from roles.readiness import check_process, make_metrics, wrong_role
from wiring import Connections

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Page = tuple[HTTPStatus, str, bytes]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, *_: object) -> None:
        """Say nothing: a probe comes every few seconds."""


@asynccontextmanager
async def serving_pages(connections: Connections, role: Role, host: str, port: int) -> AsyncIterator[None]:
    """Serve the pages of the role that runs on this event loop.

    Raises:
        OSError: the port is taken.
    """
    show = _pages(connections, role)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, kind, body = show(environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        start_response(f"{status.value} {status.phrase}", [("Content-Type", kind)])
        return [body]

    class Server(_Server):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    server = make_server(host, port, answer, Server, _Handler)
    thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        try:
            await asyncio.to_thread(server.shutdown)  # which waits for the thread to look, twice a second
        finally:
            server.server_close()


def _pages(connections: Connections, role: Role) -> Callable[[str, str], Page]:
    """Return what answers a path and a query."""
    loop = asyncio.get_running_loop()
    metrics: ServiceMetrics = make_metrics(connections)

    def show(path: str, query: str) -> Page:
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics.expose()
        if path == "/health":
            hangs = _ask(loop, _do_nothing)
            return _as_json(503 if hangs else 200, {"status": "hangs" if hangs else "alive", "version": VERSION})
        if path != "/ready":
            return HTTPStatus.NOT_FOUND, "text/plain", b"/health, /ready or /metrics\n"
        asked = parse_qs(query).get("role", [role.value])[0]
        if asked != role:
            return _as_json(400, {"ready": False, "problems": [wrong_role(role)]})
        problems = _ask(loop, lambda: check_process(connections.repository))
        return _as_json(503 if problems else 200, {"ready": not problems, "problems": problems})

    return show


async def _do_nothing() -> list[str]:
    return []


def _ask(loop: asyncio.AbstractEventLoop, check: Ask[list[str]]) -> list[str]:
    """Return the problems that a check on the loop finds, or that there was no answer."""
    try:
        return run_on(loop, check, ASK_SECONDS)
    except (TimeoutError, RuntimeError):
        return [f"this process has not answered within {ASK_SECONDS:g} s"]


def _as_json(status: int, body: dict[str, object]) -> Page:
    return HTTPStatus(status), "application/json", json.dumps(body).encode()
