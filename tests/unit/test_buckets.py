"""The algorithm behind Telegram's rate, by a clock of our own."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import rate_algorithm
from bot.rate_algorithm import (
    CHAT_BURST,
    LOOK_AHEAD_SECONDS,
    MAX_BATCH,
    SECOND_CHAT_SECONDS,
    Decision,
    LocalBucket,
    Verdict,
    look_ahead,
)
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
        decision = bucket.take(priority, now)
        assert decision.at >= now
        if decision.verdict is Verdict.GRANTED:
            times.append(decision.at)
    return times


@given(rates, asks)
def test_slots_are_never_closer_than_the_rate_allows(rate: float, given_asks: list[tuple[float, Priority]]) -> None:
    for before, after in itertools.pairwise(send_times(LocalBucket(rate), given_asks)):
        assert after - before >= 1 / rate - SLACK


@given(rates, st.floats(0, 10**6))
def test_whoever_comes_after_a_rest_sends_at_once(rate: float, now: float) -> None:
    bucket = LocalBucket(rate)
    assert bucket.take(BROADCAST, now + 1) == Decision(now + 1, Verdict.GRANTED)


@given(rates, st.integers(1, 50))
def test_an_interactive_reply_always_gets_the_next_slot(rate: float, waiting: int) -> None:
    bucket = LocalBucket(rate)
    decisions = [bucket.take(INTERACTIVE, 100.0) for _ in range(waiting)]
    assert all(decision.verdict is Verdict.GRANTED for decision in decisions)
    assert decisions[-1].at == pytest.approx(100 + (waiting - 1) / rate, abs=SLACK)


@given(rates, st.integers(MAX_BATCH + 1, 40))
def test_a_broadcast_never_stands_before_replies(rate: float, replies: int) -> None:
    bucket = LocalBucket(rate)
    last = [bucket.take(INTERACTIVE, 100.0) for _ in range(replies)][-1]
    refused = bucket.take(BROADCAST, 100.0)
    if last.at > 100 + LOOK_AHEAD_SECONDS:
        assert refused.verdict is Verdict.BOT_LIMITED
    if refused.verdict is Verdict.BOT_LIMITED:
        assert bucket.take(INTERACTIVE, 100.0).at == pytest.approx(last.at + 1 / rate, abs=SLACK)
        assert bucket.take(BROADCAST, refused.at - look_ahead(BROADCAST, rate)).verdict is Verdict.BOT_LIMITED


@given(rates)
def test_a_broadcast_reserves_few_slots_and_is_told_when_to_come_again(rate: float) -> None:
    bucket = LocalBucket(rate)
    *granted, refused = bucket.take_all(BROADCAST, 100.0, [None] * 2 * MAX_BATCH)
    assert refused.verdict is Verdict.BOT_LIMITED
    assert len(granted) <= min(MAX_BATCH, rate * LOOK_AHEAD_SECONDS + 1) + SLACK
    assert 100 < refused.at < granted[-1].at + 1 / rate  # before the slot that it will have: none is lost
    again = bucket.take(BROADCAST, refused.at)
    assert again.verdict is Verdict.GRANTED
    assert again.at == pytest.approx(granted[-1].at + 1 / rate, abs=SLACK)


@given(rates, st.lists(st.floats(0, 60), min_size=1, max_size=5), st.sampled_from(list(Priority)))
def test_a_pause_holds_everybody_back_and_the_longest_one_counts(
    rate: float, pauses: list[float], priority: Priority
) -> None:
    bucket = LocalBucket(rate)
    for seconds in pauses:
        bucket.pause(seconds, 100.0)
    longest = max(pauses)
    if longest > SLACK:
        assert bucket.take(priority, 100.0) == Decision(100.0 + longest, Verdict.PAUSED)
    assert bucket.take(priority, 100.0 + longest + SLACK).verdict is Verdict.GRANTED


# ---------------------------------------------------------------- chats

Ask = tuple[float, Priority, int | None]
asks_of_chats = st.lists(st.tuples(st.floats(0, 2), st.sampled_from(list(Priority)), chats), min_size=1, max_size=80)
"""Seconds since the ask before, who asks, and for which chat."""


def answers(bucket: LocalBucket, given_asks: list[Ask], start: float = 100.0) -> list[tuple[Ask, float, Decision]]:
    """Return each ask with its moment and its answer."""
    told, now = [], start
    for ask in given_asks:
        now += ask[0]
        told.append((ask, now, bucket.take(ask[1], now, ask[2])))
    return told


@given(rates, st.floats(0.1, 10), asks_of_chats)
def test_no_chat_gets_more_than_its_rate_and_burst(rate: float, chat_rate: float, given_asks: list[Ask]) -> None:
    times: dict[int, list[float]] = defaultdict(list)
    for (_, _, chat_id), _, decision in answers(LocalBucket(rate, chat_rate), given_asks):
        if decision.verdict is Verdict.GRANTED and chat_id is not None:
            times[chat_id].append(decision.at)
    for sent in times.values():
        for (i, begin), (j, end) in itertools.combinations(enumerate(sorted(sent)), 2):
            assert j - i + 1 <= chat_rate * (end - begin) + CHAT_BURST + SLACK * chat_rate


@given(rates, st.floats(0.1, 10), asks_of_chats)
def test_what_is_refused_costs_nobody_anything(rate: float, chat_rate: float, given_asks: list[Ask]) -> None:
    told = answers(LocalBucket(rate, chat_rate), given_asks)
    without = LocalBucket(rate, chat_rate)
    for (_, priority, chat_id), now, decision in told:
        if decision.verdict is Verdict.GRANTED:
            assert without.take(priority, now, chat_id) == decision


@given(rates, st.floats(0.1, 10), asks_of_chats)
def test_asking_for_several_at_once_is_asking_for_one_after_another(
    rate: float, chat_rate: float, given_asks: list[Ask]
) -> None:
    together, alone = LocalBucket(rate, chat_rate), LocalBucket(rate, chat_rate)
    for priority in Priority:
        chat_ids = [chat_id for _, asks_as, chat_id in given_asks if asks_as is priority]
        decisions = together.take_all(priority, 100.0, chat_ids)
        assert decisions == [alone.take(priority, 100.0, chat_id) for chat_id in chat_ids[: len(decisions)]]
        if len(decisions) < len(chat_ids):
            assert decisions[-1].verdict is Verdict.BOT_LIMITED


@given(rates, st.floats(0.1, 10), st.integers(CHAT_BURST + 1, 30))
def test_a_flood_to_one_chat_is_refused_while_another_is_served(rate: float, chat_rate: float, flood: int) -> None:
    bucket = LocalBucket(rate, chat_rate)
    decisions = [bucket.take(BROADCAST, 100.0 + number / rate, 1) for number in range(CHAT_BURST)]
    assert all(decision.verdict is Verdict.GRANTED for decision in decisions)
    now = 100.0 + CHAT_BURST / rate
    refused = [bucket.take(INTERACTIVE, now, 1) for _ in range(flood)]
    held = [decision for decision in refused if decision.verdict is not Verdict.GRANTED]
    assert all(decision.verdict is Verdict.CHAT_LIMITED for decision in held)
    assert len(refused) - len(held) <= chat_rate * (CHAT_BURST / rate + flood / rate) + 1
    assert bucket.take(INTERACTIVE, now, 2).verdict is Verdict.GRANTED


@given(rates, st.floats(0.1, 10), st.sampled_from(list(Priority)))
def test_whoever_waits_for_a_chat_is_told_when_to_come_again(rate: float, chat_rate: float, priority: Priority) -> None:
    bucket, now = LocalBucket(rate, chat_rate), 100.0
    while (decision := bucket.take(priority, now, 1)).verdict is not Verdict.CHAT_LIMITED:
        now = max(now, decision.at)
        if now > 100 + 10 * CHAT_BURST / rate:
            return  # the bot's own rate is below the chat's, which then never holds anybody back
    assert bucket.take(priority, decision.at + SLACK, 1).verdict is not Verdict.CHAT_LIMITED


@given(st.floats(0.1, 10), asks_of_chats)
def test_asking_whether_a_chat_is_busy_tells_the_truth_and_takes_nothing(
    chat_rate: float, given_asks: list[Ask]
) -> None:
    bucket, unasked = LocalBucket(1000, chat_rate), LocalBucket(1000, chat_rate)
    now = 100.0
    for pause, priority, chat_id in given_asks:
        now += pause + 0.1  # the bot's own rate is free again
        wait = bucket.chat_wait(chat_id, now) if chat_id else 0.0
        decision = bucket.take(priority, now, chat_id)
        assert decision == unasked.take(priority, now, chat_id)
        assert (wait > 0) == (decision.verdict is Verdict.CHAT_LIMITED)
        assert wait == decision.at - now


def test_no_chat_holds_feedback_and_the_next_question_back() -> None:
    bucket = LocalBucket(30)
    decisions = [bucket.take(INTERACTIVE, 100.0, 1) for _ in range(CHAT_BURST)]
    assert [decision.at for decision in decisions] == [pytest.approx(100 + n / 30) for n in range(CHAT_BURST)]


def test_chats_at_rest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_algorithm, "CHATS_KEPT", 50)
    bucket = LocalBucket(1000)
    for number in range(1000):
        assert bucket.take(INTERACTIVE, 100.0 + number, 1 + number).verdict is Verdict.GRANTED
    assert len(bucket._chats) <= 51  # noqa: SLF001 - memory shows nowhere else


def test_a_chat_that_has_had_its_share_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_algorithm, "CHATS_KEPT", 10)
    bucket = LocalBucket(1000)
    for _ in range(CHAT_BURST):
        bucket.take(INTERACTIVE, 100.0, 7)
    for chat_id in range(100, 200):
        bucket.take(INTERACTIVE, 100.5, chat_id)
    assert bucket.take(INTERACTIVE, 100.5, 7).verdict is Verdict.CHAT_LIMITED


@given(st.floats(20, 60), st.floats(0, 20), st.sampled_from([1, 2]))
def test_a_second_chat_that_is_refused_soon_after_the_first_tells_of_the_bot(
    seconds: float, between: float, next_chat: int
) -> None:
    bucket = LocalBucket(1000)
    bucket.pause_chat(1, seconds, 100.0)
    assert bucket.take(INTERACTIVE, 100.0, 2).verdict is Verdict.GRANTED
    now = 100.0 + between
    bucket.pause_chat(next_chat, seconds, now)
    assert bucket.is_paused(now) == (next_chat != 1 and between < SECOND_CHAT_SECONDS)
    assert bucket.chat_wait(next_chat, now) == pytest.approx(seconds)


def test_a_chats_wait_is_never_made_shorter() -> None:
    bucket = LocalBucket(1000)
    for seconds in (60.0, 5.0):
        bucket.pause_chat(1, seconds, 100.0)
    assert bucket.chat_wait(1, 100.0) == 60.0
