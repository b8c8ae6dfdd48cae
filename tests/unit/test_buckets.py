"""The algorithm behind Telegram's rate, by a clock of our own; and its two forms, which must agree."""

from __future__ import annotations

import itertools
from collections import defaultdict
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from bot import buckets
from bot.buckets import BURST, CHAT_BURST, CHAT_WAITS, INTERACTIVE_BURST, SCRIPT, Hold, LocalBucket, Slot
from domain.catalog import Priority

BROADCAST, INTERACTIVE = Priority.BROADCAST, Priority.INTERACTIVE
SLACK = 1e-6

rates = st.floats(0.1, 1000)
chats = st.none() | st.integers(1, 4)
asks = st.lists(st.tuples(st.floats(0, 2), st.sampled_from(list(Priority))), min_size=1, max_size=80)
"""Seconds since the ask before, and who asks."""


def send_times(bucket: LocalBucket, given_asks: list[tuple[float, Priority]], start: float = 100.0) -> list[float]:
    """Return when those who are granted a slot send; a broadcast that is refused does not come again."""
    now, times = start, []
    for pause, priority in given_asks:
        now += pause
        slot = bucket.take(priority, now)
        assert slot.wait >= 0
        if slot.granted:
            times.append(now + slot.wait)
    return times


@given(rates, asks)
def test_no_stretch_of_time_sees_more_than_rate_and_burst(
    rate: float, given_asks: list[tuple[float, Priority]]
) -> None:
    times = sorted(send_times(LocalBucket(rate), given_asks))
    for (i, begin), (j, end) in itertools.combinations(enumerate(times), 2):
        assert j - i + 1 <= rate * (end - begin) + INTERACTIVE_BURST + SLACK * rate


@given(rates, st.floats(0, 10**6))
def test_whoever_comes_after_a_rest_sends_at_once(rate: float, now: float) -> None:
    bucket = LocalBucket(rate)
    assert bucket.take(BROADCAST, now + 1) == Slot(0.0, granted=True)


@given(rates, st.integers(1, 50))
def test_an_interactive_reply_always_gets_the_next_slot(rate: float, waiting: int) -> None:
    bucket = LocalBucket(rate)
    slots = [bucket.take(INTERACTIVE, 100.0) for _ in range(waiting)]
    assert all(slot.granted for slot in slots)
    assert slots[-1].wait == pytest.approx(max(0, waiting - INTERACTIVE_BURST) / rate, abs=SLACK)


@given(rates, st.integers(INTERACTIVE_BURST + 1, 30))
def test_a_broadcast_never_stands_before_a_reply(rate: float, replies: int) -> None:
    bucket = LocalBucket(rate)
    for _ in range(replies):
        bucket.take(INTERACTIVE, 100.0)
    refused = bucket.take(BROADCAST, 100.0)
    assert not refused.granted
    assert bucket.take(INTERACTIVE, 100.0).wait == pytest.approx(refused.wait, abs=SLACK)
    assert not bucket.take(BROADCAST, 100.0 + refused.wait).granted


@given(rates)
def test_a_refused_broadcast_is_told_when_to_come_again(rate: float) -> None:
    bucket, now = LocalBucket(rate), 100.0
    while (slot := bucket.take(BROADCAST, now)).granted:
        pass
    assert 0 < slot.wait <= 1 / rate + SLACK
    assert bucket.take(BROADCAST, now + slot.wait + SLACK).granted


@given(rates, st.lists(st.floats(0, 60), min_size=1, max_size=5), st.sampled_from(list(Priority)))
def test_a_pause_holds_everybody_back_and_the_longest_one_counts(
    rate: float, pauses: list[float], priority: Priority
) -> None:
    bucket = LocalBucket(rate)
    for seconds in pauses:
        bucket.pause(seconds, 100.0)
    longest = max(pauses)
    if longest > SLACK:
        slot = bucket.take(priority, 100.0)
        assert not slot.granted
        assert slot.wait == pytest.approx(longest, abs=SLACK)
    assert bucket.take(priority, 100.0 + longest + SLACK).granted


# ---------------------------------------------------------------- chats

Ask = tuple[float, Priority, int | None]
asks_of_chats = st.lists(st.tuples(st.floats(0, 2), st.sampled_from(list(Priority)), chats), min_size=1, max_size=80)
"""Seconds since the ask before, who asks, and for which chat."""


def answers(bucket: LocalBucket, given_asks: list[Ask], start: float = 100.0) -> list[tuple[Ask, float, Slot]]:
    """Return each ask with its moment and its answer."""
    told, now = [], start
    for ask in given_asks:
        now += ask[0]
        told.append((ask, now, bucket.take(ask[1], now, ask[2])))
    return told


@given(rates, st.floats(0.1, 10), asks_of_chats)
def test_no_chat_gets_more_than_its_rate_and_burst(rate: float, chat_rate: float, given_asks: list[Ask]) -> None:
    times: dict[int, list[float]] = defaultdict(list)
    for (_, _, chat_id), now, slot in answers(LocalBucket(rate, chat_rate), given_asks):
        if slot.granted and chat_id is not None:
            times[chat_id].append(now + slot.wait)
    for sent in times.values():
        for (i, begin), (j, end) in itertools.combinations(enumerate(sorted(sent)), 2):
            assert j - i + 1 <= chat_rate * (end - begin) + CHAT_BURST + SLACK * chat_rate


