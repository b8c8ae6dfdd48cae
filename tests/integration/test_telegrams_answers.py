"""Answers about the bot, the method, a chat or the way to Telegram: nobody is taken for gone, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from bot.client import TelegramGateway
from domain.catalog import QuizKind, QuizState
from domain.errors import BotRefusedError, RateLimitedError
from domain.ids import BotId, LearnerId
from domain.models import Delivery, Outcome, Quiz
from domain.settings import Settings
from local import servers
from quizzes import context, maintenance
from quizzes import delivery as quiz_delivery
from tests.support.factories import some_id
from tests.support.service import Learner, Service, is_question, running_service
from tests.support.waiting import WAIT_SECONDS, until
from wiring import open_runtime

UNTIL_CALLED_OFF = 10**6
FOR_LONG = 3600
"""Seconds, more than any test waits: whoever waits because of it fails."""
_AGE = "UPDATE quizzes SET touched_at = touched_at - $1::interval, graded_at = graded_at - $1::interval"


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings with a bot that no other test shares, and let all that waits be tried again soon."""
    monkeypatch.setattr("bot.client.PROBE_SECONDS", 0.05)
    monkeypatch.setattr("roles.worker.REFUSED_PAUSE", timedelta(seconds=0.2))
    monkeypatch.setenv("PTB_TIMEDELTA", "1")  # the library warns about the older form of retry_after
    return settings.model_copy(update={"telegram_bot_token": SecretStr(f"{some_id()}:{'T' * 35}")})


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """Yield the bot and a worker."""
    async with running_service(settings, servers.free_port()) as service:
        yield service


@asynccontextmanager
async def fault(service: Service, kind: str, **which: object) -> AsyncIterator[None]:
    """Let calls fail for a while."""
    body = {"kind": kind, "count": UNTIL_CALLED_OFF} | which
    (await service.telegram.post("/api/faults", json=body)).raise_for_status()
    try:
        yield
    finally:
        (await service.telegram.delete("/api/faults")).raise_for_status()


async def questions(learner: Learner) -> int:
    """Return how many questions stand in a chat."""
    return sum(not message["out"] and is_question(message) for message in await learner.messages())


async def crowd(service: Service, count: int, bot_id: int | None = None) -> list[Learner]:
    """Return learners of a bot who are registered and have had no question."""
    return [await service.new_learner(bot_id=bot_id) for _ in range(count)]


def ids_of(learners: Sequence[Learner]) -> list[LearnerId]:
    """Return their ids."""
    return [LearnerId(learner.id) for learner in learners]


async def distribute(service: Service, learners: Sequence[Learner]) -> list[Delivery]:
    """Send everybody their daily quiz."""
    async with asyncio.timeout(WAIT_SECONDS):
        return await quiz_delivery.serve_quizzes(service.runtime.context, ids_of(learners), QuizKind.DAILY)


async def recover(service: Service, *workers: context.QuizContext) -> None:
    """Let some minutes go by, and then one or several workers finish what waits."""
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    await pool.execute(_AGE, timedelta(minutes=5))
    await asyncio.gather(*(maintenance.recover(one) for one in workers or [service.runtime.context]))


async def blocked(service: Service, learners: Sequence[Learner]) -> list[LearnerId]:
    """Return who is noted as out of reach."""
    states = await service.runtime.repository.get_user_states(ids_of(learners))
    return [state.id for state in states.values() if state.blocked]


async def open_quizzes(service: Service, learners: Sequence[Learner]) -> list[Quiz]:
    """Return the latest open quiz of each who has one."""
    return list((await service.runtime.repository.find_open_quizzes(ids_of(learners))).values())


async def problems_of(service: Service) -> list[str]:
    """Return what `/ready` says."""
    async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        reply = await client.get(f"{service.url}/ready")
    assert reply.status_code == (503 if reply.json()["problems"] else 200)
    return list(reply.json()["problems"])


def bot_of(service: Service) -> BotId:
    """Return the service's first bot."""
    return service.runtime.accounts.first.id


def gateway_of(service: Service) -> TelegramGateway:
    """Return the access to Telegram through it."""
    return service.runtime.accounts.first.gateway


# ---------------------------------------------------------------- the way


