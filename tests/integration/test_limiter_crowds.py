"""Many who send at once through a real Valkey: who goes first, who waits, and for whom; told by order and by counts."""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from bot import rate_limiter
from bot.rate_algorithm import CHAT_BURST, MAX_BATCH, Verdict
from bot.rate_limiter import RateLimiter
from domain.catalog import Priority
from domain.errors import RateLimitedError
from local import servers
from storage.redis_client import open_redis
from tests.support.factories import some_id
from tests.support.virtual_time import most_in_a_second
from tests.support.waiting import WAIT_SECONDS, until

BROADCAST, INTERACTIVE = Priority.BROADCAST, Priority.INTERACTIVE
NEVER = 0.0001
"""A rate at which a second slot comes after the test."""
FLOODED = 1


@asynccontextmanager
async def clients(url: str, count: int) -> AsyncIterator[list[Redis]]:
    """Yield clients, each as a process of its own would have it."""
    opened = [Redis.from_url(url, socket_timeout=WAIT_SECONDS) for _ in range(count)]  # a busy machine is not away
    try:
        yield opened
    finally:
        for one in opened:
            await one.aclose()


async def verdict(one: RateLimiter, chat_id: int | None) -> Verdict:
    """Return what becomes of a reply; waiting until it may go would take hours."""
    (decision,) = await one._ask(INTERACTIVE, [chat_id])  # noqa: SLF001
    return decision.verdict


@dataclass(frozen=True)
class Call:
    """What one call of the script asked for, and the slots that it was granted; times are Valkey's, in seconds."""

    at: float
    asked: int
    slots: list[float]


def record_calls(redis: Redis) -> list[Call]:
    """Return a list to which a client adds its calls; the first one, which has to send the script, is none."""
    ask, calls = redis.evalsha, list[Call]()

    async def evalsha(sha: str, keys: int, *words: str) -> list[int]:
        answer: list[int] = await ask(sha, keys, *words)
        _, now, *told = answer
        slots = [at / 1e6 for at, one in zip(told[::2], told[1::2], strict=True) if one == Verdict.GRANTED]
        calls.append(Call(now / 1e6, keys - 3, slots))
        return answer

    redis.evalsha = evalsha  # type: ignore[method-assign, assignment]
    return calls


def slots_of(*recorded: list[Call]) -> list[float]:
    """Return the slots that processes were granted, in order."""
    return sorted(slot for calls in recorded for call in calls for slot in call.slots)


class Senders:
    """Waits at limiters for many messages at once, and notes in which order they may go."""

    def __init__(self) -> None:
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


# ---------------------------------------------------------------- chats that Telegram itself refuses


async def test_a_chat_that_telegram_refuses_waits_in_every_process_and_nobody_else_does(valkey_url: str) -> None:
    bot_id, senders = some_id(), Senders()
    async with clients(valkey_url, 2) as redis:
        told, other = (RateLimiter(one, bot_id, 1000) for one in redis)
        await told.pause_chat(FLOODED, 10_000)
        await told.pause_chat(FLOODED, 10_000)  # the same one again tells nothing about the others
        for one in (told, other):
            senders.send("refused", one, INTERACTIVE, FLOODED)
            senders.send("refused", one, BROADCAST, FLOODED)
            for number in range(20):
                senders.send("others", one, BROADCAST if number % 2 else INTERACTIVE, 100 + number)
        await senders.until("others", 40)
        assert await other.chat_waits([FLOODED, 100]) == {FLOODED: pytest.approx(10_000, abs=60)}
        await senders.stop()
    assert "refused" not in senders.order


async def test_a_second_chat_that_telegram_refuses_holds_the_bot_in_every_process(valkey_url: str) -> None:
    bot_id = some_id()
    async with clients(valkey_url, 3) as redis:
        first, second, third = (RateLimiter(one, bot_id, 1000) for one in redis)
        await first.pause_chat(1, 10_000)
        assert await verdict(third, 3) is Verdict.GRANTED
        await second.pause_chat(2, 10_000)
        for one in (first, second, third):
            assert await verdict(one, 3) is Verdict.PAUSED


