"""python-telegram-bot's requests over aiohttp: a bounded pool, the library's own errors, and no token in any of them.

It behaves as the library's HTTPXRequest does; `tests/unit/test_transport.py` holds both to the same cases. Different on
purpose: an error says what happened without the address, since that has the token in it, and has no cause that would;
an answer that cannot be read is not logged, since it may have somebody's name in it; and a refusal that is not
Telegram's own is a network error, whatever its status, so that Forbidden and its like are always Telegram's words.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import ssl
from functools import cache
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from telegram.error import BadRequest, NetworkError, TelegramError, TimedOut
from telegram.request import BaseRequest, RequestData

from bot.answers import is_refusal

_FORM = "application/x-www-form-urlencoded"
_PIECE = 64 * 1024
"""Bytes of a body that must get into the socket within one write timeout."""
MAX_ANSWER_BYTES = 20_000_000
"""Of an answer; a hundred updates of the largest kind take less than a tenth of it."""
MAX_WORDS = 4096
SLACK_SECONDS = 90.0
"""For a request beside its last wait for an answer: to connect and to send a picture."""
_MIN_TIMEOUT = 0.001
"""Seconds; aiohttp takes a timeout of 0 for none, the library for one that is over at once."""

MAX_WAIT = 3600
"""Seconds of a 429 that are believed: a mistaken number would else stop a chat or a method for years, while a right one
that is longer costs one refused request an hour."""

UNREADABLE = "Invalid server response"
"""The library's words for an answer that is no JSON: whether Telegram acted is not known."""

_UNREAD_PARTS = ("entities", "caption_entities", "reply_markup", "link_preview_options", "from")
"""Of the message that a call returns: the library would make objects of them, at a tenth of what sending one costs."""

_READ_BY_LIBRARY = frozenset({400, 401, 403, 404, 409, 429})
"""Statuses for which the library has errors of their own; of others below 500 it says that the network failed."""

_TOKEN = re.compile(r"/bot(\d+:[^/]+)/")


