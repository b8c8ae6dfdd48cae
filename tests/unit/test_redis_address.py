"""Addresses of Redis: which there are, what each says, and one line for whatever is wrong, without the password."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.sentinel import SentinelManagedSSLConnection

from domain.errors import StartupError
from domain.redis_address import RedisAddress, RedisKind, read_redis_address
from storage.redis_client import open_redis

ONE, CLUSTER, SENTINEL = RedisKind.ONE, RedisKind.CLUSTER, RedisKind.SENTINEL

READ = {
    "redis://localhost": RedisAddress(ONE, "redis://localhost", (("localhost", 6379),)),
    "rediss://:pw@host:1/3?ssl_cert_reqs=none": RedisAddress(
        ONE, "rediss://:pw@host:1/3?ssl_cert_reqs=none", (("host", 1),)
    ),
    "unix:///run/valkey.sock?db=2": RedisAddress(ONE, "unix:///run/valkey.sock?db=2", ()),
    "redis+cluster://a": RedisAddress(CLUSTER, "redis://a:6379/0", (("a", 6379),)),
    "redis+cluster://a:1,b,[::1]:2/": RedisAddress(CLUSTER, "redis://a:1/0", (("a", 1), ("b", 6379), ("::1", 2))),
    "rediss+cluster://me:p%40w@[fd00::1],b/0?socket_timeout=5": RedisAddress(
        CLUSTER, "rediss://me:p%40w@[fd00::1]:6379/0?socket_timeout=5", (("fd00::1", 6379), ("b", 6379))
    ),
    "redis+sentinel://s1,s2:5/quiz": RedisAddress(SENTINEL, "redis://s1:26379/0", (("s1", 26379), ("s2", 5)), "quiz"),
    "rediss+sentinel://me:pw@s1:1/my%20quiz/4?sentinel_username=you&sentinel_password=p%26w&ssl_cert_reqs=none": (
        RedisAddress(SENTINEL, "rediss://me:pw@s1:1/4?ssl_cert_reqs=none", (("s1", 1),), "my quiz", ("you", "p&w"))
    ),
}


@pytest.mark.parametrize("url", READ)
def test_an_address_says(url: str) -> None:
    assert read_redis_address(url) == READ[url]


WRONG = {
    "http://:s3cret@host": r"begin with redis://, rediss://, unix://, redis\+cluster://",
    "host:6379": "begin with",
    "redis-sentinel://host/quiz": "begin with",
    "": "begin with",
    "redis://": "a Redis host or port is missing or invalid",
    "redis://:s3cret@a:1,b:2": "host or port",
    "redis://host:s3cret": "host or port",
    "redis://host:70000": "host or port",
    "redis://:s3cret/with@host": "the password of Redis holds a character that must be percent-encoded",
    "redis://:s3cret#with@host": "the password of Redis",
    "redis://:s3cret@with@host": "the password of Redis",
    "redis://me:12?s3cret=1@host/0": "the password of Redis",
    "redis+cluster://:s3cret%with@a,b": "the password of Redis",
    "redis+cluster://a,,b": "host or port",
    "redis+cluster://:s3cret@a:": "host or port",
    "redis+cluster://a/1": "a Redis cluster has only database 0",
    "redis+cluster://a/quiz": "the database of Redis must be a number",
    "redis+sentinel://:s3cret@a,b": "the name of the service",
    "redis+sentinel://a/quiz/zero": "the database of Redis must be a number",
    "redis+sentinel://a/quiz/0/1": "the database of Redis must be a number",
}


@pytest.mark.parametrize("url", WRONG)
def test_what_is_wrong_is_one_line_without_a_secret(url: str) -> None:
    with pytest.raises(ValueError, match=WRONG[url]) as wrong:
        read_redis_address(url)
    assert "s3cret" not in str(wrong.value)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("scheme", ["redis://host", "redis+cluster://host", "redis+sentinel://host/quiz"])
@pytest.mark.parametrize("option", ["s3cret=1", "socket_timeout=s3cret"])
def test_an_option_that_the_library_does_not_know_is_told_before_anything_connects_and_not_shown(
    scheme: str, option: str
) -> None:
    with pytest.raises(StartupError, match=r"REDIS_URL: an option behind its \?") as wrong:
        open_redis(f"{scheme}?{option}")
    assert "s3cret" not in str(wrong.value)
    assert "\n" not in str(wrong.value)


async def test_encryption_holds_for_nodes_and_sentinels_alike() -> None:
    one = open_redis("rediss://:pw@host")
    assert one.connection_pool.connection_class is SSLConnection
    cluster = open_redis("rediss+cluster://:pw@a,b?ssl_cert_reqs=none")
    assert cluster.connection_pool.connection_class is SSLConnection
    assert cluster.connection_pool.connection_kwargs["ssl_cert_reqs"] == "none"
    leader = open_redis("rediss+sentinel://:pw@a,b/quiz/3?ssl_cert_reqs=none&sentinel_password=other")
    pool = leader.connection_pool
    assert pool.connection_class is SentinelManagedSSLConnection
    assert (pool.connection_kwargs["password"], pool.connection_kwargs["db"]) == ("pw", 3)
    sentinels: list[Redis] = pool.sentinel_manager.sentinels  # type: ignore[attr-defined]
    for sentinel in sentinels:
        assert sentinel.connection_pool.connection_class is SSLConnection
        assert sentinel.connection_pool.connection_kwargs["ssl_cert_reqs"] == "none"
        assert sentinel.connection_pool.connection_kwargs["password"] == "other"
    for client in (one, cluster, leader):
        await client.aclose()


async def test_an_option_of_the_address_beats_the_services_own() -> None:
    for url in ("redis://a", "redis+cluster://a", "redis+sentinel://a/quiz"):
        plain, patient = open_redis(url), open_redis(f"{url}?socket_timeout=5&max_connections=7")
        assert plain.connection_pool.connection_class is not SSLConnection
        assert issubclass(plain.connection_pool.connection_class, Connection)
        assert plain.connection_pool.connection_kwargs["socket_timeout"] == 2
        assert patient.connection_pool.connection_kwargs["socket_timeout"] == 5
        assert (plain.connection_pool.max_connections, patient.connection_pool.max_connections) == (32, 7)
        for client in (plain, patient):
            await client.aclose()
