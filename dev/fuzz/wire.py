"""Nonsense on real sockets: requests that break HTTP itself, sent byte by byte to a server that listens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dev.fuzz import updates
from dev.fuzz.inputs import NO_ANSWER, REFUSED, SECRET, TAKEN, TOO_LARGE, WRONG_SECRET, Input
from dev.fuzz.kinds import make_input
from dev.fuzz.mutate import encode
from dev.fuzz.updates import Crowd, Person

LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS = 1.5
"""After so long without an answer the sender hangs up: some of these can have none."""

AT_ONCE = 60
HALF = 0.5
FIRST_NUMBER = 50_000_000
"""Of the updates in these requests, far above those of other inputs."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r\n")


@dataclass(frozen=True, slots=True)
class Talk:
    """What is sent over one connection."""

    kind: str
    pieces: tuple[bytes, ...]
    pause: float = 0.0
    """Seconds between pieces."""
    ending: str = "wait"
    """``wait`` for an answer, ``half`` close first, or ``reset`` the connection."""
    statuses: frozenset[int] | None = None
    """Answers that are right; None for any that does not blame the server."""
    body: bytes = b""
    """What the server may take for the request's body."""
    must_end: bool = False
    """Whether the server has to hang up, since it would wait for ever otherwise."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Makes talks."""

    path: str
    secret_header: str
    rng: random.Random
    number: int

    def body(self) -> bytes:
        """Return a sound update of somebody new."""
        person = Person(updates.FIRST_STRANGER + FIRST_NUMBER + self.number)
        content = updates.message(person, f"/help {updates.MARK}", 1)
        return encode({"update_id": FIRST_NUMBER + self.number, "message": content})

    def any_input(self) -> Input:
        """Return an input of any kind, whose update has an id and a sender of its own."""
        return make_input(self.rng.randrange(2**32), FIRST_NUMBER + self.number, Crowd())

    def head(self, *lines: bytes, secret: bytes = SECRET, first: bytes = b"") -> bytes:
        """Return a request's head."""
        first = first or f"POST {self.path} HTTP/1.1".encode()
        shown = self.secret_header.encode() + b": " + secret
        return b"\r\n".join([first, b"Host: x", shown, *lines, b"", b""])

    def request(self, *lines: bytes, secret: bytes = SECRET) -> bytes:
        """Return a sound request."""
        body = self.body()
        return self.head(b"Content-Length: %d" % len(body), *lines, secret=secret) + body


def _lengths(one: Speaker) -> Talk:
    body = one.body()
    lengths = [
        *(b"-1", b"+5", b"0x10", b"1e3", b"9" * 18, b"9" * 19, b"9" * 30, b"9" * 5000, b"\xb2", b"1 2", b"", b"NaN"),
        *(b"%d" % (len(body) - 7), b"%d" % (len(body) + 7), b"1000001", b"99999999", b"0", b"12,12"),
        b"%d\r\nContent-Length: 3" % len(body),
    ]
    request = one.head(b"Content-Length: " + one.rng.choice(lengths)) + body
    return Talk("wrong lengths", (request,), ending=one.rng.choice(["wait", "half"]), body=body)


def _chunks(one: Speaker) -> Talk:
    body = one.body()
    whole = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    chunks = [
        *(whole, whole[:-2], b"zz\r\n" + body, b"f" * 17 + b"\r\n" + body, b"-5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel"),
        b"%x;name=value\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(body), body),
        b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n",
        *(b"0\r\n\r\n", b"5\nhello\n0\n\n", b"\r\n\r\n", b"1;" + b"x" * 70_000 + b"\r\na\r\n0\r\n\r\n"),
    ]
    heads = [
        *([b"Transfer-Encoding: chunked"], [b"Transfer-Encoding: gzip, chunked"], [b"Transfer-Encoding: identity"]),
        *([b"Transfer-Encoding : chunked"], [b"Transfer-Encoding: xchunked"]),
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
    ]
    pieces = one.head(*one.rng.choice(heads)), one.rng.choice(chunks)
    return Talk("chunked bodies", pieces, ending=one.rng.choice(["wait", "half"]), body=body)