class AiohttpRequest(BaseRequest):
    """Carries the library's requests over aiohttp; give one to `telegram.Bot`.

    Proxies are those of the environment when this is made: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and
    ``NO_PROXY``; SOCKS is not among them. Certificates are checked as httpx does: against certifi's, or those that
    ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names.
    """

    def __init__(
        self,
        *,
        pool_size: int = 256,
        connect_timeout: float | None = 5,
        read_timeout: float | None = 5,
        write_timeout: float | None = 5,
        media_write_timeout: float | None = 20,
        pool_timeout: float | None = 1,
    ) -> None:
        """Bound requests, and so connections, by `pool_size`; timeouts are in seconds, by default the library's."""
        self._free = asyncio.Semaphore(pool_size)
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout
        self._media_write_timeout = media_write_timeout
        self._pool_timeout = pool_timeout
        self._proxies = _proxies()
        self._session: aiohttp.ClientSession | None = None

    @property
    def read_timeout(self) -> float | None:
        """Return the read timeout of a call that names none, in seconds."""
        return self._read_timeout

    async def initialize(self) -> None:
        """Make ready to send; doing so again changes nothing."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=_certificates()),  # the pool above is the limit
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self.USER_AGENT},
            )

    async def shutdown(self) -> None:
        """Close all connections; it can be initialised again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Return an answer's content; unlike the library's own, keep what cannot be read out of the log.

        It may be most of a message, with the name of the learner who got it.

        Raises:
            TelegramError: it is no JSON.
        """
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            content = _Content(json.loads(payload.decode("utf-8", "replace")))
            if isinstance(words := content.get("description"), str):
                content["description"] = _storable(words)
            if content.get("ok") is not True:
                content.pop("result", None)
            elif isinstance(result := content.get("result"), dict) and "message_id" in result:
                for part in _UNREAD_PARTS:
                    result.pop(part, None)
            parameters = content.get("parameters")
            if isinstance(parameters, dict) and "retry_after" in parameters:
                parameters["retry_after"] = _sane(parameters["retry_after"])
            return content
        raise TelegramError(UNREADABLE)  # out here, the error has no context that holds the answer

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: object = BaseRequest.DEFAULT_NONE,
        write_timeout: object = BaseRequest.DEFAULT_NONE,
        connect_timeout: object = BaseRequest.DEFAULT_NONE,
        pool_timeout: object = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Send a request and return the answer's status and body; called by the library.

        Args:
            read_timeout: in seconds; None waits for ever, and what is not given is as in the constructor.

        Raises:
            TimedOut: one of the timeouts passed.
            NetworkError: there is no connection, or it broke, or what came over it is not HTTP.
        """
        if self._session is None:
            msg = "the transport is not initialized"
            raise RuntimeError(msg)
        uploads = request_data is not None and request_data.contains_files
        usual_write = self._media_write_timeout if uploads else self._write_timeout
        timeout = aiohttp.ClientTimeout(
            total=_in_all(read := _seconds(read_timeout, self._read_timeout)),
            connect=_seconds(connect_timeout, self._connect_timeout),
            sock_read=read,
        )
        await self._wait_for_connection(_seconds(pool_timeout, self._pool_timeout))
        try:
            body = await _encode(request_data, _seconds(write_timeout, usual_write))
            status, payload = await self._exchange(self._session, method, url, body, timeout)
        except Exception as error:  # noqa: BLE001 - the library would put any other into words, and the address with it
            failure = _translate(error)
        else:
            return status, _checked(method, url, status, payload)
        finally:
            self._free.release()
        # Out here, the error has no context: aiohttp's own says the address, and a traceback would show it.
        raise failure

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, url: str, body: _Body | None, limits: aiohttp.ClientTimeout
    ) -> tuple[int, bytes]:
        proxy = self._proxy_for(url) if self._proxies else None
        async with session.request(
            method, url, data=body, timeout=limits, proxy=proxy, allow_redirects=False
        ) as answer:
            payload = bytearray()
            async for piece in answer.content.iter_chunked(_PIECE):
                payload += piece
                if len(payload) > MAX_ANSWER_BYTES:
                    raise aiohttp.ClientPayloadError
            return answer.status, bytes(payload)

    async def _wait_for_connection(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            raise TimedOut("Pool timeout: every connection is in use, and the request was not sent.") from None

    def _proxy_for(self, url: str) -> str | None:
        parts = urlsplit(url)
        return None if proxy_bypass(parts.netloc) else self._proxies.get(parts.scheme)


def _proxies() -> dict[str, str]:
    """Return the environment's proxies by the scheme of what is asked for; `settle_proxies` left only those of HTTP."""
    found = getproxies()
    proxies = {scheme: found.get(scheme) or found.get("all", "") for scheme in ("http", "https")}
    return {scheme: proxy if "://" in proxy else f"http://{proxy}" for scheme, proxy in proxies.items() if proxy}


class _Body(aiohttp.Payload):
    """A request's body, each piece of which must get into the socket in time: aiohttp has no write timeout."""

    _autoclose = True

    def __init__(self, content: bytes, content_type: str, seconds: float | None) -> None:
        super().__init__(content, content_type=content_type)
        self._content = memoryview(content)
        self._size = len(content)
        self._seconds = seconds

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return str(self._content, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for start in range(0, len(self._content), _PIECE):
            async with asyncio.timeout(self._seconds):
                await writer.write(self._content[start : start + _PIECE])


async def _encode(data: RequestData | None, write_timeout: float | None) -> _Body | None:
    if data is None:
        return None
    if not data.contains_files:
        form = data.url_encoded_parameters().encode()
        return _Body(form, _FORM, write_timeout) if form else None
    request = httpx.Request("POST", "/", data=data.json_parameters, files=data.multipart_data)
    content = await asyncio.to_thread(request.read)  # from a file's handle, perhaps
    return _Body(content, request.headers["Content-Type"], write_timeout)


def _seconds(asked: object, usual: float | None) -> float | None:
    """Return a timeout: what the call asked for, None included, else the usual one."""
    chosen = asked if asked is None or isinstance(asked, int | float) else usual
    return None if chosen is None else max(chosen, _MIN_TIMEOUT)


def _sane(retry_after: object) -> int:
    """Return how many seconds to wait, which the library would fail to read or take for ever if they are absurd."""
    try:
        seconds = float(retry_after)  # type: ignore[arg-type]  # of JSON
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    return 1 if math.isnan(seconds) else math.ceil(min(max(seconds, 1), MAX_WAIT))


def _translate(error: Exception) -> TelegramError:
    """Put an error into the library's type, and into words that cannot have the address in them."""
    if isinstance(error, TimeoutError):
        return TimedOut()
    reason = ""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = str(error.certificate_error)
    elif isinstance(error, aiohttp.ClientConnectorError):
        reason = f"{error.host}:{error.port}: {error.strerror}"
    elif isinstance(error, OSError) and error.errno:
        reason = os.strerror(error.errno)
    name = type(error).__name__
    return NetworkError(f"aiohttp.{name}: {reason}" if reason else f"aiohttp.{name}")


def _checked(method: str, url: str, status: int, payload: bytes) -> bytes:
    """Return an answer's body without the token; raise what the library would not make of a refusal."""
    if method == "POST" or status >= HTTPStatus.BAD_REQUEST:
        payload = _without_token(payload, url)
    if method == "POST" and not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        _check_refusal(status, payload)
    return payload


def _check_refusal(status: int, payload: bytes) -> None:
    """Return if the library knows how to read a refusal, which only looks at its status."""
    if not is_refusal(status, payload):
        phrase = responses.get(status, "Unknown status")
        raise NetworkError(f"{phrase} ({status}), which is not an answer of Telegram")
    if status not in _READ_BY_LIBRARY and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        # the Bot API server, too, makes 400 of what it does not know
        raise BadRequest(_storable(json.loads(payload)["description"]))


def _storable(words: str) -> str:
    """Cut what no database holds, and what nobody reads, out of the words of a refusal."""
    return words[:MAX_WORDS].replace("\0", "").encode("utf-8", "replace").decode()


def _in_all(read_timeout: float | None) -> float | None:
    """Return the seconds that a request may take as a whole: one that trickles in keeps to the limit between pieces."""
    return None if read_timeout is None else read_timeout + SLACK_SECONDS


class _Content(dict[str, Any]):
    """An answer, of which only one in Telegram's form has a result."""

    def __missing__(self, name: str) -> Any:  # noqa: ANN401 - of JSON
        raise TelegramError(UNREADABLE)


def _without_token(payload: bytes, url: str) -> bytes:
    """Cut the token out of an answer: the library puts what it cannot read into errors, and a gateway may quote it."""
    found = _TOKEN.search(url)
    return payload.replace(found[1].encode(), b"<token>") if found else payload


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()
