"""Where Redis is: one server, a cluster, or whichever server sentinels name; read from an address of one line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from domain.addresses import split_login

REDIS_PORT = 6379
SENTINEL_PORT = 26379


class RedisKind(StrEnum):
    """How the servers of an address belong together."""

    ONE = "one"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


SCHEMES = {
    "redis": RedisKind.ONE,
    "rediss": RedisKind.ONE,
    "unix": RedisKind.ONE,
    "redis+cluster": RedisKind.CLUSTER,
    "rediss+cluster": RedisKind.CLUSTER,
    "redis+sentinel": RedisKind.SENTINEL,
    "rediss+sentinel": RedisKind.SENTINEL,
}
"""The second s stands for TLS."""

_FORM = re.compile(r"(?P<scheme>[a-z+]+)://(?P<rest>.*)", re.DOTALL)
_PLACE = re.compile(r"(?P<servers>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A Redis, and how to enter it."""

    kind: RedisKind
    url: str
    """In the form of one server, the first of them; login, database and options hold for all."""
    servers: tuple[tuple[str, int], ...]
    """Host and port of each that is named: of the server, of nodes of the cluster, or of sentinels."""
    service: str = ""
    """The name under which sentinels know the server that leads."""
    sentinel_login: tuple[str | None, str | None] = (None, None)
    """User and password for the sentinels themselves."""


def read_redis_address(url: str) -> RedisAddress:
    """Return what an address says.

    The forms are `redis://[user:password@]host[:port][/database][?options]`,
    `redis+cluster://[user:password@]host[:port][,host[:port]...][?options]` and
    `redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/database][?options]`, each with `rediss` for
    TLS, and `unix://`. Options are those of the library, and `sentinel_username` and `sentinel_password`.

    Raises:
        ValueError: it is invalid; the message says why and shows nothing of it.
    """
    form = _FORM.fullmatch(url)
    if not form or form["scheme"] not in SCHEMES:
        raise ValueError(f"a Redis address must begin with {', '.join(f'{name}://' for name in SCHEMES)}")
    kind, scheme = SCHEMES[form["scheme"]], form["scheme"].split("+")[0]
    login, rest = split_login(form["rest"], whose=" of Redis")
    place = _PLACE.fullmatch(rest)
    assert place  # noqa: S101 - it takes any text
    if kind is RedisKind.ONE:
        return RedisAddress(kind, url, () if scheme == "unix" else (_server(place["servers"], REDIS_PORT),))
    port = SENTINEL_PORT if kind is RedisKind.SENTINEL else REDIS_PORT
    servers = tuple(_server(server, port) for server in place["servers"].split(","))
    names = [unquote(part) for part in (place["path"] or "").split("/") if part]
    service = _take_service(names) if kind is RedisKind.SENTINEL else ""
    database = _take_database(names, kind)
    options = dict(parse_qsl(place["query"] or "", keep_blank_values=True))
    watch = (options.pop("sentinel_username", None), options.pop("sentinel_password", None))
    entry = f"{login}@" if login else ""
    host, first_port = servers[0]
    shown = f"[{host}]" if ":" in host else host
    query = f"?{urlencode(options)}" if options else ""
    return RedisAddress(kind, f"{scheme}://{entry}{shown}:{first_port}/{database}{query}", servers, service, watch)


def _server(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text.strip()}")
        named, given = parts.hostname, parts.port
    except ValueError:
        named, given = None, None
    if not named or parts.netloc.endswith(":"):
        raise ValueError("a Redis host or port is missing or invalid")
    return named, given or port


def _take_service(names: list[str]) -> str:
    if not names:
        raise ValueError(
            "the name of the service that the sentinels watch is missing, as in redis+sentinel://host/name"
        )
    return names.pop(0)


def _take_database(names: list[str], kind: RedisKind) -> int:
    text = names.pop(0) if names else "0"
    if names or not text.isdecimal():
        raise ValueError("the database of Redis must be a number at the end of its address")
    if kind is RedisKind.CLUSTER and int(text):
        raise ValueError("a Redis cluster has only database 0")
    return int(text)
