"""python-telegram-bot's requests over aiohttp: a bounded pool, the library's own errors, and no token in any of them.

It behaves as the library's HTTPXRequest does; `tests/unit/test_transport.py` holds both to the same cases. Different on
purpose: an error says what happened without the address, since that has the token in it, and has no cause that would;
and an answer that cannot be read is not logged, since it may have somebody's name in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
from collections.abc import Mapping
from functools import cache
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from telegram._utils.types import ODVInput
from telegram.error import NetworkError, TelegramError, TimedOut
from telegram.request import BaseRequest, RequestData

from domain.errors import StartupError

_FORM = "application/x-www-form-urlencoded"
_PIECE = 64 * 1024
"""Bytes of a body that must get into the socket within one write timeout."""
_SHORTEST = 0.001
"""Seconds; aiohttp takes a timeout of 0 for none, the library for one that is over at once."""
_IN_HEADERS = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""How a name is quoted in multipart/form-data (the HTML standard, "multipart form data")."""

UNREADABLE = "Invalid server response"
"""The library's words for an answer that is no JSON: whether Telegram acted is not known."""

_TOKEN = re.compile(r"/bot(\d+:[^/]+)/")

Files = Mapping[str, tuple[str, bytes | IO[bytes], str]]
"""By the part's name: the file's name, its content and its type."""


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
        """Take what holds where a call says nothing else; the defaults are the library's. Timeouts are in seconds.

        Args:
            pool_size: requests, and so connections, at most at once.
            connect_timeout: until a connection stands, TLS included.
            read_timeout: between two pieces of an answer.
            write_timeout: for each piece of a request.
            media_write_timeout: likewise, when files are uploaded.
            pool_timeout: until one of the connections is free.

        Raises:
            StartupError: the environment names a proxy of another kind.
        """
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

        It may be the better part of a message, with the name of whoever it went to.

        Args:
            payload: of an answer.

        Raises:
            TelegramError: it is no JSON.
        """
        with contextlib.suppress(ValueError, TypeError):
            return dict(json.loads(payload.decode("utf-8", "replace")))
        raise TelegramError(UNREADABLE)  # out here, the error has no context that holds the answer

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
        write_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
        connect_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
        pool_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Send a request and return the answer's status and body; called by the library.

        Args:
            url: where, with the token in it.
            method: of HTTP.
            request_data: parameters and files.
            read_timeout: in seconds; None waits for ever, and what is not given is as in the constructor.
            write_timeout: likewise.
            connect_timeout: likewise.
            pool_timeout: likewise.

        Raises:
            TimedOut: one of the timeouts passed.
            NetworkError: there is no connection, or it broke, or what came over it is not HTTP.
        """
        if self._session is None:
            msg = "the transport is not initialized"
            raise RuntimeError(msg)
        files: Files = request_data.multipart_data if request_data else {}
        usual_write = self._media_write_timeout if files else self._write_timeout
        timeout = aiohttp.ClientTimeout(
            connect=_seconds(connect_timeout, self._connect_timeout),
            sock_read=_seconds(read_timeout, self._read_timeout),
        )
        await self._wait_for_connection(_seconds(pool_timeout, self._pool_timeout))
        try:
            body = await _encode(request_data, files, _seconds(write_timeout, usual_write))
            proxy = self._proxy_for(url) if self._proxies else None
            async with self._session.request(
                method, url, data=body, timeout=timeout, proxy=proxy, allow_redirects=False
            ) as answer:
                status, payload = answer.status, await answer.read()
        except Exception as error:  # noqa: BLE001 - the library would put any other into words, and the address with it
            failure = _translate(error)
        else:
            return status, _without_token(payload, url) if method == "POST" or not answer.ok else payload
        finally:
            self._free.release()
        # Out here, the error has no context: aiohttp's own says the address, and a traceback would show it.
        raise failure

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
    """Return the environment's proxies by the scheme of what is asked for."""
    found = getproxies()
    proxies = {scheme: proxy for scheme in ("http", "https") if (proxy := found.get(scheme) or found.get("all"))}
    for scheme, proxy in proxies.items():
        kind, _, _ = proxy.rpartition("://")
        if kind not in {"", "http", "https"}:
            raise StartupError(
                f"{scheme.upper()}_PROXY or ALL_PROXY names a {kind.upper()} proxy; only HTTP ones serve"
            )
        proxies[scheme] = proxy if kind else f"http://{proxy}"
    return proxies


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


async def _encode(data: RequestData | None, files: Files, write_timeout: float | None) -> _Body | None:
    if data is None:
        return None
    if not files:
        form = data.url_encoded_parameters().encode()
        return _Body(form, _FORM, write_timeout) if form else None
    boundary = uuid4().hex
    content = await _multipart(boundary, data.json_parameters, files)
    return _Body(content, f"multipart/form-data; boundary={boundary}", write_timeout)


async def _multipart(boundary: str, fields: Mapping[str, str], files: Files) -> bytes:
    pieces: list[bytes] = []
    for name, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quote(name)}"\r\n\r\n'
        pieces += (head.encode(), value.encode(), b"\r\n")
    for name, (file_name, content, content_type) in files.items():
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quote(name)}"; filename="{_quote(file_name)}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        )
        read = content if isinstance(content, bytes) else await asyncio.to_thread(content.read)
        pieces += (head.encode(), read, b"\r\n")
    return b"".join((*pieces, f"--{boundary}--\r\n".encode()))


def _quote(name: str) -> str:
    return name.translate(_IN_HEADERS)


def _seconds(asked: ODVInput[float], usual: float | None) -> float | None:
    """Return a timeout: what the call asked for, None included, else the usual one."""
    chosen = asked if asked is None or isinstance(asked, int | float) else usual
    return None if chosen is None else max(chosen, _SHORTEST)


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


def _without_token(payload: bytes, url: str) -> bytes:
    """Cut the token out of an answer: the library puts what it cannot read into errors, and a gateway may quote it."""
    found = _TOKEN.search(url)
    return payload.replace(found[1].encode(), b"<token>") if found else payload


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()
