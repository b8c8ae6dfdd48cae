"""Updates by webhook: secret, acks, redelivery, order."""

import asyncio
from typing import Any

import orjson
import pytest

from simulator.delivery import retry_delay
from tests.integration.simulator.support import ALICE, BOB, Webhook, World
from tests.integration.simulator.test_refusals import keys
from tests.support.waiting import until


async def connect(world: World, webhook: Webhook, **settings: Any) -> None:
    await world.bot.set_webhook(webhook.url, **settings)


async def test_the_secret_comes_in_the_header(world: World, webhook: Webhook) -> None:
    await connect(world, webhook, secret_token="s3cret-_")
    world.say("hi")
    (update,) = await webhook.got(1)
    assert update["message"]["text"] == "hi"
    assert webhook.secrets == ["s3cret-_"]


async def test_without_a_secret_there_is_no_header(world: World, webhook: Webhook) -> None:
    await connect(world, webhook)
    world.say("hi")
    await webhook.got(1)
    assert webhook.secrets == [None]


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_any_2xx_is_an_ack(world: World, webhook: Webhook, status: int) -> None:
    webhook.statuses = [status]
    await connect(world, webhook)
    world.say("one")
    await until(lambda: not world.simulator.outboxes[world.bot.id].pending)
    assert len(webhook.updates) == 1


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
async def test_anything_else_is_delivered_again(world: World, webhook: Webhook, status: int) -> None:
    webhook.statuses = [status, status, 200]
    await connect(world, webhook)
    world.say("one")
    await webhook.got(3)
    assert len(set(webhook.ids())) == 1
    await until(lambda: len(world.simulator.stats.webhook_latencies) == 1)
    info = await world.bot.get_webhook_info()
    assert info.last_error_message == f"Wrong response from the webhook: {status} {_phrase(status)}"


def _phrase(status: int) -> str:
    return {302: "Found", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error",
            503: "Service Unavailable"}[status]  # fmt: skip


def test_delivery_is_tried_again_at_once_then_ever_later_up_to_a_minute() -> None:
    assert [retry_delay(failures) for failures in range(1, 9)] == [0, 2, 4, 8, 16, 32, 60, 60]


async def test_updates_wait_while_nobody_listens(world: World, webhook: Webhook) -> None:
    await world.bot.set_webhook("http://127.0.0.1:9/")
    world.say("one")
    await until(lambda: world.here.webhook.last_error)
    info = await world.bot.get_webhook_info()
    assert (info.pending_update_count, info.last_error_message) == (1, "Connection refused")
    await connect(world, webhook)
    await webhook.got(1)


async def test_messages_of_one_chat_come_in_order(world: World, webhook: Webhook) -> None:
    webhook.statuses = [500, 500, 200, 500, 200]
    await connect(world, webhook)
    for text in ("one", "two", "three"):
        world.say(text)
    await webhook.got(6)
    assert [update["message"]["text"] for update in webhook.updates] == ["one"] * 3 + ["two"] * 2 + ["three"]


async def test_a_stuck_chat_holds_up_no_other(world: World, webhook: Webhook) -> None:
    release = asyncio.Event()

    async def hold(update: dict[str, Any]) -> None:
        if update["message"]["chat"]["id"] == ALICE:
            await release.wait()

    webhook.gate = hold
    await connect(world, webhook)
    world.say("stuck")
    world.say("behind it")
    world.say("free", BOB)
    await until(lambda: [one for one in webhook.updates if one["message"]["chat"]["id"] == BOB])
    assert len(webhook.updates) == 2
    release.set()
    await webhook.got(3)


async def test_a_tap_does_not_wait_for_a_message_of_the_same_learner(world: World, webhook: Webhook) -> None:
    release = asyncio.Event()

    async def hold(update: dict[str, Any]) -> None:
        if "message" in update:
            await release.wait()

    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    webhook.gate = hold
    await connect(world, webhook)
    world.say("stuck")
    world.tap(message.message_id, "a")
    await until(lambda: [one for one in webhook.updates if "callback_query" in one])
    release.set()


async def test_no_more_deliveries_run_at_once_than_asked_for(world: World, webhook: Webhook) -> None:
    async def dawdle(_update: dict[str, Any]) -> None:
        await asyncio.sleep(0.02)

    webhook.gate = dawdle
    await connect(world, webhook, max_connections=3)
    for _ in range(12):
        learner = world.simulator.add_learner()
        world.say("hi", learner.id)
    await webhook.got(12)
    assert webhook.max_open == 3


async def test_a_method_call_in_the_answer_is_executed(world: World, webhook: Webhook) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    await connect(world, webhook)
    tap = world.simulator.outboxes[world.bot.id]
    webhook.reply = b""
    world.say("first")
    await until(lambda: not tap.pending)
    query = world.tap(message.message_id, "a")
    webhook.reply = orjson.dumps({"method": "answerCallbackQuery", "callback_query_id": query, "text": "ok"})
    await until(lambda: world.here.taps[query].answered)
    assert world.simulator.stats.requests[-1].method == "answercallbackquery"


async def test_a_call_that_reads_or_resets_is_not_taken_from_an_answer(world: World, webhook: Webhook) -> None:
    webhook.reply = orjson.dumps({"method": "deleteWebhook"})
    await connect(world, webhook)
    world.say("hi")
    await until(lambda: not world.simulator.outboxes[world.bot.id].pending)
    assert (await world.bot.get_webhook_info()).url == webhook.url


async def test_kinds_not_asked_for_are_not_delivered(world: World, webhook: Webhook) -> None:
    await connect(world, webhook, allowed_updates=["my_chat_member"])
    world.say("not wanted")
    await world.control("POST", f"learners/{ALICE}/block")
    (update,) = await webhook.got(1)
    assert "my_chat_member" in update
    assert (await world.bot.get_webhook_info()).allowed_updates == ("my_chat_member",)


async def test_pending_updates_can_be_dropped(world: World, webhook: Webhook) -> None:
    world.say("forgotten")
    await connect(world, webhook, drop_pending_updates=True)
    world.say("kept")
    (update,) = await webhook.got(1)
    assert update["message"]["text"] == "kept"


async def test_an_update_too_old_is_given_up(slow_world: World, webhook: Webhook) -> None:
    message = await slow_world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    slow_world.tap(message.message_id, "a")
    assert slow_world.clock is not None
    slow_world.clock.advance(151)
    webhook.statuses = [500]
    await connect(slow_world, webhook)
    await until(lambda: not slow_world.simulator.outboxes[slow_world.bot.id].pending)
    assert len(webhook.updates) <= 1


async def test_all_past_updates_can_be_redelivered_shuffled(world: World, webhook: Webhook) -> None:
    await connect(world, webhook)
    for number in range(10):
        world.say(str(number))
    first = [update["update_id"] for update in await webhook.got(10)]
    await world.control("POST", "redeliveries", times=2, seed=1)
    again = [update["update_id"] for update in (await webhook.got(30))[10:]]
    assert sorted(again) == sorted(first * 2)
    assert again[:10] != first


async def test_a_webhook_that_hangs_up_gets_the_update_again(world: World) -> None:
    calls = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        await reader.readuntil(b"}")
        calls += 1
        if calls > 1:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        await world.bot.set_webhook(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        world.say("hi")
        await until(lambda: not world.simulator.outboxes[world.bot.id].pending)
    assert calls == 2
    assert world.here.webhook.last_error == "Webhook connection closed"
