"""Rate limits, under a clock that the test turns."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from telegram.error import RetryAfter

from simulator.limits import Bucket
from simulator.options import Options
from tests.integration.simulator.support import ALICE, BOB, World, world_of
from tests.integration.simulator.test_refusals import keys
from tests.support.manual_clock import ManualClock


async def fill(world: World, count: int) -> None:
    """Send to so many chats, one message each."""
    for _ in range(count):
        learner = world.simulator.add_learner()
        world.open_chat(learner.id)
        await world.bot.send_message(learner.id, "x")


async def test_a_bot_sends_30_messages_in_a_burst_and_then_must_wait(slow_world: World) -> None:
    await fill(slow_world, 30)
    with pytest.raises(RetryAfter):
        await slow_world.bot.send_message(ALICE, "x")
    form = {"chat_id": ALICE, "text": "x"}
    answer = await slow_world.http.post(f"/bot{slow_world.bot.token}/sendMessage", data=form)
    assert answer.status_code == 429
    assert answer.json() == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 3",
        "parameters": {"retry_after": 3},
    }


async def test_a_limited_bot_stays_limited_until_the_time_told(slow_world: World) -> None:
    await fill(slow_world, 30)
    assert "retry after 3" in await slow_world.refused(slow_world.bot.send_message(ALICE, "x"))
    assert slow_world.clock is not None
    slow_world.clock.advance(2)
    assert "retry after 1" in await slow_world.refused(slow_world.bot.send_message(ALICE, "x"))
    slow_world.clock.advance(1)
    assert await slow_world.bot.send_message(ALICE, "x")


async def test_one_chat_takes_a_short_burst_and_then_one_message_a_second(slow_world: World) -> None:
    for _ in range(5):
        await slow_world.bot.send_message(ALICE, "x")
    assert "retry after 1" in await slow_world.refused(slow_world.bot.send_message(ALICE, "x"))
    assert slow_world.clock is not None
    slow_world.clock.advance(1)
    assert await slow_world.bot.send_message(ALICE, "x")


async def test_a_chat_that_has_had_its_share_holds_no_other_back(slow_world: World) -> None:
    for _ in range(5):
        await slow_world.bot.send_message(ALICE, "x")
    await slow_world.refused(slow_world.bot.send_message(ALICE, "x"))
    slow_world.open_chat(BOB)
    assert await slow_world.bot.send_message(BOB, "x")
    told = await slow_world.control("GET", "statistics")
    assert (told["too_many_requests"], told["too_many_requests_to_a_chat"]) == (1, 1)


async def test_what_is_refused_to_a_chat_spends_nothing_of_the_bots(slow_world: World) -> None:
    for _ in range(5):
        await slow_world.bot.send_message(ALICE, "x")
    for _ in range(40):
        await slow_world.refused(slow_world.bot.send_message(ALICE, "x"))
    await fill(slow_world, 25)


@pytest.mark.parametrize("kind", ["photo", "document"])
async def test_files_count(slow_world: World, kind: str) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    send = slow_world.bot.send_photo if kind == "photo" else slow_world.bot.send_document
    for _ in range(5):
        await send(ALICE, picture.getvalue())
    assert "retry after 1" in await slow_world.refused(send(ALICE, picture.getvalue()))


async def test_edits_of_keyboards_and_captions_count(slow_world: World) -> None:
    message = await slow_world.bot.send_document(ALICE, b"content", caption="0")
    for number in range(1, 3):
        await message.edit_caption(str(number))
        await message.edit_reply_markup(keys([str(number)]))
    assert "retry after 1" in await slow_world.refused(message.edit_caption("3"))
    assert "retry after 1" in await slow_world.refused(message.edit_reply_markup(keys(["3"])))


async def test_paid_messages_go_beyond_the_free_rate(slow_world: World) -> None:
    learners = [slow_world.simulator.add_learner().id for _ in range(1001)]
    for learner in learners:
        slow_world.open_chat(learner)
    for learner in learners[:1000]:
        await slow_world.bot.send_message(learner, "x", allow_paid_broadcast=True)
    refused = slow_world.bot.send_message(learners[1000], "x", allow_paid_broadcast=True)
    assert "retry after 3" in await slow_world.refused(refused)
    assert await slow_world.bot.send_message(learners[1000], "x")


async def test_paid_messages_keep_to_the_chats_rate(slow_world: World) -> None:
    for _ in range(5):
        await slow_world.bot.send_message(ALICE, "x", allow_paid_broadcast=True)
    assert "retry after 1" in await slow_world.refused(
        slow_world.bot.send_message(ALICE, "x", allow_paid_broadcast=True)
    )


async def test_edits_count(slow_world: World) -> None:
    message = await slow_world.bot.send_message(ALICE, "0")
    for number in range(1, 5):
        await message.edit_text(str(number))
    assert "retry after 1" in await slow_world.refused(message.edit_text("5"))


async def test_answers_and_chat_actions_do_not_count(slow_world: World) -> None:
    message = await slow_world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    for _ in range(40):
        await slow_world.bot.send_chat_action(ALICE, "typing")
        await slow_world.bot.answer_callback_query(slow_world.tap(message.message_id, "a"))
    assert await slow_world.bot.send_message(ALICE, "still")


async def test_refusals_are_counted(slow_world: World) -> None:
    await fill(slow_world, 30)
    for _ in range(3):
        await slow_world.refused(slow_world.bot.send_message(ALICE, "x"))
    assert (await slow_world.control("GET", "statistics"))["too_many_requests"] == 3


async def test_a_rate_of_zero_is_no_limit() -> None:
    async with world_of(Options(bot_rate=0, chat_rate=0), ManualClock()) as world:
        for _ in range(60):
            await world.bot.send_message(ALICE, "x")
        assert world.simulator.stats.counts["messages_sent"] == 60


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 40), st.integers(1, 40))
def test_a_bucket_never_lets_more_through_than_rate_and_burst(gaps: list[float], rate: int, burst: int) -> None:
    bucket, now, passed = Bucket(rate, burst), 0.0, 0
    for gap in gaps:
        now += gap
        if not bucket.wait(now):
            bucket.take()
            passed += 1
    assert passed <= burst + now * rate + 1e-6


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5))
def test_after_the_wait_told_a_call_goes_through(rate: int, burst: int, least: int) -> None:
    bucket = Bucket(rate, burst)
    for _ in range(burst):
        assert bucket.wait(0.0, least) == 0
        bucket.take()
    seconds = bucket.wait(0.0, least)
    assert seconds >= least
    assert bucket.wait(float(seconds), least) == 0
