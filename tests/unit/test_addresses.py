"""Addresses as people paste them: what is taken, what is refused, and that no refusal shows a part of the value."""

from __future__ import annotations

import inspect
import re
import socket
from typing import NoReturn

import pytest
from asyncpg import connect_utils

from domain.addresses import (
    DatabaseAddress,
    as_pasted,
    is_loopback,
    read_database_address,
    read_model_address,
    read_prefect_address,
    read_telegram_address,
    read_web_address,
)
from domain.redis_address import read_redis_address

TAKEN = {
    "postgresql://quiz:pw@host/quiz": DatabaseAddress("postgresql://quiz:pw@host/quiz"),
    "postgres://quiz:pw@host:5433/quiz/": DatabaseAddress("postgresql://quiz:pw@host:5433/quiz"),
    "POSTGRESQL://quiz@host/quiz": DatabaseAddress("postgresql://quiz@host/quiz"),
    "postgresql+asyncpg://quiz:pw@host/quiz": DatabaseAddress("postgresql://quiz:pw@host/quiz"),
    "postgresql+psycopg2://quiz:pw@host/quiz": DatabaseAddress("postgresql://quiz:pw@host/quiz"),
    "postgresql://quiz:a%23b%40c%2Fd%3Fe%25f%5Bg@host/quiz": DatabaseAddress(
        "postgresql://quiz:a%23b%40c%2Fd%3Fe%25f%5Bg@host/quiz"
    ),
    "postgresql://quiz:a:b@host/quiz": DatabaseAddress("postgresql://quiz:a%3Ab@host/quiz"),
    "postgresql://quiz:a^b|ü&=+$@host/quiz": DatabaseAddress("postgresql://quiz:a%5Eb%7C%C3%BC%26%3D%2B%24@host/quiz"),
    "postgresql:///quiz?host=/run/postgresql": DatabaseAddress("postgresql:///quiz?host=/run/postgresql"),
    "postgresql://me:@/quiz?host=/tmp/my%20quiz/%2B": DatabaseAddress("postgresql://me:@/quiz?host=/tmp/my%20quiz/%2B"),
    "postgresql://me@%2Frun%2Fpostgresql/quiz": DatabaseAddress("postgresql://me@%2Frun%2Fpostgresql/quiz"),
    "postgresql://me:pw@a:1,b,[::1]:2/quiz?target_session_attrs=read-write": DatabaseAddress(
        "postgresql://me:pw@a:1,b,[::1]:2/quiz?target_session_attrs=read-write"
    ),
    "postgresql://me:pw@host/quiz?sslmode=require&application_name=mine": DatabaseAddress(
        "postgresql://me:pw@host/quiz?sslmode=require&application_name=mine"
    ),
    "postgresql://me:pw@host/quiz?options=-c%20search_path%3Dquiz": DatabaseAddress(
        "postgresql://me:pw@host/quiz?options=-c%20search_path%3Dquiz"
    ),
    "postgresql://me:pw@host/quiz?connect_timeout=7&pgbouncer=true": DatabaseAddress(
        "postgresql://me:pw@host/quiz", 7, pooler=True
    ),
    "postgresql://me:pw@host/quiz?connect_timeout=0&pgbouncer=false": DatabaseAddress("postgresql://me:pw@host/quiz"),
    "postgresql://me:pw@host/quiz?ssl=true": DatabaseAddress("postgresql://me:pw@host/quiz?sslmode=require"),
    "postgresql://me:pw@host/quiz?schema=public&keepalives=1&gssencmode=disable&channel_binding=prefer": (
        DatabaseAddress("postgresql://me:pw@host/quiz")
    ),
}


@pytest.mark.parametrize("text", TAKEN)
def test_an_address_of_postgres_is_taken(text: str) -> None:
    assert read_database_address(text) == TAKEN[text]


@pytest.mark.parametrize("text", [text for text in TAKEN if text == TAKEN[text].url])
def test_the_driver_finds_in_it_what_it_found_in_the_address_as_written(text: str) -> None:
    assert parsed(read_database_address(text).url) == parsed(text)