async def test_without_a_store_a_chat_that_telegram_refuses_waits_alone_until_there_is_a_second() -> None:
    async with clients(f"redis://127.0.0.1:{servers.free_port()}/0", 1) as (redis,):
        for one in (RateLimiter(redis, some_id(), 1000), RateLimiter(None, some_id(), 1000)):
            await one.pause_chat(1, 10_000)
            assert await verdict(one, 1) is Verdict.CHAT_LIMITED
            assert await verdict(one, 2) is Verdict.GRANTED
            await one.pause_chat(2, 10_000)
            assert await verdict(one, 3) is Verdict.PAUSED


@pytest.mark.parametrize("priority", list(Priority))
async def test_whoever_has_no_patience_with_a_chat_is_told_how_long_it_takes(
    valkey_url: str, priority: Priority
) -> None:
    async with clients(valkey_url, 1) as (redis,):
        for one in (RateLimiter(redis, some_id(), 1000), RateLimiter(None, some_id(), 1000)):
            await one.pause_chat(FLOODED, 60)
            with pytest.raises(RateLimitedError) as told:
                await one.wait(priority, FLOODED, patience=10)
            assert told.value.retry_after == pytest.approx(60, abs=10)
            await one.wait(priority, FLOODED + 1, patience=10)


# ---------------------------------------------------------------- a broadcast, and learners who tap meanwhile


async def test_taps_during_a_broadcast_of_hundreds_get_the_next_slots(valkey_url: str) -> None:
    bot_id, senders = some_id(), Senders()
    async with clients(valkey_url, 3) as redis:
        limiters = [RateLimiter(one, bot_id, 50) for one in redis]
        for one in limiters:
            await one.wait(INTERACTIVE)  # connections are made, and Valkey knows the script
        *broadcast, taps = [record_calls(one) for one in redis]
        for number in range(300):
            senders.send("broadcast", limiters[number % 2], BROADCAST, 100 + number)
        for number in range(10):
            await senders.until("broadcast", 10 * (number + 1))
            await senders.send(f"tap {number}", limiters[2], INTERACTIVE, 100 + number)
        assert senders.order.count("broadcast") < 300  # the taps came in the middle of it
        await senders.stop()
    assert len(taps) == 10
    for tap in taps:
        went_between = [slot for slot in slots_of(*broadcast) if tap.at < slot < tap.slots[0]]
        assert len(went_between) <= 6  # those that were reserved already


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
    replies_first = senders.order[: 60 + MAX_BATCH + 6]
    assert replies_first.count("reply") >= 55


async def test_slots_are_evenly_spaced_whoever_has_them(valkey_url: str) -> None:
    bot_id, rate, senders = some_id(), 150, Senders()
    async with clients(valkey_url, 3) as redis:
        limiters = [RateLimiter(one, bot_id, rate) for one in redis]
        await limiters[0].wait(INTERACTIVE)  # Valkey knows the script
        recorded = [record_calls(one) for one in redis]
        for number in range(240):
            senders.send("broadcast", limiters[number % 3], BROADCAST, 100 + number)
        for crowd in range(2):
            await senders.until("broadcast", 50 * (crowd + 1))
            for number in range(40):
                senders.send("reply", limiters[number % 3], INTERACTIVE, 1000 + 100 * crowd + number)
        await senders.until("broadcast", 240)
        await senders.until("reply", 80)
    slots = slots_of(*recorded)
    assert len(slots) == 320
    assert min(after - before for before, after in itertools.pairwise(slots)) >= 1 / rate - 1e-5
    assert most_in_a_second(slots) <= 1.1 * rate


async def test_all_senders_of_a_broadcast_ask_in_one_call(valkey_url: str) -> None:
    senders = Senders()
    async with clients(valkey_url, 1) as (redis,):
        one = RateLimiter(redis, some_id(), 500)
        await one.wait(INTERACTIVE)  # Valkey knows the script
        calls = record_calls(redis)
        for number in range(MAX_BATCH):
            senders.send("broadcast", one, BROADCAST, 100 + number)
        await senders.until("broadcast", MAX_BATCH)
    assert calls[0].asked == MAX_BATCH
    assert len(calls) <= 2  # the last slot may lie too far ahead at first
    assert len(slots_of(calls)) == MAX_BATCH


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
    return [record.message for record in caplog.records if "Redis is unavailable" in record.message]


