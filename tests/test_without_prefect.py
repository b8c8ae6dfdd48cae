"""Prefect may be away: learners notice nothing."""

from __future__ import annotations

import logging

import httpx
import pytest

from domain.settings import Settings
from local import servers
from observability import metrics
from tests.support import running_service
from worker import PrefectBreaker


async def test_quizzes_and_grades_go_on_while_prefect_does_not_answer(settings: Settings) -> None:
    nobody = f"http://127.0.0.1:{servers.free_port()}/api"
    settings = settings.model_copy(update={"prefect_api_url": nobody})
    async with running_service(settings, servers.free_port()) as service:
        learner = await service.new_learner()
        feedback = await learner.answer(await learner.get_question(), 0)
        assert "Streak: 1 day" in feedback["text"]
        assert metrics.PREFECT_AWAY._value.get() == 1  # noqa: SLF001 - the gauge's reading


@pytest.mark.prefect
async def test_the_breaker_closes_when_the_server_answers_and_opens_when_a_run_fails(prefect_url: str) -> None:
    breaker = PrefectBreaker(prefect_url)
    assert not breaker.closed
    async with httpx.AsyncClient() as client:
        assert await breaker._answers(client)  # noqa: SLF001
    breaker._note(answers=True)  # noqa: SLF001
    assert breaker.closed
    breaker.trip()
    assert not breaker.closed


def test_only_an_absent_server_is_worth_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="worker")

    def told(*, answers: bool) -> list[tuple[str, str]]:
        caplog.clear()
        breaker._note(answers=answers)  # noqa: SLF001 - what a probe found
        return [(record.levelname, record.message) for record in caplog.records]

    away, back = ("WARNING", "Prefect is away: work runs without it"), ("INFO", "Prefect answers: work runs as flows")
    breaker = PrefectBreaker("http://127.0.0.1:1/api")
    assert told(answers=True) == [back]
    assert told(answers=True) == []
    assert told(answers=False) == [away]
    assert told(answers=False) == []
    assert told(answers=True) == [back]
    breaker = PrefectBreaker("http://127.0.0.1:1/api")
    assert told(answers=False) == [away]


@pytest.mark.prefect
async def test_a_run_that_fails_in_the_middle_is_finished_without_prefect_and_sends_nothing_twice(
    settings: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import prefect_flows

    settings = settings.model_copy(update={"prefect_api_url": prefect_url})

    async def lose_the_server(*_: object) -> None:
        raise httpx.ConnectError("the server is gone")

    async with running_service(settings, servers.free_port()) as service:
        learner = await service.new_learner()
        monkeypatch.setattr(prefect_flows, "_publish", lose_the_server)  # the last step: all is sent already
        question = await learner.get_question()
        await service.settled()
        feedback = await learner.answer(question, 0)
        await service.settled()
        assert "Streak: 1 day" in feedback["text"]
        sent = [m for m in await learner.messages() if not m["out"] and m["text"] != "" and "Welcome" not in m["text"]]
        assert len(sent) == 1
