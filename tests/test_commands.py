"""What learners type and tap besides answers, through the real webhook."""

from __future__ import annotations

import json
from datetime import time

from domain import models
from domain.catalog import Topic
from domain.ids import LearnerId
from tests.support import Learner, Service, rows


async def state(service: Service, learner: Learner) -> models.Learner:
    """Return what is stored about a learner."""
    return (await service.wiring.repository.get_user_states([LearnerId(learner.id)]))[LearnerId(learner.id)]


async def test_start_greets_explains_and_offers_a_question(service: Service) -> None:
    learner = await service.new_learner(registered=False)
    welcome = await learner.ask("/start", "Welcome to the daily quiz")
    assert "10:00" in welcome["text"]
    assert rows(welcome)[0][0]["text"].startswith("Give me a question")


async def test_plain_text_gets_a_helpful_line(service: Service) -> None:
    learner = await service.new_learner()
    assert "/help" in (await learner.ask("hello there", "only understand"))["text"]
    assert "/help" in (await learner.ask("/nonsense", "only understand"))["text"]


async def test_help_privacy_and_stats_answer(service: Service) -> None:
    learner = await service.new_learner()
    assert "/settings" in (await learner.ask("/help", "How it works"))["text"]
    assert "user id" in (await learner.ask("/privacy", "What is stored"))["text"]
    assert "No answers yet" in (await learner.ask("/stats", "Your progress"))["text"]
    await learner.answer(await learner.get_question(), 2)
    assert "of 1" in (await learner.ask("/stats", "By topic"))["text"]


async def test_the_hour_is_chosen_by_buttons(service: Service) -> None:
    learner = await service.new_learner()
    page = await learner.ask("/settings", "Settings")
    await learner.press_labelled(page, "Hour")
    page = await learner.wait_for(lambda message: "On your own clock" in message["text"])
    await learner.press_labelled(page, "18:00")
    await learner.wait_for(lambda message: "Hour: 18:00" in message["text"])
    assert (await state(service, learner)).daily_at == time(18)


async def test_the_time_zone_is_chosen_by_clock_and_city(service: Service) -> None:
    learner = await service.new_learner()
    page = await learner.ask("/settings", "Settings")
    await learner.press_labelled(page, "Time zone")
    page = await learner.wait_for(lambda message: "What does your clock show" in message["text"])
    offset = next(button for row in rows(page) for button in row if button["callback_data"] == "o:330")
    await learner.press_labelled(page, offset["text"])
    page = await learner.wait_for(lambda message: "nearest to you" in message["text"])
    await learner.press_labelled(page, "Kolkata")
    await learner.wait_for(lambda message: "Asia/Kolkata" in message["text"])
    assert (await state(service, learner)).timezone == "Asia/Kolkata"


async def test_topics_are_switched_one_by_one(service: Service) -> None:
    learner = await service.new_learner()
    page = await learner.ask("/settings", "Settings")
    await learner.press_labelled(page, "Topics")
    page = await learner.wait_for(lambda message: "Tap to choose" in message["text"])
    await learner.press_labelled(page, "Streaming")
    await learner.wait_for(lambda message: any("✅ Streaming" in b["text"] for row in rows(message) for b in row))
    assert (await state(service, learner)).topics == (Topic.STREAMING,)
    assert "Streaming" in (await learner.get_question())["text"]


async def test_stop_and_resume_switch_daily_quizzes(service: Service) -> None:
    learner = await service.new_learner()
    await learner.ask("/stop", "Daily quizzes are off")
    assert not (await state(service, learner)).daily_enabled
    await learner.ask("/resume", "Daily quizzes are on")
    assert (await state(service, learner)).daily_enabled


async def test_export_sends_everything_that_is_stored_as_a_file(service: Service) -> None:
    learner = await service.new_learner()
    await learner.answer(await learner.get_question(), 1)
    message = await learner.ask("/export", "Everything that is stored")
    reply = await service.telegram.get(f"/api/files/{message['document']['file_id']}")
    document = json.loads(reply.content)
    assert document["learner"]["id"] == learner.id
    assert len(document["answers"]) == 1


async def test_erase_asks_once_more_and_then_leaves_nothing(service: Service) -> None:
    learner = await service.new_learner()
    await learner.answer(await learner.get_question(), 1)
    page = await learner.ask("/erase", "Erase everything?")
    await learner.press_labelled(page, "No, keep it")
    await learner.wait_for(lambda message: "Nothing was deleted" in message["text"])
    assert (await state(service, learner)).id == learner.id
    page = await learner.ask("/erase", "Erase everything?")
    await learner.press_labelled(page, "Yes, erase")
    await learner.wait_for(lambda message: "is deleted" in message["text"])
    await service.settled()
    assert await traces(service, learner) == []


async def traces(service: Service, learner: Learner) -> list[str]:
    """Return every table and column that still holds the learner's id."""
    pool = service.wiring.repository.database._pool  # noqa: SLF001 - a look behind the scenes
    columns = await pool.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND data_type = 'bigint'"
    )
    found = []
    for table, column in columns:
        query = f'SELECT count(*) FROM "{table}" WHERE "{column}" = $1'  # noqa: S608 - names from the catalog
        if await pool.fetchval(query, learner.id):
            found.append(f"{table}.{column}")
    return found


async def test_blocking_and_coming_back_are_noticed(service: Service) -> None:
    learner = await service.new_learner()
    await service.telegram.post(f"/api/learners/{learner.id}/block")
    await service.settled()
    assert (await state(service, learner)).blocked
    await service.telegram.post(f"/api/learners/{learner.id}/unblock")
    await service.settled()
    assert not (await state(service, learner)).blocked
