"""What a learner does beside writing and tapping, such as pins and edits; and what a developer does for them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from telegram import Update
from telegram.error import RetryAfter

from simulator.options import Options
from simulator.runs import RunOffer
from tests.integration.simulator.support import ALICE, BOB, World, served, world_of
from tests.integration.simulator.test_refusals import keys, png_of


async def updates_of(world: World) -> list[Update]:
    """Return what the bot has not confirmed, and confirm it."""
    updates = await world.bot.get_updates(allowed_updates=Update.ALL_TYPES)
    if updates:
        await world.bot.get_updates(updates[-1].update_id + 1)
    return list(updates)


async def send_photo(world: World, content: bytes) -> httpx.Response:
    parameters = {"bot": str(world.bot.id), "caption": "my screen"}
    return await world.http.post(f"/api/learners/{ALICE}/photos", content=content, params=parameters)


async def test_a_picture_reaches_the_bot_in_its_sizes(world: World) -> None:
    assert (await send_photo(world, png_of(1080, 1440))).status_code == 201
    (update,) = await updates_of(world)
    assert update.message is not None
    assert update.message.caption == "my screen"
    assert [size.width for size in update.message.photo][-1] == 960


async def test_what_is_no_picture_is_refused(world: World) -> None:
    answer = await send_photo(world, b"not a picture")
    assert (answer.status_code, answer.json()) == (400, {"error": "Bad Request: IMAGE_PROCESS_FAILED"})


async def test_a_reply_carries_the_message_that_it_answers(world: World) -> None:
    question = await world.bot.send_message(ALICE, "why?")
    await world.control("POST", f"learners/{ALICE}/messages", text="because", reply_to=question.message_id)
    (update,) = await updates_of(world)
    assert update.message is not None
    assert update.message.reply_to_message is not None
    assert update.message.reply_to_message.text == "why?"


async def test_an_edit_is_told_only_to_a_bot_that_asked_for_edits(world: World) -> None:
    await updates_of(world)
    number = world.say("helo")
    await updates_of(world)
    await world.control("PATCH", f"learners/{ALICE}/messages/{number}", text="hello")
    (update,) = await updates_of(world)
    assert update.edited_message is not None
    assert update.edited_message.text == "hello"
    await world.bot.get_updates(allowed_updates=[Update.MESSAGE])
    await world.control("PATCH", f"learners/{ALICE}/messages/{number}", text="hello!")
    assert await world.bot.get_updates() == ()


async def test_a_message_of_the_bot_cannot_be_edited_by_a_learner(world: World) -> None:
    message = await world.bot.send_message(ALICE, "mine")
    await world.control("PATCH", f"learners/{ALICE}/messages/{message.message_id}", 409, text="yours")


async def test_a_pin_is_told_by_a_service_message_and_can_be_taken_away(world: World) -> None:
    message = await world.bot.send_message(ALICE, "keep this")
    await world.control("PUT", f"learners/{ALICE}/pin", message_id=message.message_id)
    (update,) = await updates_of(world)
    assert update.message is not None
    assert update.message.pinned_message is not None
    assert update.message.pinned_message.message_id == message.message_id
    chat = await world.control("GET", f"learners/{ALICE}/messages")
    assert chat["pinned"]["text"] == "keep this"
    await world.control("PUT", f"learners/{ALICE}/pin", message_id=None)
    assert (await world.control("GET", f"learners/{ALICE}/messages"))["pinned"] is None
    assert await updates_of(world) == []


async def test_the_last_update_of_a_learner_is_delivered_once_more(world: World) -> None:
    world.open_chat(BOB)
    world.say("first")
    world.say("second")
    world.say("another's", BOB)
    ids = [update.update_id for update in await updates_of(world)]
    await world.control("POST", f"learners/{ALICE}/redelivery")
    (again,) = await updates_of(world)
    assert again.update_id == ids[1]
    await world.control("POST", "learners/1003/redelivery", 409)


async def test_a_forgotten_chat_leaves_nothing_to_deliver_and_begins_anew(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    world.say("hello")
    await world.control("DELETE", f"learners/{ALICE}/messages")
    assert (await world.control("GET", f"learners/{ALICE}/messages"))["messages"] == []
    assert await world.bot.get_updates() == ()
    assert "chat not found" in await world.refused(world.bot.send_message(ALICE, "are you there?"))
    await world.control("POST", f"learners/{ALICE}/taps", 404, message_id=message.message_id, data="a")
    await world.control("POST", f"learners/{ALICE}/redelivery", 409)


async def test_a_slow_call_is_held_and_then_answered(world: World) -> None:
    await world.control("POST", "faults", kind="slow", seconds=0.01, chat=ALICE)
    assert (await world.bot.send_message(ALICE, "at last")).text == "at last"
    assert world.simulator.faults.remaining() == 0


async def test_faults_are_listed_with_what_they_are_for(world: World) -> None:
    await world.control("POST", "faults", kind="429", chat=ALICE, count=9)
    with pytest.raises(RetryAfter):
        await world.bot.send_message(ALICE, "x")
    (fault,) = (await world.control("GET", "state"))["faults"]
    assert fault == {"kind": "429", "method": "*", "remaining": 8, "bot": None, "chat": ALICE}


async def log(world: World, **wanted: int) -> list[dict[str, Any]]:
    answer = await world.http.get("/api/log", params={"bot": world.bot.id, **wanted})
    return list(answer.json())


async def test_the_log_tells_updates_and_requests_of_a_chat_newest_first(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    tap = world.tap(message.message_id, "a")
    await world.bot.answer_callback_query(tap, "Got it")
    world.open_chat(BOB)
    await world.bot.send_message(BOB, "for another")
    entries = await log(world, learner=ALICE)
    assert [(one["kind"], one["name"]) for one in entries] == [
        ("request", "answerCallbackQuery"),
        ("update", "callback_query"),
        ("request", "sendMessage"),
    ]
    assert entries[1]["body"]["callback_query"]["data"] == "a"
    assert [one["name"] for one in await log(world)][:2] == ["sendMessage", "answerCallbackQuery"]
    assert len(await log(world, limit=1)) == 1


class Prefect:
    """A Prefect server that knows one deployment."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        if scope["type"] != "http":
            return
        body = (await receive())["body"].decode()
        answers = {
            "/api/deployments/name/distribute/daily": b'{"id": "7"}',
            "/api/deployments/7/create_flow_run": b'{"name": "brave-otter"}',
        }
        answer = answers.get(scope["path"])
        if scope["method"] == "POST":
            self.started.append(body)
        length = [(b"content-length", str(len(answer or b"")).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200 if answer else 404, "headers": length})
        await send({"type": "http.response.body", "body": answer or b""})


async def test_a_run_of_prefect_is_started_by_its_label() -> None:
    prefect = Prefect()
    async with served(prefect) as url:
        offers = (RunOffer("Send", "distribute/daily", {"now": True}), RunOffer("Lost", "distribute/weekly", {}))
        async with world_of(Options(prefect_ui_url=url, runs=offers)) as world:
            assert (await world.control("GET", "state"))["runs"] == ["Send", "Lost"]
            assert await world.control("POST", "runs", 202, label="Send") == {"name": "brave-otter"}
            assert prefect.started == ['{"parameters": {"now": true}}']
            await world.control("POST", "runs", 404, label="Stop")
            refusal = await world.control("POST", "runs", 409, label="Lost")
            assert "Prefect answers 404" in refusal["error"]


async def test_a_prefect_that_is_down_is_named() -> None:
    offers = (RunOffer("Send", "distribute/daily", {}),)
    async with world_of(Options(prefect_ui_url="http://127.0.0.1:9", runs=offers)) as world:
        refusal = await world.control("POST", "runs", 409, label="Send")
        assert refusal["error"].startswith("Prefect does not answer at http://127.0.0.1:9/api/deployments/name")