@given(rates, st.floats(0.1, 10), asks_of_chats)
def test_what_is_refused_costs_nobody_anything(rate: float, chat_rate: float, given_asks: list[Ask]) -> None:
    told = answers(LocalBucket(rate, chat_rate), given_asks)
    without = LocalBucket(rate, chat_rate)
    for (_, priority, chat_id), now, slot in told:
        if slot.granted:
            assert without.take(priority, now, chat_id) == slot


@given(rates, st.floats(0.1, 10), st.integers(CHAT_BURST + 1, 30))
def test_a_flood_to_one_chat_is_refused_while_another_is_served(rate: float, chat_rate: float, flood: int) -> None:
    bucket = LocalBucket(rate, chat_rate)
    slots = [bucket.take(BROADCAST, 100.0 + number / rate, 1) for number in range(CHAT_BURST)]
    assert all(slot.granted for slot in slots)
    now = 100.0 + CHAT_BURST / rate
    refused = [bucket.take(INTERACTIVE, now, 1) for _ in range(flood)]
    held = [slot for slot in refused if not slot.granted]
    assert all(slot.hold is Hold.CHAT for slot in held)
    assert len(refused) - len(held) <= chat_rate * (CHAT_BURST / rate + flood / rate) + 1
    assert bucket.take(INTERACTIVE, now, 2).granted


@given(rates, st.floats(0.1, 10), st.sampled_from(list(Priority)))
def test_whoever_waits_for_a_chat_is_told_when_to_come_again(rate: float, chat_rate: float, priority: Priority) -> None:
    bucket, now = LocalBucket(rate, chat_rate), 100.0
    while (slot := bucket.take(priority, now, 1)).hold is not Hold.CHAT:
        now += max(1e-3, slot.wait) if not slot.granted else 0
        if now > 100 + 10 * CHAT_BURST / rate:
            return  # the bot's own rate is below the chat's, which then never holds anybody back
    later = now + slot.wait + SLACK
    assert bucket.take(priority, later, 1).hold is not Hold.CHAT


@given(st.floats(0.1, 10), asks_of_chats)
def test_asking_whether_a_chat_is_busy_tells_the_truth_and_takes_nothing(
    chat_rate: float, given_asks: list[Ask]
) -> None:
    bucket, unasked = LocalBucket(1000, chat_rate), LocalBucket(1000, chat_rate)
    now = 100.0
    for pause, priority, chat_id in given_asks:
        now += pause + 0.1  # the bot's own rate is free again
        wait = bucket.chat_wait(chat_id, now) if chat_id else 0.0
        slot = bucket.take(priority, now, chat_id)
        assert slot == unasked.take(priority, now, chat_id)
        assert (wait > 0) == (slot.hold is Hold.CHAT)
        assert wait == (slot.wait if slot.hold is Hold.CHAT else 0.0)


def test_feedback_and_the_next_question_do_not_wait_for_one_another() -> None:
    bucket = LocalBucket(30)
    assert [bucket.take(INTERACTIVE, 100.0, 1).wait for _ in range(CHAT_BURST)] == [0.0] * CHAT_BURST


def test_chats_at_rest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "CHATS_KEPT", 50)
    bucket = LocalBucket(1000)
    for number in range(1000):
        assert bucket.take(INTERACTIVE, 100.0 + number, 1 + number).granted
    assert len(bucket._chats) <= 51  # noqa: SLF001 - memory shows nowhere else


def test_a_chat_that_has_had_its_share_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "CHATS_KEPT", 10)
    bucket = LocalBucket(1000)
    for _ in range(CHAT_BURST):
        bucket.take(INTERACTIVE, 100.0, 7)
    for chat_id in range(100, 200):
        bucket.take(INTERACTIVE, 100.5, chat_id)
    assert bucket.take(INTERACTIVE, 100.5, 7).hold is Hold.CHAT


# ---------------------------------------------------------------- in Redis

SLOW, SLOWER = 2**-13, 2**-15
"""A slot lasts hours, so that the seconds which a test takes change no answer; and it is a whole number of them."""

CHAT_SLOW, CHAT_SLOWER = 1 / 12_994, 1 / 32_086
"""No few slots of a chat end within four minutes of as many of the bot's: a tie would be decided by microseconds."""


@given(
    st.sampled_from([SLOW, SLOWER]),
    st.sampled_from([CHAT_SLOW, CHAT_SLOWER]),
    st.lists(st.tuples(st.sampled_from(list(Priority)), chats), max_size=40),
)
def test_the_script_answers_as_the_bucket_within_one_process(
    valkey_url: str, rate: float, chat_rate: float, given_asks: list[tuple[Priority, int | None]]
) -> None:
    local, name_of_bot = LocalBucket(rate, chat_rate), uuid4()  # Hypothesis repeats what is random
    with Redis.from_url(valkey_url) as redis:
        script = redis.register_script(SCRIPT)
        for priority, chat_id in given_asks:
            keys = [f"{{{name_of_bot}}}:{name}" for name in ("free", "pause", "senders", chat_id) if name]
            limits = [1 / rate, BURST[priority], int(priority), 1 / chat_rate, CHAT_BURST]
            micros, granted, hold, _ = script(keys, [*limits, "me", 60])
            slot = local.take(priority, 10**9, chat_id)
            assert (bool(granted), Hold(hold)) == (slot.granted, slot.hold)
            assert micros / 1e6 == pytest.approx(slot.wait, abs=600)
        waits = redis.eval(CHAT_WAITS, 4, *(f"{{{name_of_bot}}}:{chat_id}" for chat_id in range(1, 5)))
        assert [wait / 1e6 for wait in waits] == [
            pytest.approx(local.chat_wait(chat_id, 10**9), abs=600) for chat_id in range(1, 5)
        ]
