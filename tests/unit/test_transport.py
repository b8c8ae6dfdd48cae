"""The transport does what the library's own does: the same cases over both, against real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import Any

import pytest
from telegram import InputFile
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)

from bot import transport
from local import servers
from tests.support.raw_server import Seen, answers, drips, raw_server, redirects, resets, says, stalls
from tests.support.transports import (
    HALF,
    NEVER_IN_TIME,
    OK,
    OK_BYTES,
    Certificate,
    MakeRequest,
    bot_of,
    both,
    failure_of,
    make_certificate,
    no_surroundings,
    ours,
)

_surroundings = pytest.fixture(autouse=True)(no_surroundings)
certificate = pytest.fixture(scope="module")(make_certificate)


# ---------------------------------------------------------------- what Telegram says

REFUSALS: list[tuple[int, str, dict[str, object], type[TelegramError], str]] = [
    (400, "Bad Request: chat not found", {}, BadRequest, "Chat not found"),
    (400, "moved", {"migrate_to_chat_id": -5}, ChatMigrated, "Group migrated"),
    (401, "Unauthorized", {}, InvalidToken, "Unauthorized"),
    (403, "Forbidden: bot was blocked by the user", {}, Forbidden, "Forbidden: bot was blocked"),
    (404, "Not Found", {}, InvalidToken, "Not Found"),
    (409, "Conflict: other getUpdates", {}, Conflict, "Conflict: other getUpdates"),
    (429, "x", {"retry_after": 17}, RetryAfter, "Flood control exceeded"),
    (500, "Internal Server Error", {}, NetworkError, "Internal Server Error"),
    (502, "Bad Gateway", {}, NetworkError, "Bad Gateway"),
]


def refusal(status: int, description: str, parameters: dict[str, object]) -> dict[str, object]:
    """Return a refusal in Telegram's form."""
    answer: dict[str, object] = {"ok": False, "error_code": status, "description": description}
    return answer | ({"parameters": parameters} if parameters else {})


@pytest.mark.parametrize(("status", "description", "parameters", "kind", "words"), REFUSALS)
@both
async def test_a_refusal_is_the_librarys_error(
    make: MakeRequest,
    status: int,
    description: str,
    parameters: dict[str, object],
    kind: type[TelegramError],
    words: str,
) -> None:
    async with raw_server(answers(refusal(status, description, parameters), status)) as server:
        error = await failure_of(server.url, make())
    assert type(error) is kind
    assert words in error.message


FOREIGN: list[tuple[int, dict[str, object] | bytes]] = [
    *((status, b"<html>") for status in (302, 400, 401, 403, 404, 407, 409, 413, 429, 502, 599)),
    (400, b""),
    (403, b""),
    (403, b"[]"),
    (403, b'"Forbidden"'),
    (403, {"description": "Forbidden: bot was blocked by the user"}),
    (403, {"ok": False, "description": "Forbidden: bot was blocked by the user"}),
    (403, {"ok": False, "error_code": 403, "description": None}),
    (403, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}),
    (403, {"ok": True, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}),
    (401, {"error": {"code": 401, "message": "Unauthorized"}}),
    (429, {"parameters": {"retry_after": 60}}),
]


@pytest.mark.parametrize(("status", "body"), FOREIGN)
async def test_a_refusal_that_is_not_telegrams_is_a_network_error(status: int, body: dict[str, object] | bytes) -> None:
    async with raw_server(answers(body, status)) as server:
        error = await failure_of(server.url, ours())
    assert type(error) is NetworkError
    assert f"({status}), which is not an answer of Telegram" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        {"status": "ok"},
        {"result": {"message_id": 1}},
        {"ok": False, "result": {"message_id": 1}},
        {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"},
    ],
)
async def test_a_page_that_says_200_is_no_answer(body: dict[str, object] | bytes) -> None:
    async with raw_server(answers(body)) as server:
        error = await failure_of(server.url, ours())
    assert type(error) is TelegramError
    assert error.message == "Invalid server response"


@pytest.mark.parametrize("status", [402, 413, 420, 421])
async def test_a_status_that_the_library_does_not_know_is_a_bad_request(status: int) -> None:
    async with raw_server(answers(refusal(status, "FLOOD_OF_WORDS", {}), status)) as server:
        error = await failure_of(server.url, ours())
    assert (type(error), error.message) == (BadRequest, "FLOOD_OF_WORDS")


@both
async def test_retry_after_is_kept(make: MakeRequest) -> None:
    async with raw_server(answers(refusal(429, "x", {"retry_after": 17}), 429)) as server:
        error = await failure_of(server.url, make())
    assert isinstance(error, RetryAfter)
    assert str(error.retry_after) == "0:00:17"