def _too_much(one: Speaker) -> Talk:
    if one.rng.random() < HALF:
        pieces = [one.head(b"Transfer-Encoding: chunked"), *[b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * 20]
    else:
        pieces = [one.head(b"Content-Length: 5000000"), *[b"[" * 100_000] * 15]
    return Talk("too much", tuple(pieces), statuses=frozenset({TOO_LARGE, NO_ANSWER}))


def _first_lines(one: Speaker) -> Talk:
    body, path = one.body(), one.path.encode()
    lines = [
        *(b"GET %s HTTP/1.1", b"PUT %s HTTP/1.1", b"POST %s", b"POST %s HTTP/9.9", b"POST  %s HTTP/1.1"),
        *(b"post %s HTTP/1.1", b"POST http://x%s HTTP/1.1", b"POST %s/../../x HTTP/1.1", b"POST //%s HTTP/1.1"),
        *(b"POST %s?" + b"q" * 9000 + b" HTTP/1.1", b"POST %s/ HTTP/1.1", b"POST %s\x00 HTTP/1.1", b"HEAD %s HTTP/1.1"),
    ]
    others = [
        *(b"PRI * HTTP/2.0", b"OPTIONS * HTTP/1.1", b"\x16\x03\x01", b"CONNECT x:1 HTTP/1.1", b"TRACE / HTTP/1.1"),
        *(b"POST /%00%ff%zz HTTP/1.1", b"POST /\xff\xfe HTTP/1.1", b"GET / HTTP/1.1", one.rng.randbytes(60)),
        *(b"GET /metrics HTTP/1.1", b"GET /nowhere?x HTTP/1.1", b"POST /health HTTP/1.1", b"DELETE / HTTP/1.1"),
    ]
    first = one.rng.choice([*(line.replace(b"%s", path) for line in lines), *others])
    return Talk("first lines", (one.head(b"Content-Length: %d" % len(body), first=first) + body,), body=body)


def _headers(one: Speaker) -> Talk:
    lines = [
        *(b"X: " + b"y" * 9000, b"X" * 9000 + b": y", b"no colon", b": empty", b"X: a\r\n folded", b"X: a\x00b"),
        *(b"X: \xff\xfe", b"X\x00: y", b"X : y", b"Expect: 100-continue", b"Expect: nonsense", b"X: \x1b[2J"),
        *(b"Content-Encoding: gzip", b"Connection: close", b"Host: y", b"X-Forwarded-For: 1.2.3.4, ::1"),
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13",
        *(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", b"Content-Type: multipart/form-data"),
        *(b"Accept-Encoding: *;q=0", b"Cookie: a=\x7f", b"\r\n".join(b"X%d: y" % number for number in range(300))),
    ]
    return Talk("odd headers", (one.request(one.rng.choice(lines)),), body=one.body())


def _endless(one: Speaker) -> Talk:
    line = one.rng.choice([b"X: " + b"y" * 1000 + b"\r\n", b"y" * 1000])
    first = one.rng.choice([one.head()[:-2], b"POST /", b"POST / HTTP/1.1\r\nX"])
    return Talk("endless heads", (first, *[line * 60] * 20), statuses=frozenset({REFUSED, NO_ANSWER}), must_end=True)


def _pipelined(one: Speaker) -> Talk:
    three = one.request(), one.request(secret=b"wrong"), b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    return Talk("pipelined", (b"".join(three) * 5,), body=one.body(), statuses=frozenset({TAKEN, WRONG_SECRET}))


def _slow(one: Speaker) -> Talk:
    request = one.request()
    cuts = [0, *sorted(one.rng.sample(range(1, len(request)), k=6)), len(request)]
    pieces = tuple(request[start:end] for start, end in itertools.pairwise(cuts))
    return Talk("in pieces", pieces, pause=0.02, statuses=frozenset({TAKEN}), body=one.body())


def _hung_up(one: Speaker) -> Talk:
    request = one.request()
    cut = one.rng.randrange(1, len(request))
    return Talk("hung up", (request[:cut],), ending=one.rng.choice(["half", "reset"]))


def _wrong_secrets(one: Speaker) -> Talk:
    secrets = [b"", b"wrong", SECRET[:-1], SECRET + b"x", b"\xff\xfe", b"x" * 30_000, SECRET.lower()]
    body = one.any_input().body
    request = one.head(b"Content-Length: %d" % len(body), secret=one.rng.choice(secrets)) + body
    return Talk("wrong secrets", (request,), statuses=frozenset({WRONG_SECRET}))


def _bodies(one: Speaker) -> Talk:
    given = one.any_input()
    while given.secret != SECRET or given.headers or given.is_cut or given.below:
        given = one.any_input()
    request = one.head(b"Content-Length: %d" % len(given.body)) + given.body
    return Talk("bodies as above", (request,), statuses=given.statuses, body=given.body)


def _noise(one: Speaker) -> Talk:
    noise = one.rng.randbytes(one.rng.randrange(1, 3000))
    return Talk("noise", (noise,), ending=one.rng.choice(["wait", "half", "reset"]))


def _changed(one: Speaker) -> Talk:
    data = bytearray(one.request())
    for _ in range(one.rng.choice([1, 2, 5])):
        data[one.rng.randrange(len(data))] = one.rng.randrange(256)
    return Talk("bytes changed", (bytes(data),), ending="half", body=bytes(data).partition(b"\r\n\r\n")[2])


TALKS: tuple[tuple[int, Callable[[Speaker], Talk]], ...] = (
    *((12, _lengths), (12, _chunks), (2, _too_much), (12, _first_lines), (12, _headers), (1, _endless)),
    *((4, _pipelined), (4, _slow), (8, _hung_up), (12, _wrong_secrets), (14, _bodies), (6, _noise), (10, _changed)),
)


def make_talk(seed: int, number: int, path: str, secret_header: str) -> Talk:
    """Return what is sent over one connection."""
    rng = random.Random(f"{seed}/wire/{number}")
    (make,) = rng.choices([make for _, make in TALKS], [weight for weight, _ in TALKS])
    return make(Speaker(path, secret_header, rng, number))


# ---------------------------------------------------------------- talking


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back."""

    statuses: list[int]
    """In order; `NO_ANSWER` alone if there were none."""
    hung_up: bool
    """Whether the server ended the connection."""


async def talk(port: int, said: Talk) -> Heard:
    """Say it on a connection of its own and listen."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    heard = bytearray()
    listening = asyncio.create_task(_listen(reader, heard))
    with contextlib.suppress(OSError):
        await _say(writer, said)
    if said.ending != "reset":
        await _until_quiet(listening, heard)
    hung_up = listening.done()
    listening.cancel()
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
    return Heard([int(status) for status in _STATUS.findall(bytes(heard))] or [NO_ANSWER], hung_up)


async def _say(writer: asyncio.StreamWriter, said: Talk) -> None:
    for piece in said.pieces:
        writer.write(piece)
        await writer.drain()
        if said.pause:
            await asyncio.sleep(said.pause)
    if said.ending == "half":
        writer.write_eof()
    if said.ending == "reset":
        sock: Any = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _listen(reader: asyncio.StreamReader, heard: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            heard += data


async def _until_quiet(listening: asyncio.Task[None], heard: bytearray) -> None:
    """Return when the server has hung up, or has said nothing more for a while."""
    waited, before = 0.0, -1
    while not listening.done() and waited < PATIENCE_SECONDS and not (heard and len(heard) == before):
        before = len(heard)
        await asyncio.sleep(0.05)
        waited += 0.05