def parsed(url: str) -> tuple[object, ...]:
    """Return the hosts, user, password, database and settings that asyncpg reads from an address."""
    names = inspect.signature(vars(connect_utils)["_parse_connect_dsn_and_args"]).parameters
    absent = {name: None for name in names if name != "dsn"}
    limits = {
        "command_timeout": None,
        "statement_cache_size": 0,
        "max_cached_statement_lifetime": 0,
        "max_cacheable_statement_size": 0,
    }
    hosts, parameters, _ = vars(connect_utils)["_parse_connect_arguments"](dsn=url, **absent, **limits)
    known = parameters._asdict()
    return hosts, *(known[name] for name in ("user", "password", "database", "sslmode", "server_settings"))


PIECES = [
    "S3cretPart#x",
    "S3cretPart@x",
    "S3cretPart/x",
    "S3cretPart?x",
    "S3cretPart%x",
    "S3cretPart x",
    "S3cretPart[x",
]
PIECES += [
    "S3cretPart]x",
    "#S3cretPart",
    "@S3cretPart",
    "/S3cretPart",
    "?S3cretPart=1",
    "S3cretPart%e4x",
    "12#S3cretPart",
]
PIECES += ["12/S3cretPart", "12?S3cretPart=1", "S3cret@Part/S3cretPart", "S3cret@x?S3cretPart=1", "S3cretPart\tx"]
PIECES += ["S3cretPart\uff0f", "S3cret\u2100Part", "S3cretPart\uff20", "S3cretPart\ufe55x"]


@pytest.mark.parametrize("piece", PIECES)
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(piece: str) -> None:
    for place in ("host", "host:5432", "a,b", "[::1]:5432"):
        with pytest.raises(ValueError, match="must be percent-encoded") as refused:
            read_database_address(f"postgresql://quiz:{piece}@{place}/quiz?sslmode=require")
        assert_silent(refused.value)


@pytest.mark.parametrize("piece", PIECES)
def test_nor_is_one_of_redis(piece: str) -> None:
    for scheme in ("redis", "rediss", "redis+cluster", "redis+sentinel"):
        with pytest.raises(ValueError, match="must be percent-encoded") as refused:
            read_redis_address(f"{scheme}://:{piece}@host:6379/0")
        assert_silent(refused.value)


@pytest.mark.parametrize("piece", PIECES)
def test_nor_is_one_of_a_server_of_http(piece: str) -> None:
    for read in (read_web_address, read_telegram_address, read_prefect_address, read_model_address):
        with pytest.raises(ValueError, match="must be percent-encoded") as refused:
            read(f"https://me:{piece}@host/api")
        assert_silent(refused.value)


REFUSED = {
    "": "it must look like postgresql://user:password@host:5432/database",
    "S3cretPart": "it must look like",
    "host=db user=quiz password=S3cretPart": "it must look like",
    "jdbc:postgresql://host/quiz?user=quiz&password=S3cretPart": "it must look like",
    "psql 'postgresql://quiz:S3cretPart@host/quiz'": "it must look like",
    "DATABASE_URL=postgresql://quiz:S3cretPart@host/quiz": "it must look like",
    "mysql://quiz:S3cretPart@host/quiz": "it must look like",
    "postgresql:/quiz:S3cretPart@host/quiz": "it must look like",
    "postgresql://quiz:S3cretPart": "the host or port",
    "postgresql://quiz:pw@host:S3cretPart/quiz": "the host or port",
    "postgresql://quiz:pw@host:0/quiz": "the port of the database must be a number from 1 to 65535",
    "postgresql://quiz:pw@host:65536/quiz": "the port of the database",
    "postgresql://quiz:pw@a,,b/quiz": "the host or port",
    "postgresql://quiz:pw@<host>/quiz": "the host or port",
    "postgresql://quiz:pw@host/quiz/S3cretPart": "the name of the database",
    "postgresql://quiz:pw@host/quiz?S3cretPart": "an option of it has no value",
    "postgresql://quiz:pw@host/quiz?port=S3cretPart&host=h": "the port of the database",
    "postgresql:///quiz?host=S3cret Part": "the host or port",
    "postgresql://quiz:pw@host/quiz?pool_size=5": "the option pool_size is not supported; set DATABASE_POOL_SIZE",
    "postgresql://quiz:pw@host/quiz?schema=mine": "the option schema is not supported; write options=",
    "postgresql://quiz:pw@host/quiz?statement_cache_size=0": "set DATABASE_POOLER=true",
    "postgresql://quiz:pw@host/quiz?channel_binding=require": "leave channel_binding out",
    "postgresql://quiz:pw@host/quiz?sslmode=on": "sslmode is one of disable, allow",
    "postgresql://quiz:pw@host/quiz?ssl=S3cretPart": "sslmode is one of",
    "postgresql://quiz:pw@host/quiz?target_session_attrs=S3cretPart": "target_session_attrs is one of",
    "postgresql://quiz:pw@host/quiz?connect_timeout=S3cretPart": "connect_timeout must be",
    "postgresql://quiz:pw@host/quiz?connect_timeout=601": "connect_timeout must be",
    "postgresql://quiz:pw@host/quiz?pgbouncer=S3cretPart": "pgbouncer is true or false",
}


