"""What the transport sends is what the library would send, files and proxies included; and the token stays unsaid."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from PIL import Image
from pydantic import SecretStr
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, InputFile
from telegram.error import InvalidToken, NetworkError, TelegramError, TimedOut

from bot.breaker import BotBreaker
from bot.client import TelegramGateway, make_bot
from bot.rate_limiter import RateLimiter
from domain.errors import TelegramUnavailableError
from domain.ids import BotId, LearnerId
from domain.settings import Settings
from local import servers
from simulator.server import create_app
from tests.integration.simulator.support import ALICE, UNLIMITED, served
from tests.support.factories import TOKEN, some_id
from tests.support.raw_server import (
    Behaviour,
    RawServer,
    Seen,
    answers,
    quotes,
    raw_server,
    redirects,
    refuses_and_quotes,
    resets,
    says,
    stalls,
)
from tests.support.transports import (
    HALF,
    NEVER_IN_TIME,
    OK,
    Certificate,
    MakeRequest,
    bot_of,
    both,
    library,
    make_certificate,
    no_surroundings,
    ours,
)

_surroundings = pytest.fixture(autouse=True)(no_surroundings)
certificate = pytest.fixture(scope="module")(make_certificate)

TEXT = "Größe & <b>50 %</b> + ünïcode 🎓\r\nsecond line"
KEYBOARD = InlineKeyboardMarkup([[InlineKeyboardButton("A=1&B", callback_data="a:1")]])
NAME = 'größe "neu".json'
CONTENT = bytes(range(256)) * 1000 + b"\r\n--boundary\r\n\r\n"


async def sent_by(make: MakeRequest, call: Callable[[Any], Any]) -> Seen:
    """Return the request that a call of the bot ends in."""
    async with raw_server(answers(OK)) as server, make() as request:
        await call(bot_of(server.url, request))
        (seen,) = server.seen
    return seen


def parts_of(seen: Seen) -> list[tuple[str | None, str | None, str, bytes]]:
    """Return the parts of a form with files, in order: name, file name, type and content."""
    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + seen.body)
    assert message.get_content_type() == "multipart/form-data"
    parts = []
    for part in message.iter_parts():
        said = part["Content-Disposition"]
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        kind = part.get_content_type() if "filename" in said else ""
        parts.append((said.params.get("name"), said.params.get("filename"), kind, content))
    return parts


# ---------------------------------------------------------------- requests


async def test_a_message_is_sent_byte_by_byte_as_the_library_sends_it() -> None:
    seen, other = [
        await sent_by(make, lambda bot: bot.send_message(ALICE, TEXT, parse_mode="HTML", reply_markup=KEYBOARD))
        for make in (ours, library)
    ]
    assert (seen.method, seen.target, seen.body) == (other.method, other.target, other.body)
    for name in ("content-type", "content-length", "user-agent", "accept"):
        assert seen.headers[name] == other.headers[name]
    assert dict(parse_qsl(seen.body.decode()))["text"] == TEXT


async def test_a_call_without_parameters_has_no_body() -> None:
    async with raw_server(answers({"ok": True, "result": {"id": 1, "is_bot": True, "first_name": "Q"}})) as server:
        for make in (ours, library):
            async with make() as request:
                await bot_of(server.url, request).get_me()
    assert [(seen.method, seen.body) for seen in server.seen] == [("POST", b"")] * 2


@pytest.mark.parametrize("by_handle", [False, True])
async def test_a_file_is_sent_as_the_library_sends_it(tmp_path: Path, *, by_handle: bool) -> None:
    (tmp_path / "content").write_bytes(CONTENT)

    async def send(bot: Any) -> None:
        with (tmp_path / "content").open("rb") as handle:
            file = InputFile(handle, NAME, read_file_handle=False) if by_handle else InputFile(CONTENT, NAME)
            await bot.send_document(ALICE, file, caption=TEXT, reply_markup=KEYBOARD)

    seen, other = [parts_of(await sent_by(make, send)) for make in (ours, library)]
    assert seen == other
    assert seen[-1][3] == CONTENT
    assert {name for name, *_ in seen} == {"chat_id", "caption", "reply_markup", "document"}


@both
async def test_a_document_comes_back_as_it_was_sent(make: MakeRequest) -> None:
    async with chat(make) as (bot, _):
        message = await bot.send_document(ALICE, InputFile(CONTENT, "größe.bin"), caption="50 % & more")
        assert message.document
        assert (message.document.file_name, message.caption) == ("größe.bin", "50 % & more")
        file = await bot.get_file(message.document.file_id)
        assert bytes(await file.download_as_bytearray()) == CONTENT


@both
async def test_a_picture_comes_back_as_it_was_sent(make: MakeRequest) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (40, 30)).save(picture, "PNG")
    async with chat(make) as (bot, _):
        message = await bot.send_photo(ALICE, picture.getvalue())
        assert [(size.width, size.height) for size in message.photo] == [(40, 30)]
        file = await bot.get_file(message.photo[0].file_id)
        assert bytes(await file.download_as_bytearray()) == picture.getvalue()


@both
async def test_a_file_that_is_gone_cannot_be_downloaded(make: MakeRequest) -> None:
    async with chat(make) as (bot, url):
        with pytest.raises(InvalidToken):
            await bot.request.retrieve(f"{url}/file/bot{TOKEN}/documents/gone")


@both
async def test_many_messages_at_once_all_arrive(make: MakeRequest) -> None:
    async with chat(make) as (bot, _):
        messages = await asyncio.gather(*(bot.send_message(ALICE, f"{number} 🎓") for number in range(100)))
        assert [message.text for message in messages] == [f"{number} 🎓" for number in range(100)]


@asynccontextmanager
async def chat(make: MakeRequest) -> AsyncIterator[tuple[Bot, str]]:
    """Yield a bot that a learner of a simulator has started, and the simulator's address."""
    app = create_app(UNLIMITED)
    async with served(app) as url, make() as request:
        bot = bot_of(url, request)
        me = await bot.get_me()
        app.simulator.open_chat(app.simulator.bots[me.id], app.simulator.learners[ALICE])
        yield bot, url


