"""Telegram's rate: shared by several processes through a real Valkey, and kept without it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot import rate_limiter
from bot.rate_algorithm import CHAT_BURST
from bot.rate_limiter import RateLimiter
from domain.catalog import Priority
from local import servers
from storage.redis_client import open_redis
from tests.conftest import ROOT
from tests.support.factories import some_id
from tests.support.waiting import WAIT_SECONDS, until

BROADCAST, INTERACTIVE = Priority.BROADCAST, Priority.INTERACTIVE
# ---------------------------------------------------------------- through a real Valkey


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Redis]:
    """Yield a client as the service makes it."""
    redis = open_redis(url)
    try:
        yield redis
    finally:
        await redis.aclose()


async def times_of(limiters: list[RateLimiter], each: int, priority: Priority) -> list[float]:
    """Return when each of several limiters, used at once, let its callers send, in order."""

    async def send(one: RateLimiter) -> float:
        await one.wait(priority)
        return time.monotonic()

    return sorted(await asyncio.gather(*(send(one) for one in limiters for _ in range(each))))


@pytest.mark.parametrize("priority", list(Priority))
async def test_two_clients_share_one_rate(valkey_url: str, priority: Priority) -> None:
    bot_id, rate = some_id(), 50
    async with client_of(valkey_url) as one, client_of(valkey_url) as other:
        times = await times_of([RateLimiter(one, bot_id, rate), RateLimiter(other, bot_id, rate)], 20, priority)
    assert times[-1] - times[0] >= 0.7 * 39 / rate  # half of it if each had a rate of its own


async def test_two_bots_have_a_rate_each(valkey_url: str) -> None:
    async with client_of(valkey_url) as redis:
        slow, quick = RateLimiter(redis, some_id(), 0.1 / WAIT_SECONDS), RateLimiter(redis, some_id(), 1000)
        await slow.wait(INTERACTIVE)
        async with asyncio.timeout(WAIT_SECONDS):  # the slow bot's next slot is ten times as far away
            for _ in range(10):
                await quick.wait(INTERACTIVE)


PROCESS = """
import asyncio, sys, time
from bot.rate_limiter import RateLimiter
from domain.catalog import Priority
from storage.redis_client import open_redis

async def main(url, bot_id, rate, count):
    redis = open_redis(url)
    limiter = RateLimiter(redis, int(bot_id), float(rate))
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(count)):
        await limiter.wait(Priority.INTERACTIVE)
        print(time.monotonic(), flush=True)
    await redis.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def test_two_processes_share_one_rate(valkey_url: str) -> None:
    times = times_of_two_processes(valkey_url, some_id(), rate=40, each=30)
    assert len(times) == 60
    assert times[-1] - times[0] >= 0.7 * 59 / 40


def times_of_two_processes(url: str, bot_id: int, rate: float, each: int) -> list[float]:
    """Return when each of two processes, which begin together, might send, in order."""
    arguments = [sys.executable, "-c", PROCESS, url, str(bot_id), str(rate), str(each)]
    processes = [
        subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    outputs = []
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        outputs.append(process.communicate(timeout=WAIT_SECONDS)[0].split())
        assert process.returncode == 0
    return sorted(float(text) for output in outputs for text in output)


async def test_a_reply_does_not_stand_behind_a_broadcast(valkey_url: str) -> None:
    bot_id, rate = some_id(), 20
    async with client_of(valkey_url) as one, client_of(valkey_url) as other:
        sending, replying = RateLimiter(one, bot_id, rate), RateLimiter(other, bot_id, rate)
        crowd = [asyncio.create_task(sending.wait(BROADCAST)) for _ in range(2000)]
        await until(lambda: any(task.done() for task in crowd))
        await replying.wait(INTERACTIVE)
        assert sum(task.done() for task in crowd) < len(crowd)
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)


async def pause_bot(one: RateLimiter, seconds: float) -> None:
    """Let a limiter hear from Telegram, about one chat and then another, that it is too fast."""
    for chat_id in (some_id(), some_id()):
        await one.pause_chat(chat_id, seconds)


async def test_a_pause_of_one_client_holds_the_other(valkey_url: str) -> None:
    bot_id = some_id()
    async with client_of(valkey_url) as one, client_of(valkey_url) as other:
        began = time.monotonic()
        await pause_bot(RateLimiter(one, bot_id, 1000), 0.6)
        await RateLimiter(other, bot_id, 1000).wait(INTERACTIVE)
        assert time.monotonic() - began >= 0.55


