"""The breaker: after failures nobody asks, whoever failed; it closes by itself, and a provider's wish holds for all."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from redis.asyncio import Redis

from domain.catalog import GenerationOutcome, QuestionSource
from domain.errors import ModelError, ModelUnavailableError
from domain.settings import Settings
from local import servers
from question_sources.llm.breaker import FAILURES, FIRST_PAUSE, MAX_PAUSE, LlmBreaker
from quiz_generator import make_generator
from repository import Repository
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import Desk, fresh_question, keep_writing, metric
from tests.support.factories import make_learner
from tests.support.llm_server import LlmServer, failure
from tests.support.waiting import until

CLOSED = "quiz:llm:closed"


@pytest.fixture
def breaker(redis: Redis) -> LlmBreaker:
    """Return one process's breaker."""
    return LlmBreaker(redis)


@pytest.fixture
async def other(redis_url: str, redis: Redis) -> AsyncIterator[LlmBreaker]:
    """Yield another process's breaker, whose connection yields text."""
    client: Redis = Redis.from_url(redis_url, decode_responses=True)
    yield LlmBreaker(client)
    await client.aclose()


async def fail(breaker: LlmBreaker, times: int = FAILURES, retry_after: float | None = None) -> None:
    """Note failures."""
    for _ in range(times):
        await breaker.note_failure(ModelError("http_500", retry_after=retry_after))


async def lets_through(breaker: LlmBreaker) -> bool:
    """Say whether the breaker lets somebody through."""
    try:
        await breaker.check()
    except ModelUnavailableError:
        return False
    return True


async def test_it_closes_for_all_after_some_failures_in_a_row(
    breaker: LlmBreaker, other: LlmBreaker, redis: Redis
) -> None:
    await fail(breaker, FAILURES - 2)
    await fail(other, 1)
    assert await lets_through(breaker)
    await fail(other, 1)
    assert not await lets_through(breaker)
    assert FIRST_PAUSE - 5 < await redis.ttl(CLOSED) <= FIRST_PAUSE
    with pytest.raises(ModelUnavailableError, match=r"5 failures in a row, the last: http_500, for another \d+ s"):
        await other.check()


async def test_a_success_in_between_makes_past_failures_count_no_more(breaker: LlmBreaker) -> None:
    await fail(breaker, FAILURES - 1)
    await breaker.note_success()
    await fail(breaker, FAILURES - 1)
    assert await lets_through(breaker)


async def test_each_closing_without_a_success_in_between_lasts_twice_as_long(breaker: LlmBreaker, redis: Redis) -> None:
    pauses = []
    for _ in range(9):
        await fail(breaker)
        pauses.append(round(await redis.pttl(CLOSED) / 1000))
        await redis.delete(CLOSED)  # as if the time had passed
    doubled = [min(FIRST_PAUSE * 2**n, MAX_PAUSE) for n in range(9)]
    assert pauses == doubled
    await breaker.note_success()
    await fail(breaker)
    assert round(await redis.pttl(CLOSED) / 1000) == FIRST_PAUSE


async def test_it_opens_by_itself(breaker: LlmBreaker, redis: Redis) -> None:
    await fail(breaker)
    assert not await lets_through(breaker)
    assert metric("quiz_llm_closed") == 1
    await redis.pexpire(CLOSED, 30)
    await until(lambda: lets_through(breaker))
    assert metric("quiz_llm_closed") == 0


async def test_no_pause_is_shortened(breaker: LlmBreaker, other: LlmBreaker, redis: Redis) -> None:
    await fail(breaker, 1, retry_after=500)
    await fail(other, 1, retry_after=2)
    assert await redis.ttl(CLOSED) > 400
    await fail(other, 1, retry_after=900)
    assert await redis.ttl(CLOSED) > 800


async def test_a_provider_that_asks_for_no_wait_each_time_is_left_alone_all_the_same(
    breaker: LlmBreaker, redis: Redis
) -> None:
    await fail(breaker, FAILURES - 1, retry_after=0.0)
    assert await lets_through(breaker)
    await fail(breaker, 1, retry_after=0.0)
    assert await redis.ttl(CLOSED) > FIRST_PAUSE - 5


# ---------------------------------------------------------------- what a provider asks for


