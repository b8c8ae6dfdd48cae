"""Many who send at once through a real Valkey: who goes first, who waits, and for whom; told by order and by counts."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from bot import limiter
from bot.buckets import CHAT_BURST, Hold
from bot.limiter import RateLimiter
from domain.catalog import Priority
from local import servers
from redis_store import open_redis
from tests.factories import some_id

BROADCAST, INTERACTIVE = Priority.BROADCAST, Priority.INTERACTIVE
NEVER = 0.0001
"""A rate at which a second slot comes after the test."""
FLOODED = 1
WAIT_SECONDS = 60


@asynccontextmanager
async def clients(url: str, count: int) -> AsyncIterator[list[Redis]]:
    """Yield clients, each as a process of its own would have it."""
    opened = [Redis.from_url(url, socket_timeout=WAIT_SECONDS) for _ in range(count)]  # a busy machine is not away
    try:
        yield opened
    finally:
        for one in opened:
            await one.aclose()


class Senders:
    """Waits at limiters for many messages at once, and notes in which order they may go."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.order: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    def send(self, name: str, one: RateLimiter, priority: Priority, chat_id: int | None = None) -> asyncio.Task[None]:
        """Begin to wait for a message."""
        task = asyncio.create_task(self._send(name, one, priority, chat_id))
        self._tasks.append(task)
        return task

    async def _send(self, name: str, one: RateLimiter, priority: Priority, chat_id: int | None) -> None:
        await one.wait(priority, chat_id)
        self.order.append(name)

    async def until(self, name: str, count: int) -> None:
        """Wait until so many messages of a name may go."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.order.count(name) < count:
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Give up those who still wait."""
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not [one for one in results if isinstance(one, Exception)]


# ---------------------------------------------------------------- chats


async def test_a_chats_burst_is_one_for_all_processes(valkey_url: str) -> None:
    bot_id, senders = some_id(), Senders()
    async with clients(valkey_url, 3) as redis:
        limiters = [RateLimiter(one, bot_id, 500, NEVER) for one in redis]
        for one in limiters:
            for _ in range(4):
                senders.send("flood", one, INTERACTIVE, FLOODED)
        for number in range(60):
            senders.send("others", limiters[number % 3], INTERACTIVE, 100 + number)
        await senders.until("others", 60)
        await senders.until("flood", CHAT_BURST)
        await senders.stop()
    assert senders.order.count("flood") == CHAT_BURST


async def test_a_flood_holds_neither_the_broadcast_nor_replies_back(valkey_url: str) -> None:
    bot_id, senders = some_id(), Senders()
    async with clients(valkey_url, 2) as redis:
        limiters = [RateLimiter(one, bot_id, 400, NEVER) for one in redis]
        for one in limiters:
            for _ in range(20):  # before everybody else
                senders.send("flood", one, BROADCAST, FLOODED)
                senders.send("flood", one, INTERACTIVE, FLOODED)
        for number in range(200):
            senders.send("broadcast", limiters[number % 2], BROADCAST, 100 + number)
        for number in range(20):
            senders.send("reply", limiters[number % 2], INTERACTIVE, 1000 + number)
        await senders.until("broadcast", 200)
        await senders.until("flood", CHAT_BURST)
        await senders.until("reply", 20)
        await senders.stop()
    assert Counter(senders.order) == {"flood": CHAT_BURST, "broadcast": 200, "reply": 20}


async def test_messages_to_one_chat_keep_their_order(valkey_url: str) -> None:
    bot_id, senders = some_id(), Senders()
    async with clients(valkey_url, 1) as (redis,):
        one = RateLimiter(redis, bot_id, 1000, 100)
        for number in range(20):
            senders.send(str(number), one, INTERACTIVE, FLOODED)
        await senders.until("19", 1)
    assert senders.order == [str(number) for number in range(20)]


