"""What learners type and tap besides answers, through the real webhook."""

from __future__ import annotations

import json
from datetime import time, timedelta
from typing import Any

import pytest

from bot.client import TelegramGateway
from bot.texts import ANSWERS_SAY_IT
from domain import models
from domain.catalog import Level, Topic
from domain.errors import TelegramUnavailableError
from domain.ids import LearnerId
from quizzes import delivery
from tests.support.service import Learner, Message, Service, is_question, rows


async def state(service: Service, learner: Learner) -> models.Learner:
    """Return what is stored about a learner."""
    return (await service.runtime.repository.get_user_states([LearnerId(learner.id)]))[LearnerId(learner.id)]


async def test_start_greets_explains_and_offers_a_question(service: Service) -> None:
    learner = await service.new_learner(registered=False)
    welcome = await learner.ask("/start", "Welcome to the daily quiz")
    assert "10:00" in welcome["text"]
    assert rows(welcome)[-1][0]["text"] == "Skip: give me a question ›"


@pytest.mark.parametrize(("label", "level"), [("I'm new to it", Level.BEGINNER), ("More than 5", Level.INTERMEDIATE)])
async def test_a_new_learner_says_in_one_tap_how_experienced_they_are(
    service: Service, label: str, level: Level
) -> None:
    learner = await service.new_learner()
    stranger = await state(service, learner)
    await learner.press_labelled((await learner.messages())[1], label)
    page = await learner.wait_for(lambda message: "Your first six answers find your level" in message["text"])
    assert [button["text"] for row in rows(page) for button in row] == ["Give me a question ›"]
    after = await state(service, learner)
    assert after.level is level
    assert (after.ability > stranger.ability) is (label == "More than 5")
    assert after.ability_variance < stranger.ability_variance


async def test_what_a_learner_says_of_themselves_counts_only_before_the_first_answer(service: Service) -> None:
    learner = await service.new_learner()
    welcome = (await learner.messages())[1]
    await learner.answer(await learner.get_question(), 0)
    before = await state(service, learner)
    await learner.press_labelled(welcome, "More than 5")
    await service.settled()
    assert (await state(service, learner)).ability == before.ability


async def test_a_missed_question_comes_back_on_demand(service: Service) -> None:
    learner = await service.new_learner()
    assert "you haven't missed a question yet" in (await learner.ask("/review", "Nothing to review"))["text"]
    question = await learner.get_question()
    (quiz,) = (await service.runtime.repository.find_open_quizzes([LearnerId(learner.id)])).values()
    wrong = next(place for place, index in enumerate(quiz.option_order) if index != quiz.question.correct_index)
    await learner.answer(question, wrong)
    assert "One question you missed comes back on" in (await learner.ask("/review", "Nothing to review"))["text"]
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - lets a day go by
    await pool.execute("UPDATE reviews SET due_at = now() WHERE learner_id = $1", learner.id)
    again = await learner.ask("/review", quiz.question.prompt)
    assert "you missed it before" in again["text"]
    assert is_question(again)


async def test_texts_get_one_helpful_line_and_unknown_commands_each_get_it(service: Service) -> None:
    learner = await service.new_learner()
    known = len(await learner.messages())
    for number in range(8):
        await learner.say(f"hello there {number}")
    await service.settled()
    (reply,) = [message for message in (await learner.messages())[known:] if not message["out"]]
    assert "/help" in reply["text"]
    for _ in range(2):
        assert "/help" in (await learner.ask("/nonsense", "only understand"))["text"]


@pytest.mark.parametrize("text", ["hi", "/nonsense", "/quiz"])
async def test_who_has_not_started_is_invited_to(service: Service, text: str) -> None:
    learner = await service.new_learner(registered=False)
    assert "/start" in (await learner.ask(text, "know you yet"))["text"]


async def test_an_old_welcome_says_what_is_true_after_answers(service: Service) -> None:
    learner = await service.new_learner()
    welcome = (await learner.messages())[1]
    await learner.answer(await learner.get_question(), 0)
    await learner.press_labelled(welcome, "3-5 years")
    await learner.wait_for(lambda message: message["text"] == ANSWERS_SAY_IT)


async def test_quick_taps_on_next_give_one_question_and_a_later_one_moves_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = await service.new_learner()
    feedback = await learner.answer(await learner.get_question(), 0)
    for _ in range(3):
        await learner.press(feedback)
    await service.settled()
    (first,) = [message for message in await learner.messages() if is_question(message)]
    monkeypatch.setattr(delivery, "IN_VIEW", timedelta())
    second = await learner.get_question()
    assert second["text"] == first["text"]
    await learner.wait_for(
        lambda message: message["message_id"] == first["message_id"] and "moved down" in message["text"]
    )
    assert [message for message in await learner.messages() if is_question(message)] == [second]