def in_two_minutes() -> str:
    """Return a date as HTTP writes it."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)


WAITS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"retry_after": "40"}, 40),
    "part of a second": ({"retry_after": "1.5"}, 1.5),
    "milliseconds": ({"retry_after_ms": "40000"}, 40),
    "milliseconds before seconds": ({"retry_after_ms": "7000", "retry_after": "40"}, 7),
    "nonsense in milliseconds": ({"retry_after_ms": "soon", "retry_after": "40"}, 40),
    "a date": ({"retry_after": "<in two minutes>"}, 120),
    "a date that is past": ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    "nothing": ({}, None),
    "an empty text": ({"retry_after": ""}, None),
    "nonsense": ({"retry_after": "in a while"}, None),
    "digits of another kind": ({"retry_after": "²"}, None),
    "no number": ({"retry_after": "nan"}, None),
    "no milliseconds": ({"retry_after_ms": "nan"}, None),
    "less than nothing": ({"retry_after": "-5"}, None),
    "a huge number": ({"retry_after": "9" * 40}, MAX_PAUSE),
    "for ever": ({"retry_after_ms": "inf"}, MAX_PAUSE),
    "a date that no calendar has": ({"retry_after": f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT"}, None),
}


@pytest.mark.parametrize("what", sorted(WAITS))
@pytest.mark.parametrize("status", [429, 503])
async def test_all_processes_wait_as_long_as_the_provider_asks(
    what: str, status: int, new_desk: NewDesk, other: LlmBreaker, redis: Redis
) -> None:
    headers, wait = WAITS[what]
    headers = {name: value.replace("<in two minutes>", in_two_minutes()) for name, value in headers.items()}
    desk = new_desk()
    desk.llm.answer(failure(status, **{name: value.encode().decode("latin-1") for name, value in headers.items()}))
    made = await desk.make()
    assert made.reason == {429: "rate_limited: it failed", 503: "http_503: it failed"}[status]
    assert await lets_through(other) is (wait is None)
    left = await redis.pttl(CLOSED) / 1000
    assert (left < 0) if wait is None else (wait * 0.9 - 1 < left <= wait)
    if wait is not None:
        with pytest.raises(ModelUnavailableError, match="the provider asks to wait"):
            await new_desk().make()
        assert len(desk.llm.requests) == 1


async def test_failures_of_any_kind_close_the_gate_and_then_nobody_is_asked(desk: Desk) -> None:
    desk.llm.answer(failure(500))
    for _ in range(FAILURES):
        assert (await desk.make()).outcome is GenerationOutcome.FAILED
    with pytest.raises(ModelUnavailableError, match="5 failures in a row"):
        await desk.make()
    assert len(desk.llm.requests) == FAILURES
    assert len(await desk.rows()) == FAILURES


async def test_a_question_that_is_refused_is_no_failure_of_the_model(desk: Desk, redis: Redis) -> None:
    await redis.set("quiz:llm:failures", FAILURES - 1)
    question = fresh_question(code="SELECT 1", language="sql")
    assert (await desk.make(question)).outcome is GenerationOutcome.QUARANTINED
    assert await redis.get("quiz:llm:failures") is None


# ---------------------------------------------------------------- without Redis


async def test_without_redis_nobody_asks_the_model_and_learners_are_served(
    llm: LlmServer, repository: Repository, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    keep_writing(llm)
    away: Redis = Redis.from_url(f"redis://:a-password-to-hide@127.0.0.1:{servers.free_port()}/0")
    generator = make_generator(repository, settings, away)
    learner = make_learner(version=1)
    with caplog.at_level(logging.WARNING):
        drawn = await generator.generate([learner], live=True)
    assert drawn[learner.id].source is QuestionSource.STATIC
    (record,) = caplog.records
    assert "the source llm has no questions, the next one serves" in record.getMessage()
    assert "Redis is unavailable: ConnectionError" in record.getMessage()
    assert "a-password-to-hide" not in caplog.text
    assert llm.requests == []
    assert generator.llm
    with pytest.raises(ModelUnavailableError, match="Redis is unavailable"):
        await generator.llm.generate(*next(iter(await repository.count_questions())))
    await generator.close()
    await away.aclose()


async def test_a_failure_or_success_that_cannot_be_noted_breaks_nothing() -> None:
    away: Redis = Redis.from_url(f"redis://127.0.0.1:{servers.free_port()}/0")
    breaker = LlmBreaker(away)
    await fail(breaker, 1, retry_after=3)
    await breaker.note_success()
    await away.aclose()
