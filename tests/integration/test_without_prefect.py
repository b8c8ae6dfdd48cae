"""Prefect may be unavailable: learners notice nothing."""

from __future__ import annotations

import logging

import httpx
import pytest

from domain.settings import Settings
from flows.availability import UNAVAILABLE, PrefectBreaker
from local import servers
from observability import metrics
from tests.support.service import running_service
from tests.support.waiting import WAIT_SECONDS


async def test_quizzes_and_grades_go_on_while_prefect_does_not_answer(settings: Settings) -> None:
    nobody = f"http://127.0.0.1:{servers.free_port()}/api"
    settings = settings.model_copy(update={"prefect_api_url": nobody})
    async with running_service(settings, servers.free_port()) as service:
        learner = await service.new_learner()
        feedback = await learner.answer(await learner.get_question(), 0)
        assert "Streak: 1 day" in feedback["text"]
        assert metrics.PREFECT_UNAVAILABLE._value.get() == 1  # noqa: SLF001 - the gauge's reading


@pytest.mark.prefect
async def test_the_breaker_closes_when_the_server_answers(prefect_url: str) -> None:
    breaker = PrefectBreaker(prefect_url)
    assert not breaker.available
    async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        assert await breaker._find_problem(client) is None  # noqa: SLF001
    breaker._note(None)  # noqa: SLF001
    assert breaker.available
    await breaker.wait_until_available()


def test_only_an_absent_server_is_worth_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flows.availability")

    def told(problem: str | None) -> list[tuple[str, str]]:
        caplog.clear()
        breaker._note(problem)  # noqa: SLF001 - what a probe found
        return [(record.levelname, record.message) for record in caplog.records]

    away, back = (
        ("WARNING", "Prefect is unavailable: work runs without it"),
        ("INFO", "Prefect answers: work runs as flows"),
    )
    breaker = PrefectBreaker("http://127.0.0.1:1/api")
    assert told(None) == [back]
    assert told(None) == []
    assert told(UNAVAILABLE) == [away]
    assert told(UNAVAILABLE) == []
    assert told(None) == [back]
    breaker = PrefectBreaker("http://127.0.0.1:1/api")
    assert told(UNAVAILABLE) == [away]
    assert told("The login is wrong") == [("WARNING", "The login is wrong: work runs without it")]
    assert told("The login is wrong") == []
    assert told(None) == [back]
