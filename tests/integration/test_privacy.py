"""What is stored about a learner: a number, their choices and their answers, until they say otherwise."""

from __future__ import annotations

import json

import asyncpg

from bot.updates import parse_update
from domain.ids import LearnerId
from roles.intake import store_update
from tests.support.classroom import Classroom
from tests.support.factories import BOT_ID, some_id

PERSONAL = {
    "first_name": "Grace",
    "last_name": "Hopper",
    "username": "amazing_grace",
    "language_code": "en",
    "is_premium": True,
}


def make_update(learner_id: int, text: str) -> bytes:
    """Return a message as Telegram delivers it, with everything that it tells about its sender."""
    sender = {"id": learner_id, "is_bot": False, **PERSONAL}
    chat = {"id": learner_id, "type": "private", "first_name": "Grace", "username": "amazing_grace"}
    message = {"message_id": 7, "date": 1795300000, "from": sender, "chat": chat, "text": text}
    return json.dumps({"update_id": some_id(), "message": message}).encode()


async def everything_stored(url: str) -> str:
    """Return every row of every table but the questions, as text."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        tables = [
            row["name"]
            for row in await connection.fetch("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
        ]
        assert {"learners", "updates", "quizzes", "answers"} <= set(tables)
        texts = [
            row["text"]
            for table in tables
            if table != "questions"
            for row in await connection.fetch(f'SELECT row_to_json(t)::text AS text FROM "{table}" t')  # noqa: S608 - names from the catalogue
        ]
    finally:
        await connection.close()
    return "\n".join(texts)


async def test_nothing_personal_is_stored_from_an_update(classroom: Classroom, shared_database_url: str) -> None:
    learner_id = some_id()
    update = parse_update(make_update(learner_id, "/start secret-reason"))
    assert update is not None
    await store_update(classroom.repository, BOT_ID, update)
    stored = await everything_stored(shared_database_url)
    assert str(learner_id) in stored
    for word in ("Grace", "Hopper", "amazing_grace", "secret-reason"):
        assert word not in stored


async def test_what_a_learner_writes_is_not_stored(classroom: Classroom, shared_database_url: str) -> None:
    update = parse_update(make_update(some_id(), "my password is hunter2"))
    assert update is not None
    await store_update(classroom.repository, BOT_ID, update)
    assert "hunter2" not in await everything_stored(shared_database_url)


async def test_an_export_holds_settings_quizzes_answers_and_updates(classroom: Classroom) -> None:
    learner = await classroom.join(quiz_timezone="Europe/Lisbon")
    update = parse_update(make_update(learner.id, "/quiz"))
    assert update is not None
    await store_update(classroom.repository, BOT_ID, update)
    await classroom.answer(learner, right=True)
    document = json.loads(await classroom.repository.export_learner(learner.id) or "")
    assert document["learner"]["timezone"] == "Europe/Lisbon"
    assert [len(document[part]) for part in ("quizzes", "answers", "updates")] == [1, 1, 1]
    assert document["answers"][0]["correct"] is True


async def test_erasing_leaves_no_trace_of_the_learner(classroom: Classroom, shared_database_url: str) -> None:
    learner = await classroom.join()
    update = parse_update(make_update(learner.id, "/erase"))
    assert update is not None
    await store_update(classroom.repository, BOT_ID, update)
    await classroom.answer(learner, right=False)
    assert str(learner.id) in await everything_stored(shared_database_url)
    await classroom.repository.erase_learner(learner.id)
    assert str(learner.id) not in await everything_stored(shared_database_url)
    assert await classroom.repository.export_learner(learner.id) is None


async def test_an_erased_learner_stays_erased_when_telegram_delivers_again(classroom: Classroom) -> None:
    learner = await classroom.join()
    update = parse_update(make_update(learner.id, "/quiz"))
    assert update is not None
    await store_update(classroom.repository, BOT_ID, update)
    await classroom.repository.erase_learner(learner.id)
    again = await store_update(classroom.repository, BOT_ID, update)
    assert not again.is_new
    assert learner.id not in {claimed.learner_id for claimed in await classroom.repository.claim_updates(10)}
    assert await classroom.repository.get_user_state(LearnerId(learner.id)) is None