@pytest.mark.parametrize("kind", ["403-page", "403-json", "403-empty", "401-page", "200-page", "502"])
async def test_whatever_stands_before_telegram_says_nothing_about_a_learner(service: Service, kind: str) -> None:
    learners = await crowd(service, 4)
    async with fault(service, kind, method="sendMessage"):
        deliveries = await distribute(service, learners)
    assert {delivery.outcome for delivery in deliveries} == {Outcome.FAILED}
    assert all("(will be tried again)" in delivery.reason for delivery in deliveries)
    assert await blocked(service, learners) == []
    assert {quiz.state for quiz in await open_quizzes(service, learners)} == {QuizState.PENDING}
    assert await problems_of(service) == []
    await recover(service)
    assert [await questions(learner) for learner in learners] == [1] * 4


async def test_only_telegrams_own_words_mark_a_learner(service: Service) -> None:
    gone, here = await crowd(service, 2)
    async with fault(service, "403", method="sendMessage", chat=gone.id):
        deliveries = await distribute(service, [gone, here])
    assert Counter(delivery.outcome for delivery in deliveries) == {Outcome.FAILED: 1, Outcome.SENT: 1}
    assert await blocked(service, [gone, here]) == [gone.id]


# ---------------------------------------------------------------- the bot


@pytest.mark.parametrize(
    ("kind", "words"), [("401", "Unauthorized"), ("404", "Not Found"), ("frozen", "Frozen_method_invalid")]
)
async def test_a_bot_that_is_refused_in_the_middle_sends_everything_once_when_it_is_let_in(
    settings: Settings, kind: str, words: str
) -> None:
    settings = settings.model_copy(update={"telegram_rate_per_second": 30})
    async with (
        running_service(settings, servers.free_port()) as service,
        open_runtime(settings) as other,
    ):
        learners = await crowd(service, 40)
        distribution = asyncio.create_task(distribute(service, learners))
        await until(lambda: some_sent(learners, 5))
        async with fault(service, kind, bot=bot_of(service)):
            deliveries = await distribution
            counts = Counter(delivery.outcome for delivery in deliveries)
            assert counts[Outcome.SENT] + counts[Outcome.FAILED] == 40
            assert counts[Outcome.SENT] >= 5
            (reason,) = {delivery.reason for delivery in deliveries if delivery.outcome is Outcome.FAILED}
            assert f"a bot: {bot_of(service)} ({words}) (will be sent when Telegram accepts the bot again)" in reason

            waiting = [quiz for quiz in await open_quizzes(service, learners) if quiz.state is not QuizState.SENT]
            assert {(quiz.state, quiz.attempts) for quiz in waiting} == {(QuizState.PENDING, 0)}
            assert len(waiting) == counts[Outcome.FAILED]
            assert await blocked(service, learners) == []
            refused = [call for call in await service.requests("sendMessage") if call["status"] != 200]
            assert len(refused) <= quiz_delivery.SENDERS  # those that were under way

            line = f"Telegram refuses bot {bot_of(service)} ({words})"
            assert any(problem.startswith(line) for problem in await problems_of(service))
            probes = len(await service.requests("sendChatAction"))
            await until(lambda: probed(service, probes + 3))
            assert any(problem.startswith(line) for problem in await problems_of(service))
            assert service.runtime.accounts.first.refusal == words

        await until(lambda: is_ready(service))
        await until(lambda: no_refusal(service))
        await recover(service, service.runtime.context, other.context)
        assert [await questions(learner) for learner in learners] == [1] * 40
        assert await distribute(service, learners)  # had today's already
        assert [await questions(learner) for learner in learners] == [1] * 40


async def some_sent(learners: Sequence[Learner], count: int) -> bool:
    return sum([await questions(learner) for learner in learners[:count]]) >= count


async def probed(service: Service, times: int) -> bool:
    return len(await service.requests("sendChatAction")) >= times


async def is_ready(service: Service) -> bool:
    return await problems_of(service) == []


async def no_refusal(service: Service) -> bool:
    return service.runtime.accounts.first.refusal is None


async def test_a_bot_that_nobody_is_written_to_is_found_refused_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.client.IDLE_SECONDS", 0.05)
    async with running_service(settings, servers.free_port()) as service:
        async with fault(service, "401"):
            await until(lambda: is_refused(service))
        await until(lambda: is_ready(service))


async def is_refused(service: Service) -> bool:
    return any("refuses bot" in problem for problem in await problems_of(service))