async def test_a_reply_does_not_stand_behind_a_broadcast_to_the_same_chat(valkey_url: str) -> None:
    bot_id, senders = some_id(), Senders()
    async with clients(valkey_url, 1) as (redis,):
        one = RateLimiter(redis, bot_id, 100)
        for number in range(60):
            senders.send("others", one, BROADCAST, 100 + number)
        senders.send("broadcast", one, BROADCAST, FLOODED)
        await senders.until("others", 10)
        await senders.send("reply", one, INTERACTIVE, FLOODED)
        assert "broadcast" not in senders.order
        await senders.until("broadcast", 1)


async def test_what_is_for_no_chat_counts_against_none(valkey_url: str) -> None:
    bot_id = some_id()
    async with clients(valkey_url, 1) as (redis,):
        one = RateLimiter(redis, bot_id, 1000, NEVER)
        async with asyncio.timeout(WAIT_SECONDS):
            for _ in range(5 * CHAT_BURST):
                await one.wait(INTERACTIVE)
        assert not [key async for key in redis.scan_iter(f"*{bot_id}*:chat:*")]


# ---------------------------------------------------------------- a broadcast, and learners who tap meanwhile


async def test_taps_during_a_broadcast_of_hundreds_get_the_next_slots(valkey_url: str) -> None:
    bot_id, senders = some_id(), Senders()
    async with clients(valkey_url, 3) as redis:
        limiters = [RateLimiter(one, bot_id, 50) for one in redis]
        for one in limiters:
            await one.wait(INTERACTIVE)  # connections are made
        for number in range(300):
            senders.send("broadcast", limiters[number % 2], BROADCAST, 100 + number)
        went_between = []
        for tap in range(10):
            await senders.until("broadcast", 10 * (tap + 1))
            before = senders.order.count("broadcast")
            await senders.send(f"tap {tap}", limiters[tap % 3], INTERACTIVE, 100 + tap)
            went_between.append(senders.order.count("broadcast") - before)
        assert senders.order.count("broadcast") < 300  # the taps came in the middle of it
        await senders.stop()
    assert max(went_between) <= 6  # those whose slot was granted already, of both processes


async def test_a_broadcast_goes_on_between_replies(valkey_url: str) -> None:
    bot_id, senders = some_id(), Senders()
    async with clients(valkey_url, 2) as redis:
        limiters = [RateLimiter(one, bot_id, 200) for one in redis]
        for number in range(60):
            senders.send("broadcast", limiters[number % 2], BROADCAST, 100 + number)
        for number in range(60):
            senders.send("reply", limiters[number % 2], INTERACTIVE, 1000 + number)
        await senders.until("broadcast", 60)
        await senders.until("reply", 60)
    assert Counter(senders.order) == {"broadcast": 60, "reply": 60}
    replies_first = senders.order[: 60 + 6]
    assert replies_first.count("reply") >= 55


# ---------------------------------------------------------------- Valkey goes and comes back


@contextmanager
def valkey(port: int, folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Valkey of the test's own."""
    process = subprocess.Popen([*servers.valkey_command(port, folder), *options], stdout=subprocess.DEVNULL)
    servers.wait_until_listening(port, process, folder, "Valkey")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def away_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "Redis is away" in record.message]


async def test_killed_under_load_nobody_is_lost_and_each_process_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limiter, "RETRY_REDIS_SECONDS", 0.2)
    port, bot_id, senders = servers.free_port(), some_id(), Senders()
    async with clients(f"redis://127.0.0.1:{port}/0", 3) as redis:
        limiters = [RateLimiter(one, bot_id, 300) for one in redis]
        with valkey(port, tmp_path), caplog.at_level(logging.WARNING, "bot.limiter"):
            for one in limiters:
                await one.wait(INTERACTIVE)
            for number in range(150):
                senders.send("broadcast", limiters[number % 3], BROADCAST, 100 + number)
                senders.send("reply", limiters[number % 3], INTERACTIVE, 1000 + number)
            await senders.until("broadcast", 10)
        await senders.until("broadcast", 150)
        await senders.until("reply", 150)
        assert away_lines(caplog) == [
            "Redis is away (ConnectionError): this process sends at its share, 100 messages a second, until it is back"
        ] * len(limiters)
        assert REGISTRY.get_sample_value("quiz_redis_away") == 1

        with valkey(port, tmp_path), caplog.at_level(logging.WARNING, "bot.limiter"):
            await asyncio.sleep(0.3)
            for one in limiters:
                await one.wait(INTERACTIVE)
            assert [key async for key in redis[0].scan_iter(f"*{bot_id}*:free")]
        assert caplog.text.count("Redis is back") == len(limiters)
        assert REGISTRY.get_sample_value("quiz_redis_away") == 0