@both
async def test_an_answer_that_is_no_json_is_an_error(make: MakeRequest) -> None:
    async with raw_server(answers(b"<html>")) as server:
        error = await failure_of(server.url, make())
    assert type(error) is TelegramError
    assert error.message == "Invalid server response"


@both
async def test_a_redirect_is_not_followed(make: MakeRequest) -> None:
    async with raw_server(redirects) as server:
        error = await failure_of(server.url, make())
        assert len(server.seen) == 1
    assert type(error) is NetworkError
    assert "Found (302)" in error.message


@both
async def test_a_packed_answer_is_unpacked(make: MakeRequest) -> None:
    async with (
        raw_server(answers(gzip.compress(OK_BYTES), Content_Encoding="gzip")) as server,
        make() as request,
    ):
        assert (await bot_of(server.url, request).send_message(1, "hello")).message_id == 7


# ---------------------------------------------------------------- what goes wrong on the way


@both
async def test_nobody_there_is_a_network_error(make: MakeRequest) -> None:
    error = await failure_of(f"http://127.0.0.1:{servers.free_port()}", make())
    assert type(error) is NetworkError


@both
async def test_no_such_host_is_a_network_error(make: MakeRequest) -> None:
    assert type(await failure_of("http://nowhere.invalid", make())) is NetworkError


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(resets, id="reset"),
        pytest.param(says(b""), id="closed without an answer"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Le"), id="half a head"),
        pytest.param(says(HALF), id="half a body"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{"), id="half a chunk"),
        pytest.param(says(b"SSH-2.0-OpenSSH_9.9\r\n"), id="another protocol"),
        pytest.param(answers(b"not gzip at all", Content_Encoding="gzip"), id="broken packing"),
    ],
)
@both
async def test_a_broken_answer_is_a_network_error_and_nothing_is_sent_twice(make: MakeRequest, behaviour: Any) -> None:
    async with raw_server(behaviour) as server:
        error = await failure_of(server.url, make())
        assert len(server.seen) == 1
    assert type(error) is NetworkError


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nCont", HALF], ids=["nothing", "half a head", "half a body"])
@both
async def test_silence_is_a_timeout(make: MakeRequest, said: bytes) -> None:
    async with raw_server(stalls(said)) as server:
        error = await failure_of(server.url, make(), read_timeout=NEVER_IN_TIME)
    assert type(error) is TimedOut
    assert error.message == "Timed out"


@both
async def test_a_slow_answer_is_none_as_long_as_something_comes(make: MakeRequest) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OK_BYTES) + OK_BYTES
    async with raw_server(drips(whole, 0.06)) as server, make(read_timeout=2) as request:  # 2.6 seconds in all
        assert (await bot_of(server.url, request).send_message(1, "hello")).text == "hello"


@both
async def test_a_connection_that_does_not_come_about_is_a_timeout(make: MakeRequest) -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # with one who waits to be accepted, the queue is full
        for one in (first, second):
            one.setblocking(False)  # noqa: FBT003 - the name of the method says it
            one.connect_ex(listener.getsockname())
        await asyncio.sleep(0.05)
        error = await failure_of(
            f"http://127.0.0.1:{listener.getsockname()[1]}", make(), connect_timeout=NEVER_IN_TIME, read_timeout=20
        )
    assert type(error) is TimedOut


