"""Addresses as operators paste them, read when the settings are loaded; what is wrong is said without the value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from unicodedata import normalize
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes, urlencode, urlsplit

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_POSTGRES = re.compile(r"postgres(ql)?(\+[a-z0-9]+)?")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AMBIGUOUS = re.compile(r"[\s\[\]]")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(%25\w+)?\]|[\w.-]+|%2[Ff][\w.%-]+)(:(?P<port>[0-9]*))?")
_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

ENCODED = "a character that must be percent-encoded (such as %23 for #, %40 for @, %2F for /, %25 for %)"
MAX_PORT = 65535
MAX_CONNECT_SECONDS = 600

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_KINDS = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")

_REFUSED = {
    **dict.fromkeys(
        ("pool_size", "max_pool_size", "connection_limit", "max_size", "pool_max_conns"), "set DATABASE_POOL_SIZE"
    ),
    **dict.fromkeys(
        ("statement_cache_size", "prepared_statement_cache_size", "prepare_threshold", "prepareThreshold"),
        "set DATABASE_POOLER=true if it leads to a pooler",
    ),
    **dict.fromkeys(("schema", "currentSchema"), "write options=-csearch_path%3D and the schema's name"),
    **dict.fromkeys(("hostaddr",), "write the address in the place of the host"),
    **dict.fromkeys(("service", "servicefile"), "write host, user and database out"),
    **dict.fromkeys(
        ("max_overflow", "min_size", "pool_timeout", "pool_recycle", "pool_pre_ping", "pool_mode", "socket_timeout"),
        "leave it out",
    ),
    **dict.fromkeys(("charset", "encoding"), "leave it out: it is always UTF-8"),
}
"""Options of other drivers and pools, and what to do instead; the server would refuse them as settings of its own."""

_HARMLESS = {
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "sslcompression",
    "sslsni",
    "tcp_user_timeout",
}
"""Options of libpq that the driver lacks and that nothing depends on."""


LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
"""This machine, as an address on it may name it."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A PostgreSQL, and how to enter it."""

    url: str
    """As asyncpg takes it."""
    connect_seconds: float | None = None
    """How long to wait for a connection, if the address says."""
    pooler: bool = False
    """Whether the address says that a transaction pooler stands between."""


def split_login(rest: str, *, whose: str) -> tuple[str, str]:
    """Return the login of an address and what follows it, both as they stand.

    Args:
        rest: what follows ``://``.

    Raises:
        ValueError: a character of the login could be taken for a part of the address, so that a piece of the password
            would go to a name server as a host; the message shows nothing of it.
    """
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    behind = rest[len(authority) :]
    login, at, hosts = authority.partition("@")
    wrong = f"the password{whose} holds {ENCODED}"
    if "#" in rest or "@" in hosts or (authority and "@" in behind):
        raise ValueError(wrong)
    if not at:
        return "", rest
    if _AMBIGUOUS.search(login) or _BARE_PERCENT.search(login) or _has_disguised_sign(login):
        raise ValueError(wrong)
    try:
        unquote_to_bytes(login).decode()
    except UnicodeDecodeError:
        raise ValueError(wrong) from None
    return login, hosts + behind


def _has_disguised_sign(login: str) -> bool:
    """Return whether a letter, such as a full-width slash, stands for a sign: `urlsplit` would refuse and show it."""
    return any(not letter.isascii() and not set("/?#@:").isdisjoint(normalize("NFKC", letter)) for letter in login)


def read_database_address(text: str) -> DatabaseAddress:
    """Return what an address of PostgreSQL says, in the form that asyncpg takes.

    Taken are the forms of libpq, also with several hosts or a socket's folder, and those of SQLAlchemy, whose driver is
    left out. Options of libpq that asyncpg lacks are translated or left out; any other goes to the server as a setting.

    Raises:
        ValueError: it is invalid; the message says why and shows nothing of it.
    """
    form = _SCHEME.fullmatch(text)
    if not form or not _POSTGRES.fullmatch(form["scheme"].lower()):
        raise ValueError("it must look like postgresql://user:password@host:5432/database")
    login, place = split_login(form["rest"], whose="")
    path, _, query = place.partition("?")
    hosts, _, database = path.partition("/")
    if hosts:
        for host in hosts.split(","):
            check_host(host, "of the database")
    database = database.removesuffix("/")
    if "/" in database or re.search(r"\s", database) or _BARE_PERCENT.search(database):
        raise ValueError(f"the name of the database holds {ENCODED}")
    options, seconds, pooler = _translated(_options(query))
    user, colon, password = login.partition(":")
    entry = f"{_requoted(user)}{colon}{_requoted(password)}@" if login else ""
    tail = f"?{urlencode(options, quote_via=quote, safe='/,')}" if options else ""
    return DatabaseAddress(f"postgresql://{entry}{hosts}/{_requoted(database)}{tail}", seconds, pooler)


def check_host(text: str, what: str) -> None:
    """Make sure that a text is a host, perhaps with a port.

    Raises:
        ValueError: it is invalid; the message shows nothing of it.
    """
    form = _HOST.fullmatch(text)
    if not form or not _is_splittable(text):
        raise ValueError(f"the host or port {what} is missing or invalid, or the password holds {ENCODED}")
    if form["port"] and not 1 <= int(form["port"]) <= MAX_PORT:
        raise ValueError(f"the port {what} must be a number from 1 to {MAX_PORT}")