@pytest.mark.parametrize("text", REFUSED)
def test_an_address_of_postgres_is_refused_with_what_to_write_instead(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(REFUSED[text])) as refused:
        read_database_address(text)
    assert_silent(refused.value)


def test_no_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> NoReturn:
        pytest.fail("a name was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for piece in PIECES:
        for read, scheme in ((read_database_address, "postgresql"), (read_redis_address, "redis")):
            with pytest.raises(ValueError, match="percent-encoded"):
                read(f"{scheme}://quiz:{piece}@host/0")


def assert_silent(error: Exception) -> None:
    """Make sure that an error is one line without the planted secret."""
    assert "S3cret" not in str(error)
    assert "Part" not in str(error)
    assert "\n" not in str(error)


# ---------------------------------------------------------------- the web


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://quiz.example.org/", "https://quiz.example.org"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/base/", "http://[::1]:8080/base"),
        ("https://me:p%40w@host_1/x", "https://me:p%40w@host_1/x"),
    ],
)
def test_an_address_of_the_web_is_taken(text: str, read: str) -> None:
    assert read_web_address(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "quiz.example.org",
        "ftp://host",
        "https://",
        "https://:443",
        "https://host:x",
        "https://host:0",
        "https://a b",
        "https://host?x=1",
        "https://host/a b",
        "",
        "/",
        "https:/host",
    ],
)
def test_what_is_no_address_of_the_web_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it must begin with|host or port|the port|a \? or a blank"):
        read_web_address(text)


@pytest.mark.parametrize("end", ["/bot", "/bot/", "/bot123456:S3cretPart", "/bot123456:S3cretPart/getMe"])
def test_the_address_of_the_bot_api_ends_before_the_token(end: str) -> None:
    with pytest.raises(ValueError, match="leave out /bot and the token") as refused:
        read_telegram_address(f"https://api.telegram.org{end}")
    assert_silent(refused.value)


def test_the_address_of_prefect_has_the_path_of_its_api() -> None:
    assert read_prefect_address("http://prefect:4200/api/") == "http://prefect:4200/api"
    with pytest.raises(ValueError, match=r"such as http://127\.0\.0\.1:4200/api"):
        read_prefect_address("http://prefect:4200/")


def test_the_address_of_a_model_may_have_the_path_of_its_method() -> None:
    assert read_model_address("http://127.0.0.1:11434/v1/chat/completions") == "http://127.0.0.1:11434/v1"
    assert read_model_address("http://127.0.0.1:11434/v1/") == "http://127.0.0.1:11434/v1"


@pytest.mark.parametrize("text", [" value ", '"value"', "'value'\r\n", '" value "', "\u00a0value\t"])
def test_what_copying_leaves_around_a_value_is_no_part_of_it(text: str) -> None:
    assert as_pasted(text) == "value"


@pytest.mark.parametrize("text", ['"value', "'", "it's", "'a' and \"b\""])
def test_other_quotes_stay(text: str) -> None:
    assert as_pasted(text) == text


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8080", True),
        ("https://localhost/api", True),
        ("http://LOCALHOST:1", True),
        ("http://[::1]:4200/api", True),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1.example.org:8080", False),
        ("http://localhost@example.org", False),
        ("https://api.telegram.org", False),
        ("", False),
    ],
)
def test_an_address_of_this_machine_is_known_by_its_whole_host(url: str, *, local: bool) -> None:
    assert is_loopback(url) is local
