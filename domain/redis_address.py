"""Where Redis is: one server, a cluster, or whichever server sentinels name; read from an address of one line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

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

_FORM = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<login>[^/?#]*)@)?(?P<servers>[^/?#@]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)


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

    Args:
        url: as it is configured.

    Raises:
        ValueError: it is none; the message says why and shows nothing of it.
    """
    form = _FORM.fullmatch(url)
    if not form or form["scheme"] not in SCHEMES:
        raise ValueError(f"an address of Redis begins with {', '.join(f'{name}://' for name in SCHEMES)}")
    kind = SCHEMES[form["scheme"]]
    if kind is RedisKind.ONE:
        return RedisAddress(kind, url, () if form["scheme"] == "unix" else (_server(form["servers"], REDIS_PORT),))
    port = SENTINEL_PORT if kind is RedisKind.SENTINEL else REDIS_PORT
    servers = tuple(_server(server, port) for server in form["servers"].split(","))
    names = [unquote(part) for part in (form["path"] or "").split("/") if part]
    service = _take_service(names) if kind is RedisKind.SENTINEL else ""
    database = _take_database(names, kind)
    options = dict(parse_qsl(form["query"] or "", keep_blank_values=True))
    login = (options.pop("sentinel_username", None), options.pop("sentinel_password", None))
    scheme, entry = form["scheme"].split("+")[0], f"{form['login']}@" if form["login"] else ""
    host, first_port = servers[0]
    shown = f"[{host}]" if ":" in host else host
    query = f"?{urlencode(options)}" if options else ""
    return RedisAddress(kind, f"{scheme}://{entry}{shown}:{first_port}/{database}{query}", servers, service, login)


def _server(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text.strip()}")
        named, given = parts.hostname, parts.port
    except ValueError:
        named, given = None, None
    if not named or parts.netloc.endswith(":"):
        raise ValueError("a host or port of Redis is missing or none")
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
        raise ValueError("the database of Redis is a number at the end of its address")
    if kind is RedisKind.CLUSTER and int(text):
        raise ValueError("a cluster of Redis has database 0 alone")
    return int(text)
