"""The load generator counts what a server answers."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dev.benchmarks.load import Connection, ConnectionLostError, Generator, format_request
from local import servers
from tests.support.serving import serving


class Endpoint:
    """Answers every third request with 503, and remembers them all."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.under_way = 0
        self.max_under_way = 0

    async def answer(self, request: Request) -> Response:
        """Answer with a body too long for one piece."""
        self.under_way += 1
        self.max_under_way = max(self.max_under_way, self.under_way)
        self.bodies.append(await request.body())
        status = 503 if len(self.bodies) % 3 == 0 else 200
        await asyncio.sleep(0.002)
        self.under_way -= 1
        return Response("x" * 200_000, status)

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(routes=[Route("/", self.answer, methods=["POST"])])


async def test_each_request_is_sent_once_and_refusals_are_counted() -> None:
    endpoint, numbers, port = Endpoint(), itertools.count(), servers.free_port()
    async with (
        serving(endpoint.app(), port),
        await Generator.connect(port, 4, lambda: format_request("/", b"%d" % next(numbers))) as generator,
    ):
        result = await generator.run(0.3)
    assert sorted(map(int, endpoint.bodies)) == list(range(len(result.latencies)))
    assert result.failed == len(endpoint.bodies) // 3 > 0
    assert endpoint.max_under_way == 4
    assert min(result.latencies) >= 0.002
    assert result.per_second == pytest.approx((len(result.latencies) - result.failed) / result.seconds)
    assert result.generator_share > 0


async def test_an_answer_in_pieces_is_put_together() -> None:
    endpoint, port = Endpoint(), servers.free_port()
    async with serving(endpoint.app(), port):
        connection = await Connection.open(port)
        assert await connection.ask(format_request("/")) == (200, b"x" * 200_000)
        assert await connection.ask(format_request("/")) == (200, b"x" * 200_000)
        assert (await connection.ask(format_request("/")))[0] == 503
        connection.close()


async def test_a_connection_that_the_server_closes_is_an_error() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    port = servers.free_port()
    async with await asyncio.start_server(hang_up, "127.0.0.1", port):
        connection = await Connection.open(port)
        with pytest.raises(ConnectionLostError):
            await connection.ask(format_request("/"))
        with pytest.raises(ConnectionLostError):
            await connection.ask(format_request("/"))
