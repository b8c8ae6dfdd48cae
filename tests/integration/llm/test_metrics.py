"""What operators see: calls and their outcomes by process, and stock, tokens and money of all processes by the rows."""

from __future__ import annotations

from typing import NoReturn

import pytest
from prometheus_client import REGISTRY
from redis import exceptions

from domain.catalog import Level, Topic
from domain.errors import GenerationError, ModelUnavailableError, StorageUnavailableError
from observability import metrics
from question_sources.llm.gauges import show_generations, show_questions
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import LEVEL, TOPIC, Desk, fresh_question, keep_writing, metric
from tests.support.factories import make_learner
from tests.support.llm_server import blind_answer, completion, failure
from tests.support.waiting import WAIT_SECONDS, until


def calls(purpose: str, outcome: str) -> float:
    """Return how many requests ended so."""
    return metric("quiz_llm_calls_total", purpose=purpose, outcome=outcome)


async def test_calls_are_counted_by_purpose_and_outcome(desk: Desk) -> None:
    answered = calls("write", "answered"), calls("answer", "answered")
    await desk.make(fresh_question())
    assert (calls("write", "answered"), calls("answer", "answered")) == (answered[0] + 1, answered[1] + 3)


@pytest.mark.parametrize(("reply", "outcome"), [(failure(500), "http_500"), (completion("no JSON"), "malformed")])
async def test_failed_calls_are_counted_by_what_went_wrong(desk: Desk, reply: object, outcome: str) -> None:
    before = calls("write", outcome), calls("answer", outcome)
    keep_writing(desk.llm)
    desk.llm.answer_blind(reply)  # type: ignore[arg-type]
    await desk.make()
    assert calls("answer", outcome) == before[1] + 3
    desk.llm.compose = None
    desk.llm.answer(reply)  # type: ignore[arg-type]
    await desk.make()
    assert calls("write", outcome) == before[0] + 1


async def test_a_call_that_is_given_up_is_not_counted_as_answered(new_desk: NewDesk) -> None:
    desk = new_desk(openai_live_seconds=0.2)
    keep_writing(desk.llm, delay=WAIT_SECONDS)
    before = calls("write", "given_up"), calls("write", "answered")
    with pytest.raises(GenerationError):
        await desk.source.draw([make_learner()], live=True)
    await until(lambda: desk.llm.requests)
    await desk.source.close()
    assert (calls("write", "given_up"), calls("write", "answered")) == (before[0] + 1, before[1])


async def test_seconds_are_measured(desk: Desk) -> None:
    before = (
        metric("quiz_llm_call_seconds_sum", purpose="write"),
        metric("quiz_llm_call_seconds_count", purpose="write"),
    )
    keep_writing(desk.llm, delay=0.1)
    await desk.make()
    assert metric("quiz_llm_call_seconds_sum", purpose="write") >= before[0] + 0.1
    assert metric("quiz_llm_call_seconds_count", purpose="write") == before[1] + 1


async def test_waiting_learners_are_counted_by_what_they_got(new_desk: NewDesk) -> None:
    def waits() -> list[float]:
        return [metric("quiz_llm_live_total", outcome=x) for x in ("served", "too_late", "unavailable")]

    desk = new_desk(openai_live_seconds=WAIT_SECONDS)
    keep_writing(desk.llm)
    before = waits()
    await desk.source.draw([make_learner(level=Level.BEGINNER)], live=True)
    assert waits() == [before[0] + 1, before[1], before[2]]
    desk.llm.answer_blind(blind_answer("A", flawed=True))
    await desk.source.draw([make_learner(level=Level.EXPERT)], live=True)
    assert waits() == [before[0] + 1, before[1], before[2] + 1]
    await desk.redis.set("quiz:llm:closed", "it failed")
    with pytest.raises(GenerationError):
        await desk.source.draw([make_learner(level=Level.ADVANCED)], live=True)
    assert waits() == [before[0] + 1, before[1], before[2] + 2]


async def test_the_gauges_show_what_the_rows_tell(desk: Desk) -> None:
    keep_writing(desk.llm)
    await desk.make()
    await desk.make()
    desk.llm.compose = None
    await desk.make(fresh_question(code="SELECT 1", language="sql"))
    desk.llm.answer(failure(500))
    await desk.make()
    await desk.redis.set("quiz:llm:closed", "it failed", ex=60)
    metrics.LLM_CLOSED.set(0)
    await show_generations(desk.repository, desk.source.breaker, desk.settings)
    today = [metric("quiz_llm_questions_today", outcome=x) for x in ("begun", "accepted", "quarantined", "failed")]
    assert today == [0, 2, 1, 1]
    assert metric("quiz_llm_tokens_today", kind="prompt") == 9 * 300
    assert metric("quiz_llm_tokens_today", kind="completion") == 9 * 400
    assert metric("quiz_llm_cost_today_usd") == pytest.approx(float(await desk.spent()))
    assert metric("quiz_llm_budget_usd") == 100
    assert metric("quiz_llm_closed") == 1
    assert metric("quiz_llm_stock", topic=TOPIC.value, level=str(int(LEVEL))) == 2
    assert metric("quiz_llm_stock", topic=Topic.STREAMING.value, level="1") == 0
    assert metric("quiz_llm_stock", topic=Topic.GOVERNANCE_SECURITY.value, level="4") == 0


async def test_yesterdays_rows_are_not_shown_today(desk: Desk) -> None:
    await desk.make(fresh_question())
    pool = desk.repository.database._pool  # noqa: SLF001 - a day cannot be waited for
    await pool.execute("UPDATE generations SET begun_at = begun_at - interval '1 day'")
    await show_generations(desk.repository, desk.source.breaker, desk.settings)
    assert metric("quiz_llm_questions_today", outcome="accepted") == 0
    assert metric("quiz_llm_cost_today_usd") == 0
    assert metric("quiz_llm_stock", topic=TOPIC.value, level=str(int(LEVEL))) == 1
    assert [one.questions for one in await desk.repository.sum_generations(days=2)] == [1]


async def test_gauges_whose_database_is_silent_disappear_until_it_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def show() -> None:
        await show_questions(desk.repository)
        await show_generations(desk.repository, desk.source.breaker, desk.settings)

    async def fail() -> NoReturn:
        raise StorageUnavailableError

    names = ("quiz_questions_quarantined", "quiz_llm_cost_today_usd", "quiz_llm_budget_usd")
    await show()
    assert None not in {REGISTRY.get_sample_value(name) for name in names}
    with monkeypatch.context() as silent:
        silent.setattr(desk.repository, "count_questions_by_state", fail)
        silent.setattr(desk.repository, "sum_generations", fail)
        for shown in (
            show_questions(desk.repository),
            show_generations(desk.repository, desk.source.breaker, desk.settings),
        ):
            with pytest.raises(StorageUnavailableError):
                await shown
    assert {REGISTRY.get_sample_value(name) for name in names} == {None}
    await show()
    assert None not in {REGISTRY.get_sample_value(name) for name in names}


async def test_nobody_knows_whether_the_model_is_left_alone_without_redis(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> NoReturn:
        raise exceptions.ConnectionError

    await desk.source.breaker.check()
    assert REGISTRY.get_sample_value("quiz_llm_closed") == 0
    monkeypatch.setattr(desk.redis, "get", fail)
    with pytest.raises(ModelUnavailableError):
        await desk.source.breaker.check()
    assert REGISTRY.get_sample_value("quiz_llm_closed") is None