async def test_a_pause_that_another_process_was_told_outlives_the_store(tmp_path: Path) -> None:
    port, bot_id = servers.free_port(), some_id()
    async with clients(f"redis://127.0.0.1:{port}/0", 2) as redis:
        told, other = (RateLimiter(one, bot_id, 1000) for one in redis)
        with valkey(port, tmp_path):
            await told.pause(10_000)
            assert (await other._take(INTERACTIVE, None)).hold is Hold.PAUSE  # noqa: SLF001 - waiting would take hours
        slot = await other._take(INTERACTIVE, None)  # noqa: SLF001
        assert (slot.granted, slot.hold) == (False, Hold.PAUSE)


async def test_chats_keep_their_rate_while_the_store_is_away() -> None:
    senders = Senders()
    async with clients(f"redis://127.0.0.1:{servers.free_port()}/0", 1) as (redis,):
        one = RateLimiter(redis, some_id(), 1000, NEVER)
        for _ in range(10):
            senders.send("flood", one, INTERACTIVE, FLOODED)
            senders.send("flood", one, BROADCAST, FLOODED)
        for number in range(40):
            senders.send("others", one, BROADCAST if number % 2 else INTERACTIVE, 100 + number)
        await senders.until("others", 40)
        await senders.until("flood", CHAT_BURST)
        await senders.stop()
    assert senders.order.count("flood") == CHAT_BURST


async def test_a_process_that_is_silent_for_long_is_counted_no_more(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot_id = some_id()
    async with clients(valkey_url, 4) as redis:
        limiters = [RateLimiter(one, bot_id, 1000) for one in redis]
        for one in limiters:
            await one.wait(INTERACTIVE)
        assert limiters[-1]._senders == 4  # noqa: SLF001 - shows elsewhere only while Redis is away
        monkeypatch.setattr(limiter, "SENDER_SECONDS", 1)
        await asyncio.sleep(1.1)
        await limiters[0].wait(INTERACTIVE)
        assert limiters[0]._senders == limiter.LEAST_SENDERS  # noqa: SLF001


# ---------------------------------------------------------------- a cluster


async def assign_all_slots(redis: Redis) -> None:
    """Make a node a cluster of its own."""
    await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")  # type: ignore[no-untyped-call]
    async with asyncio.timeout(WAIT_SECONDS):
        while b"cluster_state:ok" not in await redis.execute_command("CLUSTER", "INFO"):  # type: ignore[no-untyped-call]
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_a_cluster_serves_as_well(tmp_path: Path, scheme: str) -> None:
    port, bot_id, senders = servers.free_port(), some_id(), Senders()
    url = f"redis://127.0.0.1:{port}"
    with valkey(port, tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(servers.free_port())):
        async with clients(url, 1) as (admin,):
            await assign_all_slots(admin)
            redis = open_redis(url.replace("redis", scheme))
            one = RateLimiter(redis, bot_id, 500, NEVER)
            for number in range(30):
                senders.send("flood", one, INTERACTIVE, FLOODED)
                senders.send("others", one, BROADCAST, 100 + number)
            await senders.until("others", 30)
            await senders.until("flood", CHAT_BURST)
            await senders.stop()
            assert senders.order.count("flood") == CHAT_BURST
            assert not one._redis_away  # noqa: SLF001 - else it was the process's own bucket that kept the limits
            await one.pause(10_000)
            assert await admin.exists(f"quiz:rate:{{{bot_id}}}:pause")
            await redis.aclose()
