"""The control API: acting as learners, and asking what happened."""

import asyncio

import httpx
import orjson

from simulator.server import create_app
from tests.integration.simulator.support import ALICE, BOB, Webhook, World, served
from tests.integration.simulator.test_refusals import keys
from tests.support.waiting import WAIT_SECONDS


async def test_four_learners_are_there_at_the_first_start(world: World) -> None:
    learners = await world.control("GET", "learners")
    assert [(one["id"], one["first_name"]) for one in learners] == [(1000 + n, f"Learner {n}") for n in range(1, 5)]


async def test_a_new_learner_gets_the_next_number(world: World) -> None:
    learner = await world.control("POST", "learners", 201)
    assert (learner["id"], learner["first_name"], learner["started"]) == (1005, "Learner 5", False)


async def test_a_learner_can_be_made_with_an_open_chat(world: World) -> None:
    await world.control("POST", "learners", id=42, first_name="Ada", started=True)
    assert (await world.bot.send_message(42, "hi")).chat.first_name == "Ada"


async def test_a_number_that_is_taken_is_refused(world: World) -> None:
    await world.control("POST", "learners", 409, id=ALICE)


async def test_a_button_can_be_pressed_by_its_place(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a", "b"], ["c"]))
    tap = await world.control("POST", f"learners/{ALICE}/taps", message_id=message.message_id, row=0, column=1)
    assert tap["data"] == "b"


async def test_data_that_no_button_has_is_refused_unless_forged(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    forged = {"message_id": message.message_id, "data": "admin:1"}
    await world.control("POST", f"learners/{ALICE}/taps", 404, **forged)
    await world.control("POST", f"learners/{ALICE}/taps", 201, **forged, forge=True)
    (update,) = await world.bot.get_updates()
    assert update.callback_query is not None
    assert update.callback_query.data == "admin:1"


async def test_another_learners_message_cannot_be_pressed(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    await world.control("POST", f"learners/{BOB}/taps", 404, message_id=message.message_id, data="a")


async def test_a_learner_who_blocked_the_bot_cannot_write(world: World) -> None:
    await world.control("POST", f"learners/{ALICE}/block")
    await world.control("POST", f"learners/{ALICE}/messages", 409, text="hi")


async def test_any_update_can_be_injected(world: World) -> None:
    await world.control("POST", "updates", update_id=5, poll={"id": "1"})
    answer = await world.http.get(f"/bot{world.bot.token}/getUpdates")
    assert answer.json()["result"] == [{"update_id": 5, "poll": {"id": "1"}}]


async def test_requests_are_recorded_without_the_token(world: World) -> None:
    await world.bot.send_message(ALICE, "remember me")
    recorded = await world.control("GET", "requests?method=sendMessage")
    assert recorded[-1]["values"]["text"] == "remember me"
    assert world.bot.token.partition(":")[2] not in orjson.dumps(recorded).decode()


async def test_the_time_from_tap_to_edit_is_measured(slow_world: World) -> None:
    message = await slow_world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    slow_world.tap(message.message_id, "a")
    assert slow_world.clock is not None
    slow_world.clock.advance(1.5)
    await message.edit_text("!")
    statistics = await slow_world.control("GET", "statistics")
    assert statistics["tap_to_edit_seconds"]["p50"] == 1.5
    assert (statistics["messages_sent"], statistics["edits"], statistics["taps_without_edit"]) == (1, 1, 0)


async def test_messages_are_counted_by_second(slow_world: World) -> None:
    await slow_world.bot.send_message(ALICE, "one")
    await slow_world.bot.send_message(ALICE, "two")
    assert slow_world.clock is not None
    slow_world.clock.advance(1)
    await slow_world.bot.send_message(ALICE, "three")
    histogram = (await slow_world.control("GET", "statistics"))["sent_per_second"]
    assert list(histogram.values()) == [2, 1]


async def test_the_most_in_any_second_is_found_across_the_clocks_seconds(slow_world: World) -> None:
    assert slow_world.clock is not None
    slow_world.say("/start", BOB)
    message = await slow_world.bot.send_message(ALICE, "one")
    slow_world.clock.advance(0.75)
    await slow_world.bot.send_message(BOB, "two")
    slow_world.clock.advance(0.5)
    await slow_world.bot.send_message(BOB, "three")
    await message.edit_text("one!")
    slow_world.clock.advance(1)
    await slow_world.bot.send_message(ALICE, "four")
    assert (await slow_world.control("GET", "statistics"))["most_in_any_second"] == 3


async def test_the_time_from_a_text_to_the_message_that_answers_it_is_measured(slow_world: World) -> None:
    assert slow_world.clock is not None
    await slow_world.bot.send_message(ALICE, "nobody asked")
    for _ in range(2):
        slow_world.say("/quiz")
        slow_world.clock.advance(1.5)
    await slow_world.bot.send_message(ALICE, "?")
    told = (await slow_world.control("GET", "statistics"))["text_to_message_seconds"]
    assert (told["count"], told["max"]) == (1, 3.0)


async def test_a_crowd_starts_the_bot_and_answers_by_itself(world: World, webhook: Webhook) -> None:
    await world.bot.set_webhook(webhook.url)
    crowd = await world.control("POST", "crowd", 202, count=20, probability=1, delay=[0, 0.01], seed=1)
    starts = await webhook.got(20)
    assert {update["message"]["chat"]["id"] for update in starts} == set(crowd["learners"])
    for learner in crowd["learners"]:
        await world.bot.send_message(learner, "?", reply_markup=keys(["a"], ["b"]))
    taps = (await webhook.got(40))[20:]
    assert {update["callback_query"]["data"] for update in taps} == {"a", "b"}


async def test_a_crowd_may_stay_silent(world: World) -> None:
    crowd = await world.control("POST", "crowd", count=3, text="", probability=0)
    await world.bot.send_message(crowd["learners"][0], "?", reply_markup=keys(["a"]))
    assert world.simulator.stats.counts["taps"] == 0


async def test_a_page_of_another_site_is_refused(world: World) -> None:
    answer = await world.http.post("/api/reset", headers={"origin": "https://example.org"})
    assert answer.status_code == httpx.codes.FORBIDDEN


async def test_unreadable_requests_are_refused(world: World) -> None:
    answer = await world.http.post(f"/api/learners/{ALICE}/messages", content=b"[")
    assert answer.status_code == httpx.codes.BAD_REQUEST


async def test_without_a_bot_there_is_nobody_to_write_to() -> None:
    async with served(create_app()) as url, httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as http:
        answer = await http.post(f"/api/learners/{ALICE}/messages", json={"text": "hi"})
        assert answer.json() == {"error": "no bot has called yet"}
        assert (await http.get("/api/state")).json()["bot"] is None


async def test_the_live_stream_tells_of_each_message(world: World) -> None:
    async with world.http.stream("GET", "/api/events") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        await world.bot.send_message(ALICE, "live")
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in lines:
                if line.startswith("data: "):
                    events = orjson.loads(line.removeprefix("data: "))
                    break
    assert [event["message"]["text"] for event in events if event["type"] == "message"] == ["live"]
