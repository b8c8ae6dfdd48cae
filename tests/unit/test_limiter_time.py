"""How the limiter uses slots by a clock of the test's own: many processes, stalls, delays and cancellations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.rate_algorithm import LOOK_AHEAD_SECONDS, MAX_BATCH, LocalBucket, look_ahead
from bot.rate_limiter import RateLimiter
from domain.catalog import Priority
from tests.support.virtual_time import Clock, most_in_a_second, run_in

BROADCAST, INTERACTIVE = Priority.BROADCAST, Priority.INTERACTIVE
RATE = 30
MOST = 33
"""The rate and a tenth of it."""

seeds = st.integers(0, 2**32)


@dataclass
class SharedBucket:
    """Answers as the script in Redis does, which another test compares; each way takes a moment."""

    clock: Clock
    random: Random
    rate: float = RATE
    chat_rate: float = 1.0
    calls: list[int] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self._bucket = LocalBucket(self.rate, self.chat_rate)

    async def evalsha(self, _sha: str, keys: int, *words: str) -> list[int]:
        """Take a slot for each chat."""
        self.calls.append(keys - 3)
        await asyncio.sleep(self.random.uniform(0.0005, 0.005))
        if self.error:
            raise self.error
        now = self.clock.now
        priority = next(one for one in Priority if words[keys + 1] == str(look_ahead(one, self.rate)))
        chats = [None if key == words[0] else int(key.rpartition(":")[2]) for key in words[3:keys]]
        decisions = self._bucket.take_all(priority, now, chats)
        await asyncio.sleep(self.random.uniform(0.0005, 0.005))
        moments = [number for decision in decisions for number in (round(decision.at * 1e6), int(decision.verdict))]
        return [2, round(now * 1e6), *moments]


class Scene:
    """Processes of one bot, and when Telegram received what they sent."""

    def __init__(self, clock: Clock, seed: int = 0, processes: int = 1, rate: float = RATE) -> None:
        self.clock, self.random = clock, Random(seed)
        self.shared = SharedBucket(clock, self.random, rate)
        self.limiters = [RateLimiter(cast("Redis", self.shared), 1, rate) for _ in range(processes)]
        self.received: list[float] = []
        self.order: list[Priority] = []
        self._chats = count(1)

    async def send(self, one: RateLimiter, priority: Priority, chat_id: int | None = None) -> None:
        """Send a message, which takes up to 20 ms to arrive."""
        await one.wait(priority, chat_id or next(self._chats))
        self.order.append(priority)
        self.received.append(self.clock.now + self.random.uniform(0, 0.02))

    async def broadcast(self, messages: int, senders: int = 16, seconds_each: float = 0.05) -> None:
        """Send to many chats from every process."""

        async def sender(one: RateLimiter, waiting: Iterator[int]) -> None:
            for _ in waiting:
                await self.send(one, BROADCAST)
                await asyncio.sleep(seconds_each)

        async with asyncio.TaskGroup() as group:
            for one in self.limiters:
                waiting = iter(range(messages // len(self.limiters)))
                for _ in range(senders):
                    group.create_task(sender(one, waiting))

    async def answer(self, learners: int) -> None:
        """Give feedback and the next question to learners who tap at once, in any process."""

        async def serve() -> None:
            one, chat_id = self.random.choice(self.limiters), next(self._chats)
            await self.send(one, INTERACTIVE, chat_id)
            await self.send(one, INTERACTIVE, chat_id)

        async with asyncio.TaskGroup() as group:
            for _ in range(learners):
                group.create_task(serve())

    async def taps(self, crowds: list[tuple[float, int]]) -> None:
        """Let crowds tap one after another, each so many seconds after the one before."""
        async with asyncio.TaskGroup() as group:
            for pause, learners in crowds:
                await asyncio.sleep(pause)
                group.create_task(self.answer(learners))

    async def stall(self, longest: float) -> None:
        """Hold every process up now and then, until cancelled."""
        while True:
            await asyncio.sleep(self.random.uniform(0.05, 1))
            self.clock.now += self.random.uniform(0, longest)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """Yield the clock that limiters go by."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr("bot.rate_limiter.time", clock)
        yield clock


crowds = st.lists(st.tuples(st.floats(0, 3), st.sampled_from([1, 2, 5, 40])), max_size=8)
"""Seconds since the crowd before, and how many learners tap at once."""