async def test_other_bots_go_on_while_one_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    second = BotId(some_id())
    settings = settings.model_copy(update={"telegram_bot_tokens": (SecretStr(f"{second}:{'s' * 35}"),)})
    monkeypatch.setattr(maintenance, "RECOVERED_AT_ONCE", 3)
    async with running_service(settings, servers.free_port()) as service:
        first = bot_of(service)
        refused, served = await crowd(service, 5, first), await crowd(service, 5, second)
        async with fault(service, "401", bot=first):
            prepared = await quiz_delivery.prepare_quizzes(
                service.runtime.context, ids_of([*refused, *served]), QuizKind.DAILY
            )
            assert len(prepared.quiz_ids) == 10
            for _ in range(4):  # batches; the first may only find out that a bot is refused
                await recover(service)
            assert [await questions(learner) for learner in served] == [1] * 5
            assert [await questions(learner) for learner in refused] == [0] * 5
            assert await served[0].answer(await served[0].wait_for(is_question), 0)
        await until(lambda: no_refusal(service))
        for _ in range(3):
            await recover(service)
        assert [await questions(learner) for learner in refused] == [1] * 5


async def test_what_learners_did_before_their_bot_was_refused_is_answered_when_it_is_let_in(service: Service) -> None:
    learner, other = await crowd(service, 2)
    question = await learner.get_question()
    known = len(await other.messages())
    async with fault(service, "401"):
        with pytest.raises(BotRefusedError):
            await gateway_of(service).send(LearnerId(other.id), "hello")
        await learner.press(question, 0)
        await other.say("/help")
        await other.say("/quiz")
        await until(lambda: is_graded(service, learner))
    await until(lambda: no_refusal(service))
    await other.wait_after(known, lambda message: "/settings" in message.get("text", ""))
    await recover(service)
    await learner.wait_for(lambda message: message["message_id"] == question["message_id"] and message["edited"])
    await other.wait_after(known, is_question)
    assert await questions(other) == 1


async def is_graded(service: Service, learner: Learner) -> bool:
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - no query of the service asks this
    row = "SELECT EXISTS (SELECT FROM quizzes WHERE learner_id = $1 AND state = 'graded' AND feedback_at IS NULL)"
    return bool(await pool.fetchval(row, learner.id))


# ---------------------------------------------------------------- the method, a chat


async def test_a_method_that_has_to_wait_keeps_nobody_else_waiting(service: Service) -> None:
    learner = await service.new_learner()
    gateway = gateway_of(service)
    async with fault(service, "429", method="setMyCommands", retry_after=FOR_LONG):
        with pytest.raises(RateLimitedError):
            await gateway.publish_commands()
        await learner.get_question()
    asked = len(await service.requests("setMyCommands"))
    with pytest.raises(RateLimitedError) as told:
        await gateway.publish_commands()
    assert WAIT_SECONDS < told.value.retry_after <= FOR_LONG
    assert len(await service.requests("setMyCommands")) == asked


async def test_a_chat_that_has_to_wait_keeps_nobody_else_waiting(service: Service) -> None:
    held, *others = await crowd(service, 20)
    async with fault(service, "429", chat=held.id, retry_after=FOR_LONG):
        deliveries = await distribute(service, [held, *others])
        assert Counter(delivery.outcome for delivery in deliveries) == {Outcome.SENT: 19, Outcome.FAILED: 1}
        await held.say("/stats")
        await held.say("/quiz")
        for learner in others[:3]:
            await learner.ask("/help", "/settings")
            question = await learner.wait_for(is_question)
            await learner.answer(question, 0)
    assert await blocked(service, [held]) == []
    (quiz,) = await open_quizzes(service, [held])
    assert quiz.state is QuizState.PENDING
    assert len([call for call in await service.requests("sendMessage") if call["status"] == 429]) == 1


async def test_a_chat_that_had_to_wait_gets_its_quiz_later(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.client.CHAT_PATIENCE_SECONDS", 0.1)
    held = await service.new_learner()
    async with fault(service, "429", chat=held.id, retry_after=1):
        (delivery,) = await distribute(service, [held])
        assert "(will be tried again)" in delivery.reason

    async def recovered() -> bool:
        await recover(service)
        return await questions(held) > 0

    await until(recovered)
    assert await questions(held) == 1


async def test_a_bot_that_is_too_fast_waits_once_a_second_chat_is_refused(service: Service) -> None:
    first, second = await crowd(service, 2)
    gateway = gateway_of(service)
    async with fault(service, "429", method="sendMessage", count=2, retry_after=2):
        asking = [asyncio.create_task(gateway.send(LearnerId(one.id), "hello")) for one in (first, second)]
        await asyncio.gather(*asking)  # both are sent, after the wait
    calls = (await service.requests("sendMessage"))[-4:]
    assert Counter(call["status"] for call in calls) == {200: 2, 429: 2}
    last_refused = max(call["at"] for call in calls if call["status"] == 429)
    assert all(call["at"] - last_refused > 1.5 for call in calls if call["status"] == 200)