@both
async def test_an_upload_that_nobody_reads_is_a_timeout(make: MakeRequest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        request = make(media_write_timeout=NEVER_IN_TIME, read_timeout=None, write_timeout=None)
        async with request:
            bot = bot_of(f"http://127.0.0.1:{listener.getsockname()[1]}", request)
            with pytest.raises(TimedOut):
                await bot.send_document(1, InputFile(bytes(30_000_000), "large.bin"))


@both
async def test_a_timeout_for_a_write_of_the_call_itself_beats_that_for_media(make: MakeRequest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        request = make(media_write_timeout=None, read_timeout=None)
        async with request:
            bot = bot_of(f"http://127.0.0.1:{listener.getsockname()[1]}", request)
            with pytest.raises(TimedOut):
                await bot.send_document(1, InputFile(bytes(30_000_000), "large.bin"), write_timeout=NEVER_IN_TIME)


@both
async def test_a_certificate_that_nobody_vouches_for_is_a_network_error(
    make: MakeRequest, certificate: Certificate
) -> None:
    async with raw_server(answers(OK), certificate.server) as server:
        error = await failure_of(server.url, make())
    assert type(error) is NetworkError
    assert "certificate verify failed" in error.message


@both
async def test_a_certificate_can_be_vouched_for_in_the_environment(
    make: MakeRequest, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    transport._certificates.cache_clear()  # noqa: SLF001 - a process reads them once
    async with raw_server(answers(OK), certificate.server) as server, make() as request:
        assert (await bot_of(server.url, request).send_message(1, "hello")).message_id == 7
    transport._certificates.cache_clear()  # noqa: SLF001


# ---------------------------------------------------------------- timeouts of a call, and those of the transport


@both
async def test_what_a_call_does_not_name_is_as_in_the_constructor(make: MakeRequest) -> None:
    async with raw_server(stalls(b"")) as server:
        request = make(read_timeout=NEVER_IN_TIME)
        assert request.read_timeout == NEVER_IN_TIME
        assert type(await failure_of(server.url, request)) is TimedOut


@pytest.mark.parametrize("named", [None, 20, 20.0])
@both
async def test_what_a_call_names_beats_the_constructor_and_none_is_for_ever(
    make: MakeRequest, named: float | None
) -> None:
    async def late(request: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await answers(OK)(request, writer)

    async with raw_server(late) as server, make(read_timeout=0.05) as request:
        assert await bot_of(server.url, request).send_message(1, "hello", read_timeout=named)


@both
async def test_a_timeout_of_0_is_over_at_once(make: MakeRequest) -> None:
    async with raw_server(stalls(b"")) as server:
        assert type(await failure_of(server.url, make(read_timeout=None), read_timeout=0)) is TimedOut


# ---------------------------------------------------------------- connections


@both
async def test_a_connection_serves_again(make: MakeRequest) -> None:
    async with raw_server(answers(OK)) as server, make() as request:
        for _ in range(5):
            await bot_of(server.url, request).send_message(1, "hello")
        assert (len(server.seen), server.connections) == (5, 1)


@both
async def test_a_connection_serves_again_after_a_refusal(make: MakeRequest) -> None:
    async with raw_server(answers(refusal(400, "no", {}), 400)) as server, make() as request:
        for _ in range(3):
            with pytest.raises(BadRequest):
                await bot_of(server.url, request).send_message(1, "hello")
        assert server.connections == 1


@both
async def test_a_connection_that_the_server_closed_meanwhile_is_not_used(make: MakeRequest) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OK_BYTES) + OK_BYTES
    async with raw_server(says(raw)) as server, make() as request:
        for _ in range(3):
            await bot_of(server.url, request).send_message(1, "hello")
            await asyncio.sleep(0.05)
        assert server.connections == 3


@both
async def test_there_are_never_more_connections_than_the_pool_holds(make: MakeRequest) -> None:
    async def slow(request: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        await answers(OK)(request, writer)

    async with raw_server(slow) as server, make(pool_size=3, pool_timeout=None) as request:
        bot = bot_of(server.url, request)
        await asyncio.gather(*(bot.send_message(1, "hello") for _ in range(20)))
        assert (len(server.seen), server.max_open) == (20, 3)


@both
async def test_a_full_pool_is_a_timeout_that_says_so(make: MakeRequest) -> None:
    async with raw_server(stalls(b"")) as server, make(pool_size=1, read_timeout=None) as request:
        bot = bot_of(server.url, request)
        held = asyncio.create_task(bot.send_message(1, "hello"))
        while not server.seen:
            await asyncio.sleep(0.005)
        with pytest.raises(TimedOut, match=r"^Pool timeout"):
            await bot.send_message(1, "hello", pool_timeout=NEVER_IN_TIME)
        assert len(server.seen) == 1
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)


@both
async def test_whatever_fails_gives_its_place_in_the_pool_back(make: MakeRequest) -> None:
    hanging = True

    async def hang(request: Seen, writer: asyncio.StreamWriter) -> None:
        await (stalls(b"") if hanging else answers(OK))(request, writer)

    async with raw_server(hang) as server, make(pool_size=1) as request:
        bot = bot_of(server.url, request)
        with pytest.raises(TimedOut):
            await bot.send_message(1, "hello", read_timeout=NEVER_IN_TIME)
        given_up = asyncio.create_task(bot.send_message(1, "hello"))
        while len(server.seen) < 2:
            await asyncio.sleep(0.005)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert given_up.cancelled()
        hanging = False
        assert await bot.send_message(1, "hello")


@both
async def test_it_must_be_open_and_can_be_opened_again(make: MakeRequest) -> None:
    async with raw_server(answers(OK)) as server:
        request = make()
        await request.initialize()
        await request.initialize()
        assert await bot_of(server.url, request).send_message(1, "hello")
        await request.shutdown()
        await request.shutdown()
        with pytest.raises(NetworkError, match="not initialized"):
            await bot_of(server.url, request).send_message(1, "hello")
        async with request:
            assert await bot_of(server.url, request).send_message(1, "hello")