@settings(max_examples=30)
@given(seeds, st.sampled_from([1, 2, 4]), st.sampled_from([0, 100]), crowds)
def test_no_second_sees_more_than_the_rate_and_a_tenth(
    clock: Clock, seed: int, processes: int, broadcast: int, given_crowds: list[tuple[float, int]]
) -> None:
    async def main() -> None:
        stalling = asyncio.create_task(scene.stall(0.03))
        await asyncio.gather(scene.broadcast(broadcast), scene.taps(given_crowds))
        stalling.cancel()

    scene = Scene(clock, seed, processes)
    run_in(clock, main())
    assert most_in_a_second(scene.received) <= MOST
    assert len(scene.received) == broadcast + 2 * sum(learners for _, learners in given_crowds)


@settings(max_examples=20)
@given(seeds, crowds)
def test_a_process_that_was_held_up_for_long_does_not_make_up_for_it_at_once(
    clock: Clock, seed: int, given_crowds: list[tuple[float, int]]
) -> None:
    async def main() -> None:
        stalling = asyncio.create_task(scene.stall(1))
        await asyncio.gather(scene.broadcast(100), scene.taps(given_crowds))
        stalling.cancel()

    scene = Scene(clock, seed)
    run_in(clock, main())
    assert most_in_a_second(scene.received) <= MOST


@settings(max_examples=10)
@given(seeds, st.sampled_from([1, 2, 4]))
def test_a_broadcast_loses_no_slot_although_processes_wake_up_late(clock: Clock, seed: int, processes: int) -> None:
    async def main() -> None:
        stalling = asyncio.create_task(scene.stall(0.03))
        await scene.broadcast(1000)
        stalling.cancel()

    scene = Scene(clock, seed, processes)
    run_in(clock, main())
    assert max(scene.received) - min(scene.received) <= 1.005 * 1000 / RATE


def test_senders_of_a_broadcast_ask_together(clock: Clock) -> None:
    scene = Scene(clock, rate=1000)
    run_in(clock, scene.broadcast(1600, seconds_each=0))
    assert len(scene.shared.calls) <= 1600 / 4
    assert max(scene.shared.calls) <= MAX_BATCH


@settings(max_examples=20)
@given(seeds, st.sampled_from([30, 1000]))
def test_a_reply_goes_before_all_of_a_broadcast_but_what_is_reserved(clock: Clock, seed: int, rate: int) -> None:
    async def main() -> list[int]:
        broadcast = asyncio.create_task(scene.broadcast(300))
        went_between = []
        for _ in range(5):
            await asyncio.sleep(scene.random.uniform(0, 0.05))
            before = len(scene.order)
            await scene.send(scene.limiters[0], INTERACTIVE)
            went_between.append(len(scene.order) - before - 1)
        broadcast.cancel()
        return went_between

    scene = Scene(clock, seed, 2, rate)
    in_the_time_of_an_ask = rate * 0.01 + 1
    assert max(run_in(clock, main())) <= min(MAX_BATCH, rate * LOOK_AHEAD_SECONDS) + in_the_time_of_an_ask


# ---------------------------------------------------------------- who gives up


@pytest.mark.parametrize("first", [True, False])
def test_whoever_gives_up_holds_nobody_up_and_costs_one_slot_at_most(clock: Clock, *, first: bool) -> None:
    async def main(moment: float) -> None:
        tasks = [asyncio.create_task(scene.send(scene.limiters[0], BROADCAST)) for _ in range(8)]
        await asyncio.sleep(moment)
        given_up = tasks.pop(0 if first else 4)
        given_up.cancel()
        began = clock.now
        await asyncio.gather(*tasks)
        assert clock.now - began <= 8 / RATE + 0.05

    for number in range(60):  # at each of the moments at which anything happens
        scene = Scene(clock, number)
        run_in(clock, main(number * 0.004))
        assert len(scene.received) >= 7


def test_whoever_waits_does_not_hang_when_all_tasks_are_cancelled(clock: Clock) -> None:
    async def main(moment: float) -> None:
        one = scene.limiters[0]
        tasks = [asyncio.create_task(scene.send(one, BROADCAST)) for _ in range(8)]
        await asyncio.sleep(moment)
        known = {*tasks, asyncio.current_task()}
        (asking,) = asyncio.all_tasks() - known
        asking.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(result, asyncio.CancelledError) for result in results)
        await scene.send(one, BROADCAST)

    for number in range(20):
        scene = Scene(clock, number)
        run_in(clock, main(number * 0.004))


def test_an_error_reaches_everybody_who_waits_and_nobody_later(clock: Clock) -> None:
    async def main() -> None:
        one = scene.limiters[0]
        scene.shared.error = ValueError("what the client does not expect")
        results = await asyncio.gather(*(scene.send(one, BROADCAST) for _ in range(40)), return_exceptions=True)
        assert all(isinstance(result, ValueError) for result in results)
        scene.shared.error = None
        await scene.send(one, BROADCAST)

    scene = Scene(clock)
    run_in(clock, main())