# ---------------------------------------------------------------- proxies


@asynccontextmanager
async def proxy(
    behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch, name: str, user: str = ""
) -> AsyncIterator[RawServer]:
    """Yield a proxy that a variable of the environment names."""
    async with raw_server(behaviour) as server:
        monkeypatch.setenv(name, f"http://{user}127.0.0.1:{server.port}")
        yield server


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@both
async def test_a_proxy_of_the_environment_is_used(
    make: MakeRequest, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxy(answers(OK), monkeypatch, name, "me:p%40ss@") as server, make() as request:
        for _ in range(2):
            assert await bot_of("http://telegram.invalid", request).send_message(1, "hello")
        for seen in server.seen:
            assert seen.target == f"http://telegram.invalid/bot{TOKEN}/sendMessage"
            assert seen.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
        assert (len(server.seen), server.connections) == (2, 1)


@both
async def test_a_proxy_passes_what_is_encrypted_on_unread(make: MakeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy(answers(b"", 407), monkeypatch, "HTTPS_PROXY") as server, make() as request:
        with pytest.raises(NetworkError) as caught:
            await bot_of("https://telegram.invalid", request).send_message(1, "hello")
        (seen,) = server.seen
    assert type(caught.value) is NetworkError
    assert (seen.method, seen.target) == ("CONNECT", "telegram.invalid:443")
    assert TOKEN not in str(seen)


@pytest.mark.parametrize("exempt", ["127.0.0.1", "*", "example.org,127.0.0.1"])
@both
async def test_an_address_can_be_exempt_from_proxies(
    make: MakeRequest, exempt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", exempt)
    async with proxy(answers(OK), monkeypatch, "HTTP_PROXY") as between, raw_server(answers(OK)) as server:
        async with make() as request:
            assert await bot_of(server.url, request).send_message(1, "hello")
        assert (len(server.seen), len(between.seen)) == (1, 0)


@both
async def test_a_proxy_that_is_away_is_a_network_error(make: MakeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{servers.free_port()}")
    async with make() as request:
        with pytest.raises(NetworkError) as caught:
            await bot_of("http://telegram.invalid", request).send_message(1, "hello")
    assert type(caught.value) is NetworkError


# ---------------------------------------------------------------- the token

SECRET = TOKEN.partition(":")[2]


async def cut_upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset a connection in the middle of a request."""
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


@contextlib.contextmanager
def debugging(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let everybody log everything, asyncio included."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    with caplog.at_level(logging.DEBUG):
        yield
    loop.set_debug(False)


FAILURES: dict[str, Behaviour] = {
    "reset": resets,
    "closed": says(b""),
    "half": says(HALF),
    "silent": stalls(b""),
    "another protocol": says(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "broken packing": answers(b"none", Content_Encoding="gzip"),
    "redirect": redirects,
    "refused": answers({"description": "Bad Request: chat not found"}, 400),
    "no JSON": answers(b"<html>"),
    "quoted": quotes,
    "quoted in a refusal": refuses_and_quotes,
}


def told_by(error: BaseException) -> str:
    """Return all that an error can be made to say: its traceback, its causes and contexts, their attributes."""
    texts, following = ["".join(traceback.format_exception(error))], [error]
    while following:
        one = following.pop()
        texts.append(f"{one!r} {one} {vars(one)}")
        following += [other for other in (one.__cause__, one.__context__) if other]
    return "\n".join(texts)


def service_bot(url: str) -> Bot:
    """Return the bot as the service makes it."""
    settings = Settings(_env_file=None, telegram_bot_token=SecretStr(TOKEN))
    return make_bot(settings.model_copy(update={"telegram_api_base_url": url}), SecretStr(TOKEN))


async def failure_at(url: str) -> TelegramError:
    """Return the error that sending a message ends in."""
    bot = service_bot(url)
    async with bot.request:
        with pytest.raises(TelegramError) as caught:
            await bot.send_message(1, "hello", read_timeout=NEVER_IN_TIME)
    return caught.value


@pytest.mark.parametrize("behaviour", FAILURES.values(), ids=FAILURES)
async def test_no_failure_tells_the_token(
    behaviour: Behaviour, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with debugging(caplog):
        async with raw_server(behaviour) as server:
            error = await failure_at(server.url)
    assert caplog.records
    assert SECRET not in caplog.text + told_by(error) + str(capfd.readouterr())


@pytest.mark.parametrize("status", [200, 502])
async def test_an_answer_that_cannot_be_read_is_repeated_nowhere_but_in_a_refusal(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    cut = b'{"ok": true, "result": {"message_id": 1, "chat": {"first_name": "Zq7xName'
    with debugging(caplog):
        async with raw_server(answers(cut, status)) as server:
            error = await failure_at(server.url)
    assert "Zq7x" not in caplog.text
    if status == 200:
        assert "Zq7x" not in told_by(error)


@pytest.mark.parametrize("part", ["entities", "reply_markup", "from"])
async def test_a_part_of_a_message_that_nobody_reads_is_not_read(part: str) -> None:
    result = {"message_id": 7, "date": 0, "chat": {"id": 1, "type": "private"}, part: "a new form"}
    async with raw_server(answers({"ok": True, "result": result})) as server:
        bot = service_bot(server.url)
        async with bot.request:
            assert (await bot.send_message(1, "hello")).message_id == 7


async def test_whether_telegram_acted_is_not_known_if_its_answer_cannot_be_read() -> None:
    async with raw_server(answers(b'{"ok": true, "res')) as server:
        bot = service_bot(server.url)
        async with bot.request:
            gateway = TelegramGateway(bot, RateLimiter(None, some_id(), 1000), BotBreaker(BotId(some_id())))
            with pytest.raises(TelegramUnavailableError):
                await gateway.send(LearnerId(1), "hello")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://nowhere.invalid", "http://", "ftp://127.0.0.1", "http://[::", "http://a b"]
)
async def test_no_address_that_does_not_work_tells_the_token(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with debugging(caplog):
        error = await failure_at(url)
    assert isinstance(error, NetworkError)
    assert SECRET not in caplog.text + told_by(error)


async def test_no_failure_of_tls_or_of_an_upload_tells_the_token(
    certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    with debugging(caplog), socket.create_server(("127.0.0.1", 0)) as listener:
        async with raw_server(answers(OK), certificate.server) as server:
            errors = [await failure_at(server.url)]
        bot = service_bot(f"http://127.0.0.1:{listener.getsockname()[1]}")
        async with bot.request:
            with pytest.raises(TimedOut) as caught:
                await bot.send_document(1, InputFile(bytes(30_000_000), "large"), write_timeout=NEVER_IN_TIME)
        async with await asyncio.start_server(cut_upload, "127.0.0.1", 0) as cutting:
            bot = service_bot(f"http://127.0.0.1:{cutting.sockets[0].getsockname()[1]}")
            await bot.request.initialize()
            with pytest.raises(NetworkError) as other:
                await bot.send_document(1, InputFile(bytes(30_000_000), "large"))
            await bot.request.shutdown()
        errors += [caught.value, other.value]
    assert SECRET not in caplog.text + "".join(map(told_by, errors))


async def test_nothing_that_goes_well_tells_the_token(caplog: pytest.LogCaptureFixture) -> None:
    with debugging(caplog):
        async with chat(ours) as (_, url), (bot := service_bot(url)).request:
            message = await bot.send_document(ALICE, InputFile(CONTENT, "content"))
            assert message.document
            await (await bot.get_file(message.document.file_id)).download_as_bytearray()
    assert caplog.records
    assert SECRET not in caplog.text