async def test_quick_taps_on_a_question_get_one_toast(service: Service) -> None:
    learner = await service.new_learner()
    question = await learner.get_question()
    known = len(await service.requests("answerCallbackQuery"))
    for column in range(4):
        await learner.press(question, column)
    await service.settled()
    await learner.wait_for(lambda message: message["message_id"] == question["message_id"] and message["edited"])
    answers = (await service.requests("answerCallbackQuery"))[known:]
    assert [text for answer in answers if (text := answer["values"].get("text"))] == ["Got it, checking…"]


async def test_i_do_not_know_shows_the_answer_and_keeps_the_level(service: Service) -> None:
    learner = await service.new_learner()
    question = await learner.get_question()
    await learner.press_labelled(question, "I don't know")
    feedback = await learner.wait_for(lambda message: message["text"].startswith("The answer is "))
    assert feedback["message_id"] == question["message_id"]
    assert "Streak: 1 day" in feedback["text"]
    exported = json.loads(await export(service, learner))
    assert exported["answers"][0]["answer"] == "I don't know"


async def test_help_privacy_and_stats_answer(service: Service) -> None:
    learner = await service.new_learner()
    assert "/settings" in (await learner.ask("/help", "How it works"))["text"]
    assert "user id" in (await learner.ask("/privacy", "What is stored"))["text"]
    assert "No answers yet" in (await learner.ask("/stats", "Your progress"))["text"]
    await learner.answer(await learner.get_question(), 2)
    stats = await learner.ask("/stats", "of 1")
    assert "Streak: 1 day" in stats["caption"]
    assert stats["photo"]
    again = await learner.ask("/stats", "of 1")
    assert again["photo"][-1]["file_id"] == stats["photo"][-1]["file_id"]  # not drawn a second time


async def test_the_hour_is_chosen_by_buttons(service: Service) -> None:
    learner = await service.new_learner()
    page = await learner.ask("/settings", "Settings")
    await learner.press_labelled(page, "Hour")
    page = await learner.wait_for(lambda message: "In your time zone (UTC), now" in message["text"])
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


async def open_topics(learner: Learner) -> Message:
    """Return the page on which topics are chosen."""
    await learner.press_labelled(await learner.ask("/settings", "Settings"), "Topics")
    return await learner.wait_for(lambda message: "Tap to choose" in message["text"])


async def test_topics_are_switched_one_by_one(service: Service) -> None:
    learner = await service.new_learner()
    await learner.press_labelled(await open_topics(learner), "Streaming")
    await learner.wait_for(lambda message: any("✅ Streaming" in b["text"] for row in rows(message) for b in row))
    await service.settled()
    assert (await state(service, learner)).topics == (Topic.STREAMING,)
    assert "Streaming" in (await learner.get_question())["text"]


async def test_choosing_topics_leaves_the_open_question_until_the_next_is_asked_for(service: Service) -> None:
    learner = await service.new_learner()
    question = await learner.get_question()
    other = next(topic.label for topic in Topic if topic.label not in question["text"])
    await learner.press_labelled(await open_topics(learner), other)
    await service.settled()
    assert question in await learner.messages()
    assert other in (await learner.get_question())["text"]
    closed = await learner.wait_for(lambda message: "You changed your topics" in message["text"])
    assert closed["message_id"] == question["message_id"]


async def test_a_topic_is_switched_once_though_telegram_fails_at_first(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = await service.new_learner()
    page = await open_topics(learner)
    edit, failures = TelegramGateway.edit, [TelegramUnavailableError("no answer")]

    async def failing_at_first(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        await edit(*arguments)

    monkeypatch.setattr(TelegramGateway, "edit", failing_at_first)
    await learner.press_labelled(page, "Streaming")
    await learner.wait_for(lambda message: any("✅ Streaming" in b["text"] for row in rows(message) for b in row))
    await service.settled()
    assert (await state(service, learner)).topics == (Topic.STREAMING,)


async def test_stop_and_resume_switch_daily_quizzes(service: Service) -> None:
    learner = await service.new_learner()
    await learner.ask("/stop", "Daily quizzes are off")
    assert not (await state(service, learner)).daily_enabled
    await learner.ask("/resume", "Daily quizzes are on")
    assert (await state(service, learner)).daily_enabled


async def test_export_sends_everything_that_is_stored_as_a_file(service: Service) -> None:
    learner = await service.new_learner()
    await learner.answer(await learner.get_question(), 1)
    document = json.loads(await export(service, learner))
    assert document["learner"]["id"] == learner.id
    (answer,) = document["answers"]
    assert answer["question"]
    assert {answer["answer"], answer["right_answer"]} <= await option_texts(service, answer["question_id"])


async def export(service: Service, learner: Learner) -> bytes:
    """Ask for the file with everything, and return it."""
    message = await learner.ask("/export", "Everything that is stored")
    return (await service.telegram.get(f"/api/files/{message['document']['file_id']}")).content


async def option_texts(service: Service, question_id: int) -> set[str]:
    """Return the options of a stored question."""
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - a look behind the scenes
    options = json.loads(await pool.fetchval("SELECT options FROM questions WHERE id = $1", question_id))
    return {option["text"] for option in options}


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
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - a look behind the scenes
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
