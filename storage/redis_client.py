"""The Redis that all processes share: one server, a cluster, or whichever server sentinels name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from domain.addresses import ENCODED
from domain.errors import StartupError
from domain.redis_address import RedisAddress, RedisKind, read_redis_address
from observability import metrics
from storage.redis_cluster import ClusterClient, Server

REDIS_UNAVAILABLE = (RedisError, OSError)
"""What a client raises when Redis cannot serve; time that ran out is an OSError as well."""

CONNECTIONS = 32
"""To a server. A process waits for a free one beyond this; failing instead would look like an absent Redis."""

SOCKET_SECONDS = 2
"""For a connection to be free, to be made, and for an answer."""

REQUEST_SECONDS = 4
"""For all that a cluster or sentinels may need for one request: asking who leads now, connecting there, the answer."""

_SOCKET = {
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": SOCKET_SECONDS,
    # Only Redis' own hosting sends these. While they are on, the library does not see that an idle connection was
    # closed, and after a restart of the server each one fails once.
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}
_POOL = {"max_connections": CONNECTIONS, "timeout": SOCKET_SECONDS, "health_check_interval": 30, **_SOCKET}

_WRONG_OPTION = f"an option behind its ? is unknown or has a wrong value, or the password holds {ENCODED}"


@contextlib.contextmanager
def redis_optional() -> Iterator[None]:
    """Leave a block at the first request that fails because Redis is unavailable, and count the failure."""
    try:
        yield
    except REDIS_UNAVAILABLE:
        metrics.REDIS_ERRORS.inc()


def open_redis(url: str) -> Redis:
    """Return a client that connects when it is first used.

    Raises:
        StartupError: the address is invalid, or has an option that the library does not know.
    """
    try:
        address = read_redis_address(url)
    except ValueError as error:
        raise StartupError(f"REDIS_URL: {error}") from None
    try:
        match address.kind:
            case RedisKind.ONE:
                return Redis.from_pool(_checked(BlockingConnectionPool.from_url(address.url, **_POOL)))
            case RedisKind.SENTINEL:
                return _LeaderClient.from_pool(_checked(_pool_of_leader(address)))
            case RedisKind.CLUSTER:
                return ClusterClient(address.servers, _pools_of(address), REQUEST_SECONDS)
    except (TypeError, ValueError):  # their text may show a piece of a password that stands behind a ?
        raise StartupError(f"REDIS_URL: {_WRONG_OPTION}") from None


def _checked(pool: BlockingConnectionPool) -> BlockingConnectionPool:
    """Return a pool whose options the library knows, which it would only find out when it connects."""
    pool.make_connection()  # type: ignore[no-untyped-call]
    return pool


def _options_of(address: RedisAddress) -> dict[str, Any]:
    """Return what holds for a connection to any of the servers."""
    options = {**_POOL, **parse_url(address.url)}
    return {name: value for name, value in options.items() if name not in {"host", "port"}}


# ---------------------------------------------------------------- a cluster


def _pools_of(address: RedisAddress) -> Callable[[Server], BlockingConnectionPool]:
    options = _options_of(address)

    def make(server: Server) -> BlockingConnectionPool:
        return _checked(BlockingConnectionPool(host=server[0], port=server[1], **options))

    return make


# ---------------------------------------------------------------- sentinels


class _LeaderPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the server that sentinels name; a new one asks them, so that it never leads to a former one."""

    def __init__(self, service: str, sentinels: Sentinel, **options: Any) -> None:  # noqa: ANN401 - the library's own
        super().__init__(service, sentinels, **options)  # type: ignore[no-untyped-call]
        self._asking = asyncio.Lock()

    async def get_master_address(self) -> Server:
        """Return who leads; one question at a time, for the library sorts the sentinels while it asks them."""
        async with self._asking:
            host, port = await super().get_master_address()  # type: ignore[no-untyped-call]
            return host, port

    async def aclose(self) -> None:
        """Close the connections, and those to the sentinels."""
        await super().aclose()
        await self.sentinel_manager.aclose()


class _LeaderClient(Redis):
    """A client of whichever server leads."""

    async def execute_command(self, *words: Any, **options: Any) -> Any:  # noqa: ANN401
        """Send a command, and take no longer than a request may take."""
        async with asyncio.timeout(REQUEST_SECONDS):
            return await super().execute_command(*words, **options)  # type: ignore[no-untyped-call]


def _pool_of_leader(address: RedisAddress) -> _LeaderPool:
    options = _options_of(address)
    if options.pop("connection_class", None):  # the library wants encryption told in another way here
        options["ssl"] = True
    user, password = address.sentinel_login
    encryption = {name: value for name, value in options.items() if name.startswith("ssl")}
    known = {**_SOCKET, **encryption, "username": user, "password": password, "retry": Retry(NoBackoff(), 0)}
    sentinels = Sentinel(address.servers, sentinel_kwargs=known)  # type: ignore[no-untyped-call]
    return _LeaderPool(address.service, sentinels, **options)
