"""A client of a Redis Cluster: sends each command to the node that has its keys.

Theory of operation. A key belongs to one of 16384 slots, and each slot to one node. Any node knows the whole table; one
that is asked for another's key says where it is (MOVED) or is about to be (ASK). The client learns the table before its
first command, follows such a reply at once, and learns anew after a failure. For that it asks the nodes that it knows
and those that the address names, so that it also finds a cluster all of whose nodes have moved elsewhere.

Each node has a pool of connections, as a single server has one. An error is raised and not tried again: callers
can do without Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

Server = tuple[str, int]
"""Host and port."""

MAX_HOPS = 8
"""Redirections of one command, after which the nodes do not agree who has its keys."""

TRY_AGAIN_SECONDS = 0.05
"""While some keys of a command have moved and others not yet."""

LEARN_SECONDS = 0.5
"""A failure does not put a table in doubt that is no older than this."""

_SCRIPTS = {"EVAL", "EVALSHA"}
_OF_MANY_KEYS = {"DEL", "EXISTS", "TOUCH", "UNLINK"}
_OF_NO_KEY = {"FLUSHDB", "INFO", "PING", "SCRIPT FLUSH", "SCRIPT LOAD", "TIME"}


class ClusterClient(Redis):
    """Looks like a client of one server to code that sends single commands, locks and scripts.

    Pipelines, transactions and subscriptions are not divided between nodes.
    """

    def __init__(
        self, named: Sequence[Server], make_pool: Callable[[Server], BlockingConnectionPool], seconds: float
    ) -> None:
        """Take where to ask first.

        Args:
            named: nodes of the cluster, at least one of which should be there.
            seconds: after which a command is given up, whatever hangs.
        """
        self._named = tuple(named)
        self._make_pool = make_pool
        self._seconds = seconds
        self._nodes = {server: Redis.from_pool(make_pool(server)) for server in self._named}
        self._owners: list[Server | None] = []
        self._learned_at = 0.0
        self._silent: set[Server] = set()
        self._learning = asyncio.Lock()
        super().__init__(connection_pool=self._nodes[self._named[0]].connection_pool)

    async def execute_command(self, *words: Any, **options: Any) -> Any:  # noqa: ANN401 - as the library has it
        """Send a command to the node that has its keys; one without keys to every node.

        Raises:
            RedisError: the node is unavailable, or refuses.
            TimeoutError: it took too long.
        """
        async with asyncio.timeout(self._seconds):
            name = str(words[0]).upper()
            if name in _OF_NO_KEY:
                return await self._send_to_all(words, options)
            if name in _OF_MANY_KEYS:
                parts = self._by_slot(words[1:])
                return sum([await self._send(slot, (words[0], *keys), options) for slot, keys in parts.items()])
            key = words[3] if name in _SCRIPTS else words[1]
            return await self._send(self._slot(key), words, options)

    async def aclose(self, *_args: object, **_options: object) -> None:
        """Close every connection."""
        for node in self._nodes.values():
            await node.aclose()

    # ------------------------------------------------------------ which node

    def _slot(self, key: Any) -> int:  # noqa: ANN401 - whatever the library encodes
        return key_slot(self.get_encoder().encode(key))  # type: ignore[no-untyped-call]

    def _by_slot(self, keys: Iterable[Any]) -> dict[int, list[Any]]:
        parts: dict[int, list[Any]] = {}
        for key in keys:
            parts.setdefault(self._slot(key), []).append(key)
        return parts

    async def _table(self) -> list[Server | None]:
        if not self._owners:
            async with self._learning:
                if not self._owners:
                    await self._learn()
        return self._owners

    async def _learn(self) -> None:
        """Ask where the slots are, those last who were silent before."""
        servers = list(dict.fromkeys([*self._nodes, *self._named]))
        random.shuffle(servers)  # not every process the same one
        failure: Exception | None = None
        for server in sorted(servers, key=self._silent.__contains__):
            self._silent.add(server)
            try:
                ranges = await self._node(server).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as error:
                failure = error
                continue
            if ranges:  # a node that is in no cluster yet, or no more, knows none
                self._silent.discard(server)
                self._owners = _owners_of(ranges, server)
                self._learned_at = time.monotonic()
                await self._forget_all_but({*self._named, *filter(None, self._owners)})
                return
        raise RedisConnectionError(f"no node of the cluster answers ({type(failure).__name__})") from failure

    def _doubt(self, server: Server) -> None:
        self._silent.add(server)
        if time.monotonic() - self._learned_at > LEARN_SECONDS:
            self._owners = []

    def _node(self, server: Server) -> Redis:
        if server not in self._nodes:
            self._nodes[server] = Redis.from_pool(self._make_pool(server))
        return self._nodes[server]

    async def _forget_all_but(self, servers: set[Server]) -> None:
        for server in self._nodes.keys() - servers:
            gone = self._nodes.pop(server)
            self._silent.discard(server)
            with contextlib.suppress(RedisError, OSError):
                await gone.connection_pool.disconnect(inuse_connections=False)

    # ------------------------------------------------------------ sending

    async def _send(self, slot: int, words: Sequence[Any], options: dict[str, Any]) -> Any:  # noqa: ANN401
        server, asking = (await self._table())[slot], False
        for _ in range(MAX_HOPS):
            if server is None:
                break
            try:
                return await self._send_to(server, words, options, asking=asking)
            except MovedError as moved:
                server, asking = (moved.host or server[0], moved.port), False
                if self._owners:
                    self._owners[slot] = server
            except AskError as ask:
                server, asking = (ask.host or server[0], ask.port), True
            except TryAgainError:
                await asyncio.sleep(TRY_AGAIN_SECONDS)
        self._owners = []
        raise ClusterDownError(f"the nodes of the cluster do not say who has slot {slot}")

    async def _send_to(self, server: Server, words: Sequence[Any], options: dict[str, Any], *, asking: bool) -> Any:  # noqa: ANN401
        node = self._node(server)
        try:
            if not asking:
                return await node.execute_command(*words, **options)  # type: ignore[no-untyped-call]
            async with node.pipeline(transaction=False) as both:  # for they must go over one connection
                both.execute_command("ASKING")
                both.execute_command(*words, **options)
                return (await both.execute())[1]
        except (RedisConnectionError, RedisTimeoutError, ClusterDownError, OSError, asyncio.CancelledError):
            self._doubt(server)
            raise

    async def _send_to_all(self, words: Sequence[Any], options: dict[str, Any]) -> Any:  # noqa: ANN401
        servers = set(filter(None, await self._table()))
        replies = [await self._send_to(server, words, options, asking=False) for server in servers]
        return replies[0]


def _owners_of(ranges: Iterable[Sequence[Any]], told_by: Server) -> list[Server | None]:
    """Return each slot's node; one that leaves its own host out means the one that it was reached by."""
    owners: list[Server | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, (host, port, *_), *_ in ranges:
        name = host.decode() if isinstance(host, bytes) else host
        owners[first : last + 1] = [(name or told_by[0], int(port))] * (last + 1 - first)
    return owners