async def test_killed_under_load_nobody_is_lost_and_each_process_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rate_limiter, "RETRY_REDIS_SECONDS", 0.2)
    port, bot_id, senders = servers.free_port(), some_id(), Senders()
    async with clients(f"redis://127.0.0.1:{port}/0", 3) as redis:
        limiters = [RateLimiter(one, bot_id, 300) for one in redis]
        with valkey(port, tmp_path), caplog.at_level(logging.WARNING, "bot.rate_limiter"):
            for one in limiters:
                await one.wait(INTERACTIVE)
            for number in range(150):
                senders.send("broadcast", limiters[number % 3], BROADCAST, 100 + number)
                senders.send("reply", limiters[number % 3], INTERACTIVE, 1000 + number)
            await senders.until("broadcast", 10)
        for one in limiters:
            await one.wait(INTERACTIVE)
        await senders.until("broadcast", 150)
        await senders.until("reply", 150)
        told = "Redis is unavailable (ConnectionError): this process sends at its share, 100 messages a second"
        assert away_lines(caplog) == [f"{told}, until it is back"] * len(limiters)
        assert REGISTRY.get_sample_value("quiz_redis_away") == 1

        async def all_are_back() -> bool:
            for one in limiters:
                await one.wait(INTERACTIVE)
            return caplog.text.count("Redis is back") >= len(limiters)

        with valkey(port, tmp_path), caplog.at_level(logging.WARNING, "bot.rate_limiter"):
            await until(all_are_back)
            assert [key async for key in redis[0].scan_iter(f"*{bot_id}*:free")]
        assert caplog.text.count("Redis is back") == len(limiters)
        assert REGISTRY.get_sample_value("quiz_redis_away") == 0


async def test_an_answer_that_was_on_its_way_when_redis_went_does_not_bring_it_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    on_its_way: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    async def evalsha(*_: object) -> list[int]:
        if redis.evalsha.call_count == 1:
            return await on_its_way
        raise ConnectionError

    redis = Mock(evalsha=AsyncMock(side_effect=evalsha))
    limiter = RateLimiter(redis, some_id(), 300)
    first = asyncio.create_task(limiter.wait(INTERACTIVE))
    await until(lambda: redis.evalsha.called)
    await limiter.wait(INTERACTIVE)
    on_its_way.set_result([1, 0, 0, Verdict.GRANTED])
    await first
    await limiter.wait(INTERACTIVE)
    assert redis.evalsha.call_count == 2
    assert len(away_lines(caplog)) == 1
    assert "Redis is back" not in caplog.text


async def test_a_pause_that_another_process_was_told_outlives_the_store(tmp_path: Path) -> None:
    port, bot_id = servers.free_port(), some_id()
    async with clients(f"redis://127.0.0.1:{port}/0", 2) as redis:
        told, other = (RateLimiter(one, bot_id, 1000) for one in redis)
        with valkey(port, tmp_path):
            for refused in (FLOODED, 2):
                await told.pause_chat(refused, 10_000)
            assert await verdict(other, None) is Verdict.PAUSED
        assert await verdict(other, None) is Verdict.PAUSED


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
        assert limiters[-1]._processes == 4  # noqa: SLF001 - shows elsewhere only while Redis is unavailable
        monkeypatch.setattr(rate_limiter, "PROCESS_SECONDS", 1)
        await asyncio.sleep(1.1)
        await limiters[0].wait(INTERACTIVE)
        assert limiters[0]._processes == rate_limiter.MIN_PROCESSES  # noqa: SLF001


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
            assert not one._redis_unavailable  # noqa: SLF001 - else it was the process's own bucket that kept the limits
            for refused in (FLOODED, 2):
                await one.pause_chat(refused, 10_000)
            assert await admin.exists(f"quiz:rate:{{{bot_id}}}:pause")
            await redis.aclose()
