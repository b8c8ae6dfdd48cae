"""Failures on order."""

import asyncio

import pytest
from telegram.error import BadRequest, Forbidden, NetworkError, RetryAfter, TimedOut

from tests.simulator.support import ALICE, World


async def test_the_next_calls_of_a_method_fail_and_then_no_more(world: World) -> None:
    await world.control("POST", "faults", method="sendMessage", kind="429", count=2, retry_after=7)
    for _ in range(2):
        with pytest.raises(RetryAfter):
            await world.bot.send_message(ALICE, "x")
    assert await world.bot.send_message(ALICE, "x")


async def test_other_methods_are_spared(world: World) -> None:
    await world.control("POST", "faults", method="editMessageText", kind="502")
    assert await world.bot.send_message(ALICE, "x")


async def test_a_bad_gateway_is_a_network_error(world: World) -> None:
    await world.control("POST", "faults", kind="502")
    with pytest.raises(NetworkError) as error:
        await world.bot.get_me()
    assert not isinstance(error.value, BadRequest)


async def test_a_forbidden_call_reads_as_blocked(world: World) -> None:
    await world.control("POST", "faults", method="sendMessage", kind="403")
    with pytest.raises(Forbidden):
        await world.bot.send_message(ALICE, "x")


async def test_a_reset_call_has_taken_effect(world: World) -> None:
    await world.control("POST", "faults", method="sendMessage", kind="reset")
    with pytest.raises(NetworkError):
        await world.bot.send_message(ALICE, "ambiguous")
    shown = await world.control("GET", f"learners/{ALICE}/messages")
    assert [one["text"] for one in shown["messages"]] == ["ambiguous"]


async def test_a_reset_before_the_effect_can_be_ordered(world: World) -> None:
    await world.control("POST", "faults", method="sendMessage", kind="reset", applied=False)
    with pytest.raises(NetworkError):
        await world.bot.send_message(ALICE, "lost")
    assert (await world.control("GET", f"learners/{ALICE}/messages"))["messages"] == []


async def test_a_hanging_call_is_held_until_its_caller_gives_up(world: World) -> None:
    await world.control("POST", "faults", method="sendMessage", kind="hang", seconds=30)
    with pytest.raises(TimedOut):
        await world.bot.send_message(ALICE, "x", read_timeout=0.1)
    assert len(world.here.messages) == 1


async def test_failures_can_be_called_off(world: World) -> None:
    await world.control("POST", "faults", kind="hang", count=5)
    call = asyncio.create_task(world.bot.get_me())
    while (await world.control("GET", "faults"))["remaining"] == 5:
        await asyncio.sleep(0.01)
    await world.control("DELETE", "faults")
    with pytest.raises(NetworkError):
        await call
    assert await world.bot.get_me()


async def test_an_unknown_kind_is_refused(world: World) -> None:
    await world.control("POST", "faults", 409, kind="earthquake")
