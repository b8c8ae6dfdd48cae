"""Mutations: of an update's structure, place by place, and of its bytes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Place = tuple[Any, Any]
"""A dictionary or list, and the key or index of something in it."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Something that is written as it stands, whether or not it is JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class Twice:
    """A value whose key is written twice: with another value first, then with this one."""

    before: Any
    value: Any


WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 0.5, 1.0, 1e308),
    *(Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e999"), Raw("-0"), Raw("01"), Raw("0x10"), Raw("1_000")),
    *(Raw("7" * 4000), Raw("7" * 9000), Raw("-" + "7" * 5000), Raw("1." + "3" * 5000), Raw("1e-5000"), Raw("+1"), ""),
    *("0", "1", "true", "null", "private", "group", "kicked", "/start", "a:1:0", "\x00", "\x00\x00/start", " " * 300),
    *(Raw('"\\ud800"'), Raw('"\\udfff\\ud800"'), Raw('"\\x41"'), Raw('"\x01"'), Raw('"'), Raw("'a'"), Raw("")),
    *("💣" * 40, "\u202e\u2066\ufeff", "é" * 300, "x" * 5000, "'; DROP TABLE updates; --", "<script>alert(1)</script>"),
    *([], {}, [[]], [{}], [1], {"id": 1}, {"id": {"id": {"id": 1}}}, [None] * 50, Raw("[" * 300 + "]" * 300), {"": ""}),
    *({"\x00": 1}, {"__proto__": {"id": 1}}, {"$ref": "#"}, Raw("{,}"), Raw("[1,]"), Raw("undefined")),
)
"""Values that hardly any place expects."""


def places(value: Any) -> Iterator[Place]:  # noqa: ANN401 - any JSON
    """Yield every place in a structure, the outer ones first."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
    for key in keys:
        yield from places(value[key])


def write(value: Any) -> str:  # noqa: ANN401 - JSON and what is none
    """Return a structure as text, with what is not JSON as it stands.

    Args:
        value: made of JSON, `Raw` and `Twice`.
    """
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Twice):  # moved to where it has no key of its own
        return write(value.value)
    if isinstance(value, dict):
        return "{" + ",".join(_member(key, inner) for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _member(key: str, value: Any) -> str:  # noqa: ANN401
    name = json.dumps(key, ensure_ascii=False)
    if isinstance(value, Twice):
        return f"{name}:{write(value.before)},{name}:{write(value.value)}"
    return f"{name}:{write(value)}"


def encode(value: Any) -> bytes:  # noqa: ANN401
    """Return what `write` takes as bytes."""
    return write(value).encode("utf-8", "surrogatepass")


# ---------------------------------------------------------------- structure


def mutate(update: dict[str, Any], rng: random.Random, times: int) -> dict[str, Any]:
    """Return an update with some of its places changed."""
    changed = copy.deepcopy(update)
    for _ in range(times):
        found = list(places(changed))
        if not found:
            break
        rng.choice(STRUCTURAL)(*rng.choice(found), rng, found)
    return changed


def wrong(rng: random.Random) -> Any:  # noqa: ANN401
    """Return a value that hardly any place expects."""
    return copy.deepcopy(rng.choice(WRONG))  # the next change may be made inside it


def _replace(inside: Any, key: Any, rng: random.Random, _: list[Place]) -> None:  # noqa: ANN401
    inside[key] = wrong(rng)


def _remove(inside: Any, key: Any, _rng: random.Random, _: list[Place]) -> None:  # noqa: ANN401
    del inside[key]


def _double(inside: Any, key: Any, rng: random.Random, _: list[Place]) -> None:  # noqa: ANN401
    if isinstance(inside, dict):
        inside[key] = Twice(wrong(rng), inside[key])


def _rename(inside: Any, key: Any, rng: random.Random, _: list[Place]) -> None:  # noqa: ANN401
    if isinstance(inside, dict):
        value = inside.pop(key)
        inside[rng.choice([key.upper(), f"{key} ", f" {key}", key[::-1], f"{key}\x00", "from", "id", "chat"])] = value


def _wrap(inside: Any, key: Any, rng: random.Random, _: list[Place]) -> None:  # noqa: ANN401
    value = inside[key]
    inside[key] = rng.choice(
        [[value], {"value": value}, [[[value]]], {key: value} if isinstance(key, str) else [value]]
    )


def _swap(inside: Any, key: Any, rng: random.Random, found: list[Place]) -> None:  # noqa: ANN401
    """Copy something from elsewhere, so that a user stands where a chat should, or a number where a text."""
    other, name = rng.choice(found)
    try:
        inside[key] = copy.deepcopy(other[name])
    except (KeyError, IndexError):  # an earlier change took it away
        inside[key] = None


def _add(inside: Any, key: Any, rng: random.Random, _: list[Place]) -> None:  # noqa: ANN401
    if isinstance(inside, dict):
        name = rng.choice(["is_bot", "sender_chat", "via_bot", "forward_origin", "data", "text", "x" * 200])
        inside[name] = wrong(rng)
    else:
        inside.insert(key, wrong(rng))


STRUCTURAL: tuple[Callable[[Any, Any, random.Random, list[Place]], None], ...] = (
    *(_replace, _replace, _replace, _remove, _double, _rename, _wrap, _swap, _add),
)


# ---------------------------------------------------------------- bytes


def mangle(body: bytes, rng: random.Random, times: int) -> bytes:
    """Return a body with some of its bytes changed."""
    data = bytearray(body)
    for _ in range(times):
        at, length = rng.randrange(len(data) + 1), min(rng.randrange(1, 30), 1 + len(data) // 2)
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at:at] = rng.choice(STUMBLING)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                del data[at:]
            case _:
                data[at : at + 1] = bytes([data[at] ^ (1 << rng.randrange(8))]) if at < len(data) else b"\x00"
    return bytes(data)


STUMBLING = (
    *(b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(b"\x1b[31m", b'"', b"\\", b"\\u", b"\\ud83d", b"{", b"}", b"[", b"]", b",", b":", b"/*", b"//", b"\r\n", b"1e"),
    *(b"-", b"\x7f"),
)
"""Bytes at which parsers stumble."""
