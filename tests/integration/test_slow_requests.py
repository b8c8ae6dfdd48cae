"""Requests that never come in whole, on raw sockets: each ends within its time, and nothing else does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from domain.settings import Settings
from local import servers
from roles import header_limit
from roles.webhook import server_config
from tests.support.service import Service
from tests.support.serving import serving_as
from tests.support.waiting import WAIT_SECONDS

LIMIT = 0.3
"""Seconds, in place of the real ones."""

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /take HTTP/1.1\r\nHost: x\r\n"


class Server:
    """An application behind the service's own protocol."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.bodies: list[int] = []
        """How long each body was that came in whole."""
        self.may_answer = asyncio.Event()
        """Lets `/slow` go on."""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def end_of(self, *pieces: bytes, drip: bytes = b"") -> bytes:
        """Send this, and then the rest again and again; return all that came when the server has hung up."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
        dripping = asyncio.create_task(_drip(writer, drip))
        heard = b""
        async with asyncio.timeout(WAIT_SECONDS):
            with contextlib.suppress(ConnectionResetError):  # whoever still sends is told so that they are cut off
                while chunk := await reader.read(1 << 16):
                    heard += chunk
        dripping.cancel()
        writer.close()
        return heard

    async def outlast_limits(self) -> None:
        """Return when others who began later have been cut off, twice over."""
        for _ in range(2):
            assert await self.end_of() == b""


async def _drip(writer: asyncio.StreamWriter, drip: bytes) -> None:
    while drip:
        writer.write(drip)
        await asyncio.sleep(LIMIT / 10)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """Yield a server with short limits."""
    monkeypatch.setattr(header_limit, "HEAD_SECONDS", LIMIT)
    monkeypatch.setattr(header_limit, "BODY_SECONDS", LIMIT)
    app = FastAPI()
    one = Server(servers.free_port())

    @app.post("/take")
    async def take(request: Request) -> Response:
        one.bodies.append(len(await request.body()))
        return Response("taken")

    @app.post("/refuse")
    async def refuse() -> Response:
        return Response("refused", 401)

    @app.get("/page")
    async def page() -> Response:
        return Response("page")

    @app.get("/slow")
    async def slow() -> Response:
        await one.may_answer.wait()
        return Response("slow")

    settings = Settings(_env_file=None, webhook_port=one.port)
    async with serving_as(server_config(app, settings)):
        yield one


async def test_who_never_sends_a_byte_is_cut_off(server: Server) -> None:
    assert await server.end_of() == b""


@pytest.mark.parametrize("head", [b"P", b"POST /take HTTP/1.1\r\n", POST, POST + b"X: y", POST[:-1]])
async def test_a_head_that_does_not_end_is_refused(server: Server, head: bytes) -> None:
    assert (await server.end_of(head)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert server.bodies == []


@pytest.mark.parametrize(("begin", "drip"), [(POST, b"X: y\r\n"), (b"", b"G"), (POST + b"X: ", b"y")])
async def test_a_head_that_comes_drop_by_drop_is_refused(server: Server, begin: bytes, drip: bytes) -> None:
    heard = await server.end_of(begin, drip=drip)
    assert heard.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 9\r\n\r\n",
        b"Content-Length: 9\r\n\r\n12345678",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x",
        b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    ],
)
async def test_a_body_that_does_not_end_is_refused(server: Server, rest: bytes) -> None:
    heard = await server.end_of(POST + rest)
    assert heard.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert server.bodies == []


async def test_a_body_that_comes_drop_by_drop_is_refused(server: Server) -> None:
    heard = await server.end_of(POST + b"Content-Length: 1000000\r\n\r\n", drip=b"x")
    assert heard.startswith(b"HTTP/1.1 408")


async def test_who_was_answered_before_their_body_came_is_cut_off_without_another_answer(server: Server) -> None:
    refused = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    heard = await server.end_of(refused, drip=b"x")
    assert heard.startswith(b"HTTP/1.1 401")
    assert heard.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("request_", [GET, POST + b"Content-Length: 3\r\n\r\nabc"])
async def test_an_idle_connection_is_no_request_that_is_late(server: Server, request_: bytes) -> None:
    reader, writer = await server.connect()
    for _ in range(2):
        writer.write(request_)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readexactly(len(b"page") if request_ is GET else len(b"taken"))
        await server.outlast_limits()
    assert not reader.at_eof()
    writer.close()


@pytest.mark.parametrize("drip", [b"\r\n", b"GET /pa"])
async def test_an_idle_connection_is_not_kept_by_what_is_no_request(server: Server, drip: bytes) -> None:
    heard = await server.end_of(GET, drip=drip)
    assert heard.startswith(b"HTTP/1.1 200")
    assert heard.count(b"HTTP/1.1 200") == 1


async def test_an_upgrade_that_nobody_offers_keeps_no_connection(server: Server) -> None:
    upgrade = b"GET /page HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    assert (await server.end_of(upgrade, drip=b"\x00")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("next_", [b"", b"POST /ta", POST + b"Content-Length: 9\r\n\r\n"])
async def test_a_slow_answer_of_ours_is_nobody_elses_delay(server: Server, next_: bytes) -> None:
    reader, writer = await server.connect()
    writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + next_)
    await server.outlast_limits()
    server.may_answer.set()
    async with asyncio.timeout(WAIT_SECONDS):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(4) == b"slow"
        if next_:
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_hundreds_of_half_requests_leave_room_for_a_whole_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header_limit, "HEAD_SECONDS", 10 * LIMIT)  # lest a busy machine read the whole one too late
    ends = [asyncio.create_task(server.end_of(POST)) for _ in range(300)]
    async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/page")).status_code == 200
    assert all(heard.startswith(b"HTTP/1.1 408") for heard in await asyncio.gather(*ends))


async def test_how_long_an_idle_connection_is_kept_is_a_setting() -> None:
    app = FastAPI()
    port = servers.free_port()
    settings = Settings(_env_file=None, webhook_port=port)
    assert server_config(app, settings).timeout_keep_alive == 150
    short = settings.model_copy(update={"webhook_keep_alive_seconds": 1})
    async with serving_as(server_config(app, short)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 404")
        writer.close()


@pytest.mark.parametrize("page", ["/health", "/ready", "/metrics"])
async def test_head_is_answered_like_get_without_a_body(service: Service, page: str) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=WAIT_SECONDS) as client:
        got, head = await client.get(page), await client.head(page)
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.content == b""
