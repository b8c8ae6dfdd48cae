"""Failures on order."""

import asyncio

import pytest
from telegram.error import BadRequest, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError, TimedOut

from tests.integration.simulator.support import ALICE, BOB, World
from tests.support.waiting import until


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
    await until(lambda: world.here.messages)


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


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("401", InvalidToken, "Unauthorized"),
        ("404", InvalidToken, "Not Found"),
        ("frozen", BadRequest, "Frozen_method_invalid"),
        ("500", NetworkError, "Internal Server Error"),
    ],
)
async def test_a_refusal_comes_in_telegrams_words(
    world: World, kind: str, error: type[TelegramError], words: str
) -> None:
    await world.control("POST", "faults", kind=kind)
    with pytest.raises(error) as refused:
        await world.bot.send_message(ALICE, "x")
    assert refused.value.message == words


@pytest.mark.parametrize(
    ("kind", "status"), [("403-page", 403), ("403-json", 403), ("403-empty", 403), ("401-page", 401), ("200-page", 200)]
)
async def test_what_stands_before_telegram_answers_otherwise(world: World, kind: str, status: int) -> None:
    await world.control("POST", "faults", kind=kind)
    with pytest.raises(TelegramError):
        await world.bot.send_message(ALICE, "x")
    assert (await world.control("GET", "requests"))[-1]["status"] == status
    assert (await world.control("GET", f"learners/{ALICE}/messages"))["messages"] == []


async def test_a_failure_can_be_ordered_for_one_chat(world: World) -> None:
    world.open_chat(BOB)
    await world.control("POST", "faults", kind="429", chat=BOB, count=10, retry_after=7)
    assert await world.bot.send_message(ALICE, "x")
    with pytest.raises(RetryAfter):
        await world.bot.send_message(BOB, "x")


async def test_a_failure_can_be_ordered_for_one_bot(world: World) -> None:
    await world.control("POST", "faults", kind="401", bot=world.bot.id + 1, count=10)
    assert await world.bot.send_message(ALICE, "x")


async def test_a_frozen_bot_may_read(world: World) -> None:
    await world.control("POST", "faults", kind="frozen", count=10)
    assert await world.bot.get_me()
