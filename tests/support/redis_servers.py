"""Valkeys that belong together, each a process: a cluster of three nodes, and a pair that three sentinels watch."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from local import servers
from tests.support.waiting import WAIT_SECONDS, wait_for

SERVICE = "quiz"
PASSWORD, SENTINEL_PASSWORD = "s3cret/@:%", "an0ther&one"


@dataclass(slots=True)
class Node:
    """One server, which may be killed and started again where it was."""

    port: int
    command: list[str]
    log: Path
    password: str = PASSWORD
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return its own address."""
        return f"redis://:{quote(self.password, safe='')}@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it until it accepts connections."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=subprocess.STDOUT)
        servers.wait_until_listening(self.port, self.process, self.log, "Valkey")

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def hang(self) -> None:
        """Stop it where it is: it accepts connections and says nothing."""
        if self.process:
            self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after it hung."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)

    def ask(self, *words: str | int) -> Any:
        """Send it a command of its own, whatever it belongs to."""
        with Redis(
            port=self.port, password=self.password, decode_responses=True, socket_timeout=WAIT_SECONDS
        ) as client:
            return client.execute_command(*words)


def make_node(folder: Path, name: str, **options: str | int) -> Node:
    """Return a server that is yet to be started; underscores in its options stand for hyphens."""
    port = servers.free_port()
    more = [word for option, value in options.items() for word in (f"--{option.replace('_', '-')}", str(value))]
    return Node(
        port, [*servers.valkey_command(port, folder / name), "--requirepass", PASSWORD, *more], folder / f"{name}.log"
    )


# ---------------------------------------------------------------- a cluster


@dataclass(slots=True)
class Cluster:
    """Nodes with an equal part of the keys each, and none to spare."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        """Return the address that names one node alone: the others are to be found through it."""
        return self.nodes[0].url.replace("redis", "redis+cluster", 1)

    def holder(self, key: str) -> Node:
        """Return the node that has a key."""
        return self.nodes[key_slot(key.encode()) * len(self.nodes) // REDIS_CLUSTER_HASH_SLOTS]

    def is_well(self) -> bool:
        """Say whether every node sees the whole cluster at work."""
        return all(_sees_no_failure(node) for node in self.nodes)


def _sees_no_failure(node: Node) -> bool:
    state, others = str(node.ask("CLUSTER", "INFO")), str(node.ask("CLUSTER", "NODES"))
    return "cluster_state:ok" in state and "fail" not in others and "disconnected" not in others


@contextmanager
def running_cluster(folder: Path, size: int = 3, **options: str | int) -> Iterator[Cluster]:
    """Run a cluster that misses a node within seconds, but none that is merely slow; yield it once it works."""
    folder.mkdir()
    options |= {"cluster_enabled": "yes", "cluster_node_timeout": 3000}
    ports = [servers.free_port() for _ in range(size)]  # for the nodes among themselves
    nodes = [make_node(folder, f"node-{n}", cluster_port=port, **options) for n, port in enumerate(ports)]
    edges = [-(-REDIS_CLUSTER_HASH_SLOTS * n // size) for n in range(size + 1)]
    with ExitStack() as stack:
        for n, node in enumerate(nodes):
            stack.callback(node.kill)
            node.start()
            node.ask("CLUSTER", "ADDSLOTSRANGE", edges[n], edges[n + 1] - 1)
            if n:
                nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, ports[n])
        cluster = Cluster(nodes)
        wait_for(cluster.is_well)
        yield cluster


# ---------------------------------------------------------------- sentinels


@dataclass(slots=True)
class Watched:
    """A primary and its replica, and the sentinels that watch them."""

    data: list[Node]
    sentinels: list[Node]

    @property
    def url(self) -> str:
        """Return the address that names the sentinels."""
        watching = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        option = f"sentinel_password={quote(SENTINEL_PASSWORD)}"
        return f"redis+sentinel://:{quote(PASSWORD, safe='')}@{watching}/{SERVICE}/0?{option}"

    def leader(self) -> Node:
        """Return the server that leads, as the first sentinel has it."""
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(node for node in self.data if node.port == int(port))

    def is_well(self) -> bool:
        """Say whether another failover could happen: the sentinels know each other, and somebody who follows."""
        return len(self.leader().ask("ROLE")[2]) == 1 and all(_sees_everybody(one) for one in self.sentinels)


def _sees_everybody(sentinel: Node) -> bool:
    leader = sentinel.ask("SENTINEL", "MASTER", SERVICE)
    flags = [follower["flags"] for follower in sentinel.ask("SENTINEL", "REPLICAS", SERVICE)]
    return (leader["flags"], leader["num-other-sentinels"], flags) == ("master", "2", ["slave"])


@contextmanager
def running_sentinels(folder: Path) -> Iterator[Watched]:
    """Run a primary, a replica and three sentinels, and yield them once a failover could happen."""
    folder.mkdir()
    options: dict[str, str | int] = {"repl_diskless_sync_delay": 0, "masterauth": PASSWORD}
    primary = make_node(folder, "primary", **options)
    replica = make_node(folder, "replica", **options, replicaof=f"127.0.0.1 {primary.port}")
    sentinels = [_make_sentinel(folder, f"sentinel-{n}", primary.port) for n in range(3)]
    with ExitStack() as stack:
        for node in (primary, replica):
            stack.callback(node.kill)
            node.start()
        wait_for(lambda: bool(replica.ask("ROLE")[3] == "connected"))
        for sentinel in sentinels:  # which look for replicas when they begin, and then every ten seconds
            stack.callback(sentinel.kill)
            sentinel.start()
        watched = Watched([primary, replica], sentinels)
        wait_for(watched.is_well)
        yield watched


def _make_sentinel(folder: Path, name: str, port: int) -> Node:
    """Return a sentinel that misses a server soon; it keeps what it learns in its configuration."""
    own = folder / name
    own.mkdir()
    node = make_node(folder, name)
    lines = [
        "bind 127.0.0.1",
        f"port {node.port}",
        f"dir {own}",
        f'requirepass "{SENTINEL_PASSWORD}"',
        f'sentinel sentinel-pass "{SENTINEL_PASSWORD}"',
        f"sentinel monitor {SERVICE} 127.0.0.1 {port} 2",
        f'sentinel auth-pass {SERVICE} "{PASSWORD}"',
        f"sentinel down-after-milliseconds {SERVICE} 2000",
        f"sentinel failover-timeout {SERVICE} 3000",
    ]
    file = own / "sentinel.conf"
    file.write_text("\n".join(lines), encoding="utf-8")
    return Node(node.port, [node.command[0], str(file), "--sentinel"], node.log, SENTINEL_PASSWORD)
