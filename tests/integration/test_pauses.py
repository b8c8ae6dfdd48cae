"""A pause: nothing is sent, nothing is lost, learners are told once, and answers are graded all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from bot.texts import PAUSED_TEXT
from domain.catalog import Priority, QuizKind, QuizState
from domain.ids import BotId, LearnerId
from domain.models import Outcome, Quiz
from domain.service_state import ALL_BOTS
from domain.settings import Settings
from quizzes import delivery, maintenance
from quizzes.cohorts import find_due_learners
from repository import Repository
from tests.support.classroom import Classroom
from tests.support.factories import BOT_ID, TOKEN
from tests.support.service import Learner, Service, is_question
from tests.support.waiting import until

OTHER_BOT = BotId(99)
FAR = datetime.max.replace(tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def run_sql(repository: Repository, statement: str, *arguments: object) -> None:
    await repository.database._pool.execute(statement, *arguments)  # noqa: SLF001 - moves what only time would


@pytest.fixture
def room(repository: Repository) -> Classroom:
    """Return the use cases on a database of their own."""
    return Classroom(repository, Settings(_env_file=None, telegram_bot_token=TOKEN))


# ---------------------------------------------------------------- rows


async def test_a_pause_ends_when_an_operator_resumes_or_by_itself(repository: Repository) -> None:
    assert not await repository.resume(ALL_BOTS)
    await repository.pause(ALL_BOTS, "a release", None)
    [pause] = await repository.list_pauses()
    assert pause.holds_for(BOT_ID)
    assert str(pause) == f"all bots are paused since {pause.begun_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC: a release"
    assert await repository.resume(ALL_BOTS)
    assert await repository.list_pauses() == ()
    await repository.pause(BOT_ID, None, datetime.now(UTC) + timedelta(hours=1))
    [pause] = await repository.list_pauses()
    assert (pause.holds_for(BOT_ID), pause.holds_for(OTHER_BOT)) == (True, False)
    await run_sql(repository, "UPDATE pauses SET ends_at = now() - interval '1 second'")
    assert await repository.list_pauses() == ()


async def test_pausing_again_changes_reason_and_end_and_goes_on(repository: Repository) -> None:
    await repository.pause(BOT_ID, "one", None)
    [first] = await repository.list_pauses()
    end = datetime.now(UTC) + timedelta(hours=1)
    await repository.pause(BOT_ID, "two", end)
    [second] = await repository.list_pauses()
    assert (second.reason, second.ends_at, second.begun_at) == ("two", end, first.begun_at)


async def test_during_a_pause_nobody_is_due_and_nothing_grows_old(room: Classroom) -> None:
    learner = await room.join()
    await run_sql(
        room.repository,
        "UPDATE learners SET next_daily_at = now() - interval '3 hours' WHERE id = $1",
        learner.id,
    )
    await room.repository.pause(BOT_ID, None, None)
    assert await find_due_learners(room.context, FAR, [learner.id]) == []
    [backlog] = (await room.repository.get_service_state([BOT_ID])).backlogs
    assert (backlog.unsent, backlog.oldest_seconds) == (1, 0.0)
    await room.repository.resume(BOT_ID)
    assert await find_due_learners(room.context, FAR, [learner.id]) == [learner.id]
    [backlog] = (await room.repository.get_service_state([BOT_ID])).backlogs
    assert backlog.oldest_seconds < 3 * 3600  # since the pause ended, not since the quiz was due


async def test_feedback_names_a_daily_quiz_only_if_it_is_sure_to_come_then(room: Classroom) -> None:
    learner = await room.join(quiz_timezone="Pacific/Kiritimati")
    grade = await room.answer(learner, right=True)

    async def told() -> datetime | None:
        read = (await room.repository.get_grades([grade.quiz_id]))[grade.quiz_id]
        assert read.today in {learner.local_day(datetime.now(UTC)), learner.local_day(datetime.now(UTC) - MINUTE)}
        return read.next_daily_at

    expected = await told()
    assert expected is not None
    assert expected.time() == learner.daily_at
    await room.repository.pause(ALL_BOTS, None, None)
    assert await told() is None
    await room.repository.resume(ALL_BOTS)
    await room.repository.pause(OTHER_BOT, None, None)
    assert await told() == expected
    await run_sql(
        room.repository, "UPDATE learners SET next_daily_at = now() - interval '1 second' WHERE id = $1", learner.id
    )
    assert await told() is None  # it is overdue, and nobody knows by how much


# ---------------------------------------------------------------- sending


async def test_what_is_not_sent_yet_stays_pending_and_goes_out_afterwards(
    room: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = [await room.join() for _ in range(40)]
    prepared = await delivery.prepare_quizzes(room.context, [one.id for one in learners], QuizKind.ON_DEMAND)

    send = room.messenger.send_question

    async def pause_after_five(quiz: Quiz, priority: Priority) -> int:
        if len(room.messenger.questions) == 5:
            await room.repository.pause(ALL_BOTS, None, None)
        return await send(quiz, priority)

    monkeypatch.setattr(room.messenger, "send_question", pause_after_five)
    deliveries = await delivery.deliver_quizzes(room.context, prepared.quiz_ids, Priority.BROADCAST)
    sent = len(room.messenger.questions)
    assert 5 < sent < 40
    assert [one.reason for one in deliveries if one.outcome is Outcome.SKIPPED] == [delivery.PAUSED] * (40 - sent)
    states = [quiz.state for quiz in await room.repository.get_quizzes(prepared.quiz_ids)]
    assert states.count(QuizState.PENDING) == 40 - sent
    await run_sql(room.repository, "UPDATE quizzes SET touched_at = now() - interval '2 minutes'")
    assert await maintenance.find_stalled(room.context) == []
    await room.repository.resume(ALL_BOTS)
    assert await maintenance.send_stalled(room.context, await maintenance.find_stalled(room.context)) == 40 - sent
    assert len({quiz.learner_id for quiz, _ in room.messenger.questions}) == len(room.messenger.questions) == 40


async def test_only_the_learners_of_a_paused_bot_wait(room: Classroom) -> None:
    here, there = await room.join(), await room.join()
    await room.repository.move_learner(there.id, OTHER_BOT)
    await room.repository.pause(OTHER_BOT, None, None)
    outcomes = {one.learner_id: one.outcome for one in await room.serve(here, QuizKind.ON_DEMAND)}
    outcomes |= {one.learner_id: one.outcome for one in await room.serve(there, QuizKind.ON_DEMAND)}
    assert outcomes == {here.id: Outcome.SENT, there.id: Outcome.SKIPPED}


# ---------------------------------------------------------------- learners


def paused_lines(messages: list[dict[str, object]]) -> int:
    return sum(message.get("text") == PAUSED_TEXT for message in messages)


async def ask_in_vain(service: Service, learner: Learner) -> None:
    """Ask for a question and return when the request is handled."""
    await learner.say("/quiz")
    await service.settled()


async def test_learners_are_told_once_get_their_feedback_and_later_their_question(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = service.runtime.repository
    learner = await service.new_learner()
    question = await learner.get_question()
    await repository.pause(ALL_BOTS, "a wrong question is out", None)
    assert "Settings" in (await learner.ask("/settings", "Settings"))["text"]
    await learner.wait_for(lambda message: message.get("text") == PAUSED_TEXT)
    feedback = await learner.answer(question, 0)
    assert "Streak" in feedback["text"]
    for _ in range(2):
        await ask_in_vain(service, learner)
    assert paused_lines(await learner.messages()) == 1
    assert sum(is_question(message) for message in await learner.messages()) == 0

    await repository.resume(ALL_BOTS)
    monkeypatch.setattr("quizzes.maintenance.STALLED_AFTER", timedelta(0))
    context = service.runtime.context
    assert await maintenance.send_stalled(context, await until(lambda: maintenance.find_stalled(context))) == 1
    await learner.wait_for(is_question)

    await repository.pause(ALL_BOTS, None, None)
    await learner.say("anything")
    await until(lambda: is_told_again(learner))


async def is_told_again(learner: Learner) -> bool:
    return paused_lines(await learner.messages()) == 2


async def test_a_pause_is_shown_and_the_service_stays_ready(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        assert "paused" not in (await client.get("/ready")).json()
        await service.runtime.repository.pause(BOT_ID, "a wrong question is out", None)
        ready = await client.get("/ready")
        assert ready.status_code == 200, ready.text
        [line] = ready.json()["paused"]
        assert line.startswith(f"bot {BOT_ID} is paused since ")
        assert line.endswith(": a wrong question is out")

        async def shown() -> bool:
            return f'quiz_paused{{bot="{BOT_ID}"}} 1.0' in (await client.get("/metrics")).text

        await until(shown)


async def test_a_learner_of_another_bot_is_not_told(service: Service) -> None:
    learner = await service.new_learner()
    await service.runtime.repository.pause(OTHER_BOT, None, None)
    assert not await service.runtime.repository.is_pause_news(LearnerId(learner.id))
    assert is_question(await learner.get_question())
