"""Several bots in one service: each has its webhook, its pace and its share, and a learner belongs to one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import prefect_flows
from domain.catalog import Priority, QuizKind
from domain.errors import UnknownBotError
from domain.ids import BotId, LearnerId
from domain.settings import Settings
from domain.updates import Incoming, UpdateKind
from local import servers
from quizzes import delivery as quiz_delivery
from quizzes.context import QuizContext
from roles.webhook_registration import PATH, SECRET_HEADER, webhook_path, webhook_secret
from roles.worker import Worker
from tests.support.factories import BOT_ID, some_id
from tests.support.service import Learner, Message, Service, is_question, rows, running_service
from tests.support.waiting import WAIT_SECONDS
from wiring import Runtime, open_runtime

FIRST, SECOND = BOT_ID, BotId(515151)


@pytest.fixture
def settings_of_two(settings: Settings) -> Settings:
    """Return settings with a second bot."""
    return settings.model_copy(update={"telegram_bot_tokens": (SecretStr(f"{SECOND}:{'s' * 35}"),)})


@pytest.fixture
async def two(settings_of_two: Settings) -> AsyncIterator[Service]:
    """Yield a service with two bots."""
    async with running_service(settings_of_two, servers.free_port()) as service:
        yield service


async def home_of(service: Service, learner: Learner) -> int | None:
    state = await service.runtime.repository.get_user_state(LearnerId(learner.id))
    return state.bot_id if state else None


async def questions(learner: Learner) -> list[Message]:
    return [message for message in await learner.messages() if not message["out"] and is_question(message)]


async def test_each_bot_teaches_its_own_learners(two: Service) -> None:
    for bot_id in (FIRST, SECOND):
        learner = await two.new_learner(bot_id=bot_id)
        question = await learner.get_question()
        assert "Finding your level: 1 of 6" in (await learner.answer(question, 0))["text"]
        assert await home_of(two, learner) == bot_id
    assert {call["bot_id"] for call in await two.requests("sendMessage")} == {FIRST, SECOND}


async def test_each_bot_has_a_webhook_of_its_own_that_no_other_secret_opens(two: Service) -> None:
    settings = two.runtime.settings
    sender = {"id": 4711, "is_bot": False, "first_name": "Nobody"}
    chat = {"id": 4711, "type": "private"}
    async with httpx.AsyncClient(base_url=two.url, timeout=WAIT_SECONDS) as client:

        async def status(path: str, secret: str, number: int) -> int:
            update = {"update_id": number, "message": {"message_id": 1, "chat": chat, "from": sender, "text": "hello"}}
            return (await client.post(path, json=update, headers={SECRET_HEADER: secret})).status_code

        secrets = {bot_id: webhook_secret(settings, bot_id) for bot_id in (FIRST, SECOND)}
        paths = {bot_id: webhook_path(settings, bot_id) for bot_id in (FIRST, SECOND)}
        assert await status(paths[FIRST], secrets[FIRST], 900_001) == 200
        assert await status(paths[SECOND], secrets[SECOND], 900_001) == 200  # another bot's number, another update
        assert await status(PATH, secrets[FIRST], 900_002) == 200  # as it was set before there were two
        assert await status(paths[FIRST], secrets[SECOND], 900_003) == 401
        assert await status(PATH, secrets[SECOND], 900_003) == 401
        for nobody in (f"{PATH}/1", f"{PATH}/x", f"{PATH}/{FIRST}0", f"{PATH}/%00"):
            assert await status(nobody, secrets[FIRST], 900_004) == 401
            assert await status(nobody, "", 900_004) == 401


async def test_who_writes_to_another_bot_is_told_where_their_questions_come_and_may_move(two: Service) -> None:
    here = await two.new_learner(bot_id=FIRST)
    there = here.at(SECOND)
    await here.get_question()
    for wish in ("/start", "/quiz", "/review"):
        reply = await there.ask(wish, "You already learn with @")
    assert await home_of(two, here) == FIRST
    assert not await questions(there)

    await there.press_labelled(reply, "Bring them here")
    moved = await there.wait_for(lambda message: "your questions come here" in message.get("text", ""))
    assert await home_of(two, here) == SECOND
    await there.press_labelled(moved, "Next question")
    await there.wait_for(is_question)


async def test_an_answer_is_explained_where_its_question_stands(two: Service) -> None:
    here = await two.new_learner(bot_id=FIRST)
    question = await here.get_question()
    await two.runtime.repository.move_learner(LearnerId(here.id), SECOND)
    feedback = await here.answer(question, 0)
    assert "Streak: 1 day" in feedback["text"]
    assert not await here.at(SECOND).messages()


async def test_a_question_that_moves_to_another_bot_says_so_where_it_was(two: Service) -> None:
    here = await two.new_learner(bot_id=FIRST)
    question = await here.get_question()
    await two.runtime.repository.move_learner(LearnerId(here.id), SECOND)
    await here.at(SECOND).get_question()
    name = await two.runtime.accounts.of(SECOND).gateway.name()
    closed = await here.wait_for(lambda message: "has moved" in message.get("text", ""))
    assert closed["message_id"] == question["message_id"]
    assert closed["text"] == f"➡️ This question has moved to {name}."


@asynccontextmanager
async def refused(runtime: Runtime, bot_id: BotId) -> AsyncIterator[None]:
    """Let a bot be refused as a whole for a while, as far as the service knows."""
    breaker = runtime.accounts.of(bot_id).gateway.breaker
    await breaker.trip("Unauthorized")
    try:
        yield
    finally:
        await breaker.reset()


async def test_who_asks_a_bot_that_is_refused_is_no_matter_of_who_asks_another(settings_of_two: Settings) -> None:
    async with running_service(settings_of_two, servers.free_port()) as service:
        ids = {bot_id: (await service.new_learner(bot_id=bot_id)).id for bot_id in (FIRST, SECOND)}
        await service.settled()
    async with open_runtime(settings_of_two) as runtime, refused(runtime, FIRST):
        for bot_id, learner_id in ids.items():  # who have nothing to review, which they are told
            update = Incoming(some_id(), LearnerId(learner_id), UpdateKind.COMMAND, "review")
            await runtime.repository.store_update(bot_id, update)
        batch = await runtime.repository.claim_updates(10)
        await Worker(runtime)._handle_quizzes(batch)  # noqa: SLF001 - left to itself, it may make two batches of them
        states = "SELECT bot_id, state FROM updates WHERE content = 'review'"
        found = await runtime.repository.database._pool.fetch(states)  # noqa: SLF001 - no query of the service asks this
    assert {row["bot_id"]: row["state"] for row in found} == {FIRST: "claimed", SECOND: "done"}


@pytest.mark.parametrize("wish", ["/start", "/quiz", "/stats"])
async def test_who_writes_to_another_bot_while_theirs_is_refused_is_answered(two: Service, wish: str) -> None:
    here = await two.new_learner(bot_id=FIRST)
    async with refused(two.runtime, FIRST):
        there = here.at(SECOND)
        await there.say(wish)
        await two.settled()
        assert await there.messages()


async def test_an_answer_is_explained_by_the_bot_that_asked_though_its_message_is_gone(two: Service) -> None:
    here = await two.new_learner(bot_id=SECOND)
    question = await here.get_question()
    await two.runtime.repository.move_learner(LearnerId(here.id), FIRST)
    async with refused(two.runtime, FIRST):
        await two.runtime.accounts.of(SECOND).gateway.bot.delete_message(here.id, question["message_id"])
        data = rows(question)[0][0]["callback_data"]
        tap = Incoming(some_id(), LearnerId(here.id), UpdateKind.TAP, data, question["message_id"])
        await two.runtime.repository.store_update(SECOND, tap)
        await here.wait_for(lambda message: "Streak: 1 day" in message.get("text", ""))


async def test_what_a_learner_does_with_a_bot_that_is_not_theirs_leaves_them_reachable(two: Service) -> None:
    here = await two.new_learner(bot_id=FIRST)
    there = here.at(SECOND)
    await there.ask("/stats", "Level")  # what is theirs can be read anywhere
    (await two.telegram.post(f"/api/learners/{here.id}/block", json={"bot": SECOND})).raise_for_status()
    await two.settled()
    state = await two.runtime.repository.get_user_state(LearnerId(here.id))
    assert state is not None
    assert not state.blocked


async def test_who_blocked_their_bot_begins_anew_with_another(two: Service) -> None:
    here = await two.new_learner(bot_id=FIRST)
    (await two.telegram.post(f"/api/learners/{here.id}/block", json={"bot": FIRST})).raise_for_status()
    await two.settled()
    await here.at(SECOND).ask("/start", "Welcome back")
    assert await home_of(two, here) == SECOND


async def test_a_learner_of_a_bot_that_is_gone_goes_on_with_the_one_they_write_to(two: Service) -> None:
    here = await two.new_learner(bot_id=FIRST)
    await two.runtime.repository.move_learner(LearnerId(here.id), BotId(999))
    await here.get_question()
    assert await home_of(two, here) == FIRST


async def test_a_quiz_for_a_bot_that_is_gone_waits_for_it(two: Service) -> None:
    here = await two.new_learner(bot_id=FIRST)
    context = two.runtime.context
    await two.runtime.repository.move_learner(LearnerId(here.id), BotId(999))
    [delivery] = await quiz_delivery.serve_quizzes(context, [LearnerId(here.id)], QuizKind.DAILY)
    assert "no token for a learner's bot: 999" in delivery.reason
    assert "will be tried again" in delivery.reason
    await two.runtime.repository.move_learner(LearnerId(here.id), FIRST)
    assert delivery.quiz_id is not None
    [again] = await quiz_delivery.deliver_quizzes(context, [delivery.quiz_id], Priority.BROADCAST)
    assert again.outcome == "sent"
    with pytest.raises(UnknownBotError):
        two.runtime.accounts.of(BotId(999))


@pytest.mark.prefect
async def test_a_distribution_gives_each_bot_cohorts_of_its_own(
    settings_of_two: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohorts: list[tuple[int, ...]] = []
    prepare = quiz_delivery.prepare_quizzes

    async def recording(context: QuizContext, learner_ids: Sequence[LearnerId], *rest: Any) -> quiz_delivery.Prepared:
        cohorts.append(tuple(learner_ids))
        return await prepare(context, learner_ids, *rest)

    monkeypatch.setattr(quiz_delivery, "prepare_quizzes", recording)
    monkeypatch.setattr("quizzes.cohorts.COHORT_SIZE", 2)
    settings = settings_of_two.model_copy(update={"prefect_api_url": prefect_url})
    async with running_service(settings, servers.free_port()) as service:
        learners = [await service.new_learner(bot_id=bot_id) for bot_id in [FIRST] * 6 + [SECOND] * 2]
        stranger = await service.new_learner(bot_id=FIRST)
        await service.runtime.repository.move_learner(LearnerId(stranger.id), BotId(999))
        pool = service.runtime.repository.database._pool  # noqa: SLF001 - time cannot be sped up
        await pool.execute("UPDATE learners SET next_daily_at = $1", datetime.now(UTC) - timedelta(minutes=1))
        cohorts.clear()

        assert await prefect_flows.distribute_daily_quizzes() == {"sent": 8, "skipped": 0, "failed": 0}
        assert [len(await questions(learner)) for learner in learners] == [1] * 8
        assert not await questions(stranger)
        ids = sorted(learner.id for learner in learners[:6]) + sorted(learner.id for learner in learners[6:])
        assert sorted(cohorts) == sorted([tuple(ids[:2]), tuple(ids[2:4]), tuple(ids[4:6]), tuple(ids[6:])])
