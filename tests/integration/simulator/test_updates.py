"""Updates by long polling."""

import asyncio

import pytest
from telegram.error import Conflict

from tests.integration.simulator.support import ALICE, World
from tests.integration.simulator.test_refusals import keys
from tests.support.waiting import WAIT_SECONDS, until

LONG_POLL = 50
"""Seconds; the longest that Telegram has."""


async def test_a_command_is_marked_in_a_learners_message(world: World) -> None:
    world.say("/start now")
    (update,) = await world.bot.get_updates()
    assert update.message is not None
    assert update.message.from_user is not None
    assert (update.message.text, update.message.from_user.id) == ("/start now", ALICE)
    assert [(one.type, one.length) for one in update.message.entities] == [("bot_command", 6)]


async def test_an_offset_confirms_what_lies_below_it(world: World) -> None:
    world.say("one")
    world.say("two")
    first, second = await world.bot.get_updates()
    assert await world.bot.get_updates(offset=first.update_id + 1) == (second,)
    assert await world.bot.get_updates(offset=second.update_id + 1) == ()


async def test_what_is_not_confirmed_comes_again(world: World) -> None:
    world.say("one")
    assert await world.bot.get_updates() == await world.bot.get_updates()


async def test_a_negative_offset_keeps_only_the_last(world: World) -> None:
    for text in ("one", "two", "three"):
        world.say(text)
    (update,) = await world.bot.get_updates(offset=-1)
    assert update.message is not None
    assert update.message.text == "three"


async def test_a_long_poll_waits_for_the_next_update(world: World) -> None:
    poll = asyncio.create_task(world.bot.get_updates(timeout=LONG_POLL))
    await until(lambda: world.here.polled)
    world.say("here")
    (update,) = await poll
    assert update.message is not None
    assert update.message.text == "here"


async def test_a_second_poll_ends_the_first(world: World) -> None:
    poll = asyncio.create_task(world.bot.get_updates(timeout=LONG_POLL))
    await until(lambda: world.simulator.outboxes[world.bot.id].is_polled)
    await world.bot.get_updates()
    with pytest.raises(Conflict, match="terminated by other getUpdates request; make sure that only one bot"):
        await poll


async def test_polling_conflicts_with_a_webhook(world: World) -> None:
    await world.bot.set_webhook("http://127.0.0.1:1/")
    with pytest.raises(Conflict):
        await world.bot.get_updates()
    assert world.simulator.stats.requests[-1].description == (
        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
    )


async def test_setting_a_webhook_ends_a_poll(world: World) -> None:
    poll = asyncio.create_task(world.bot.get_updates(timeout=LONG_POLL))
    await until(lambda: world.simulator.outboxes[world.bot.id].is_polled)
    await world.bot.set_webhook("http://127.0.0.1:1/")
    with pytest.raises(Conflict, match="terminated by setWebhook request"):
        await poll


async def test_only_the_kinds_asked_for_are_kept(world: World) -> None:
    await world.bot.get_updates(allowed_updates=["callback_query"])
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    world.say("not wanted")
    world.tap(message.message_id, "a")
    assert [update.callback_query is not None for update in await world.bot.get_updates()] == [True]


async def test_blocking_and_unblocking_tell_the_bot(world: World) -> None:
    await world.control("POST", f"learners/{ALICE}/block")
    await world.control("POST", f"learners/{ALICE}/unblock")
    members = [update.my_chat_member for update in await world.bot.get_updates()]
    changes = [(one.old_chat_member.status, one.new_chat_member.status) for one in members if one]
    assert changes == [("member", "kicked"), ("kicked", "member")]


async def test_past_updates_can_be_had_again_by_polling(world: World) -> None:
    world.say("one")
    (update,) = await world.bot.get_updates()
    await world.bot.get_updates(offset=update.update_id + 1)
    assert await world.control("POST", "redeliveries", times=3) == {"deliveries": 3}
    again = await world.bot.get_updates(offset=update.update_id + 1)
    assert [one.update_id for one in again] == [update.update_id] * 3


async def test_a_long_poll_that_comes_as_the_simulator_ends_does_not_hold_it_up(world: World) -> None:
    world.simulator.stop_streams()
    async with asyncio.timeout(WAIT_SECONDS):
        assert await world.simulator.outboxes[world.bot.id].poll(0, 100, 2 * WAIT_SECONDS) == []