def _is_splittable(host: str) -> bool:
    try:
        urlsplit(f"//{host}")
    except ValueError:
        return False
    return True


def _requoted(text: str) -> str:
    return quote(unquote(text), safe="")


def _options(query: str) -> dict[str, str]:
    pieces = [piece for piece in query.split("&") if piece]
    if not all(_OPTION.fullmatch(piece.partition("=")[0]) for piece in pieces):
        raise ValueError(f"its options must look like ?name=value&name=value, or the password holds {ENCODED}")
    if any("=" not in piece for piece in pieces):
        raise ValueError("an option of it has no value; options look like ?name=value&name=value")
    return dict(parse_qsl("&".join(pieces)))  # leaves out what is empty


def _translated(options: dict[str, str]) -> tuple[dict[str, str], float | None, bool]:
    """Return the options that asyncpg takes, the seconds to wait for a connection, and whether there is a pooler."""
    seconds = _seconds(options.pop("connect_timeout", "0"))
    pooler = _flag("pgbouncer", options.pop("pgbouncer", "false"))
    if "ssl" in options:  # of JDBC, and of SQLAlchemy with asyncpg
        given = options.pop("ssl").lower()
        options.setdefault("sslmode", {"true": "require", "false": "disable"}.get(given, given))
    if options.get("schema") == "public":
        del options["schema"]
    if options.pop("channel_binding", "prefer") == "require":
        raise ValueError("leave channel_binding out: the driver has none; sslmode=verify-full proves who the server is")
    for name in options:
        if name in _REFUSED:
            raise ValueError(f"the option {name} is not supported; {_REFUSED[name]}")
    _require_one_of(options, "sslmode", _SSL_MODES)
    _require_one_of(options, "target_session_attrs", _SESSION_KINDS)
    for host in options.get("host", "").split(",") if "host" in options else ():
        if not host.startswith("/"):
            check_host(host, "of the database")
    for port in options.get("port", "").split(",") if "port" in options else ():
        if not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= MAX_PORT:
            raise ValueError(f"the port of the database must be a number from 1 to {MAX_PORT}")
    return {name: value for name, value in options.items() if name not in _HARMLESS}, seconds, pooler


def _seconds(text: str) -> float | None:
    if not re.fullmatch(r"-?[0-9]{1,4}", text) or int(text) > MAX_CONNECT_SECONDS:
        raise ValueError(f"connect_timeout must be a number of seconds up to {MAX_CONNECT_SECONDS}")
    return float(text) if int(text) > 0 else None  # as libpq reads it: 0 or less says nothing


def _flag(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(f"{name} is true or false")
    return text.lower() in {"true", "1"}


def _require_one_of(options: dict[str, str], name: str, known: tuple[str, ...]) -> None:
    if name in options and options[name] not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}")


# ---------------------------------------------------------------- the web


def is_loopback(url: str) -> bool:
    """Return whether an address leads to this machine."""
    return urlsplit(url).hostname in LOOPBACK_HOSTS


def read_web_address(text: str) -> str:
    """Return the address of a server of HTTP without a slash at its end.

    Raises:
        ValueError: it is invalid; the message says why and shows nothing of it.
    """
    form = _SCHEME.fullmatch(text)
    if not form or form["scheme"].lower() not in {"http", "https"}:
        raise ValueError("it must begin with https:// or http://")
    _, place = split_login(form["rest"], whose=" in it")
    host = re.split("[/?]", place, maxsplit=1)[0]
    check_host(host, "of it")
    if "?" in place or re.search(r"\s", place):
        raise ValueError("it must not contain a ? or a blank")
    return text.rstrip("/")


def read_telegram_address(text: str) -> str:
    """Return the address of a Bot API server, to which ``/bot`` and a token are added for each request.

    Raises:
        ValueError: it is invalid; the message says why and shows nothing of it.
    """
    address = read_web_address(text)
    if re.search(r"/bot([0-9]|$)", address.partition("://")[2]):
        raise ValueError("leave out /bot and the token, as in https://api.telegram.org")
    return address


def read_prefect_address(text: str) -> str:
    """Return the address of a Prefect server's API.

    Raises:
        ValueError: it is invalid; the message says why and shows nothing of it.
    """
    address = read_web_address(text)
    if "/" not in address.partition("://")[2]:
        raise ValueError("must end with the API's path, such as http://127.0.0.1:4200/api")
    return address


def read_model_address(text: str) -> str:
    """Return the address of a server that speaks OpenAI's protocol, to which ``/chat/completions`` is added.

    Raises:
        ValueError: it is invalid; the message says why and shows nothing of it.
    """
    return read_web_address(text).removesuffix("/chat/completions")


# ---------------------------------------------------------------- as pasted

_FOREIGN_PORT = re.compile(r"(tcp|udp|sctp)://")


def as_pasted(value: str) -> str:
    """Return a value without the blanks, line ends and pair of quotes around it that copying leaves."""
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1].strip()
    return value


def is_foreign_port(value: str) -> bool:
    """Return whether Kubernetes set a variable for a Service of that name, as it does for each in the namespace."""
    return _FOREIGN_PORT.match(value) is not None