async def test_a_later_shorter_pause_does_not_cut_a_longer_one(valkey_url: str) -> None:
    bot_id = some_id()
    async with client_of(valkey_url) as one, client_of(valkey_url) as other:
        pausing = RateLimiter(one, bot_id, 1000)
        began = time.monotonic()
        await pause_bot(pausing, 0.8)
        await pause_bot(pausing, 0.05)
        await RateLimiter(other, bot_id, 1000).wait(INTERACTIVE)
        assert time.monotonic() - began >= 0.75


async def test_a_rate_below_one_a_minute_is_kept(valkey_url: str) -> None:
    """The bucket must not be forgotten before its slot has passed."""
    bot_id = some_id()
    async with client_of(valkey_url) as redis:
        await RateLimiter(redis, bot_id, 0.001).wait(INTERACTIVE)
        (key,) = [key async for key in redis.scan_iter(f"*{bot_id}*:free")]
        assert await redis.ttl(key) >= 999


# ---------------------------------------------------------------- without Valkey


async def test_busy_chats_are_named_with_the_store_and_without(valkey_url: str) -> None:
    async with client_of(valkey_url) as redis:
        for limiter_under_test in (RateLimiter(redis, some_id(), 1000, 0.01), RateLimiter(None, some_id(), 1000, 0.01)):
            for _ in range(CHAT_BURST):
                await limiter_under_test.wait(INTERACTIVE, 7)
            await limiter_under_test.wait(INTERACTIVE, 8)
            waits = await limiter_under_test.chat_waits([7, 8, 9])
            assert waits == {7: pytest.approx(100, abs=10)}
            assert await limiter_under_test.chat_waits([]) == {}


async def test_without_a_store_the_whole_rate_is_this_process_own() -> None:
    times = await times_of([RateLimiter(None, 1, 100)], 23, INTERACTIVE)
    assert times[-1] - times[0] >= 0.7 * 22 / 100


async def test_while_the_store_is_away_a_share_of_the_rate_is_kept_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client_of(f"redis://127.0.0.1:{servers.free_port()}/0") as redis:
        one = RateLimiter(redis, some_id(), 100)
        with caplog.at_level(logging.WARNING, "bot.rate_limiter"):
            times = [(await times_of([one], 1, INTERACTIVE))[0] for _ in range(23)]
    assert times[-1] - times[0] >= 0.7 * 22 / 50
    assert (
        "Redis is unavailable (ConnectionError): this process sends at its share, 50 messages a second" in caplog.text
    )
    assert len(caplog.records) == 1


async def test_a_pause_holds_even_while_the_store_is_away() -> None:
    async with client_of(f"redis://127.0.0.1:{servers.free_port()}/0") as redis:
        one = RateLimiter(redis, some_id(), 1000)
        began = time.monotonic()
        await pause_bot(one, 0.4)
        await one.wait(BROADCAST)
        assert time.monotonic() - began >= 0.38


@pytest.fixture
def valkey(tmp_path: Path) -> Callable[[int], subprocess.Popen[bytes]]:
    """Return what starts a Valkey of the test's own."""

    def start(port: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(servers.valkey_command(port, tmp_path), stdout=subprocess.DEVNULL)
        servers.wait_until_listening(port, process, tmp_path, "Valkey")
        return process

    return start


async def test_a_store_that_comes_back_is_used_again(
    valkey: Callable[[int], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rate_limiter, "RETRY_REDIS_SECONDS", 0.1)
    port, bot_id = servers.free_port(), some_id()
    process = valkey(port)
    async with client_of(f"redis://127.0.0.1:{port}/0") as redis:
        one = RateLimiter(redis, bot_id, 1000)
        await one.wait(INTERACTIVE)
        process.kill()
        process.wait()
        await one.wait(INTERACTIVE)
        assert "Redis is unavailable" in caplog.text
        process = valkey(port)

        async def in_use() -> list[str]:
            await one.wait(INTERACTIVE)
            return [key async for key in redis.scan_iter(f"*{bot_id}*:free")]

        await until(in_use)
    process.terminate()
    process.wait()
