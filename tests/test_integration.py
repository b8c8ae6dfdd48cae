"""A learner's way through the service: real webhook, real Postgres, real Prefect server, the simulator as Telegram."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterName
from prefect.client.schemas.objects import TaskRun

from domain.catalog import QuizState
from domain.ids import LearnerId, QuizId
from prefect_flows import execute_user_quiz_flow
from quizzes import delivery
from tests.support.service import Learner, Message, Service, is_question, rows
from tests.support.waiting import WAIT_SECONDS, until


def quiz_of(question: Message) -> QuizId:
    return QuizId(int(rows(question)[0][0]["callback_data"].split(":")[1]))


async def right_column(service: Service, question: Message) -> int:
    [quiz] = await service.runtime.repository.get_quizzes([quiz_of(question)])
    return quiz.option_order.index(quiz.question.correct_index)


@pytest.mark.prefect
async def test_a_question_is_asked_answered_and_explained_and_prefect_shows_it(service_with_prefect: Service) -> None:
    service = service_with_prefect
    learner = await service.new_learner()
    question = await learner.get_question()
    feedback = await learner.answer(question, await right_column(service, question))
    assert "Right!" in feedback["text"]
    assert "Streak: 1 day" in feedback["text"]
    assert "Finding your level: 1 of 6" in feedback["text"]
    assert rows(feedback)[0][0]["text"] == "Next question ›"

    [quiz] = await service.runtime.repository.get_quizzes([quiz_of(question)])
    assert quiz.state is QuizState.GRADED
    state = await service.runtime.repository.get_user_state(LearnerId(learner.id))
    assert state is not None
    assert (state.placement_left, state.run, state.streak_days) == (5, 1, 1)
    for run, name in zip(service.worker.standing_runs, ("1 answer · 1 right", "1 question sent"), strict=True):
        shown = await until(partial(completed_task_run, run.ids, name))
        assert shown.state
        assert shown.state.message == name


async def completed_task_run(flow_runs: set[UUID], name: str) -> TaskRun | None:
    """Return a task run that has ended well, of one of some flow runs."""
    of_runs = FlowRunFilter(id=FlowRunFilterId(any_=list(flow_runs)))
    async with get_client() as client:
        task_runs = await client.read_task_runs(flow_run_filter=of_runs)
    return next((one for one in task_runs if one.name == name and one.state_name == "Completed"), None)


async def test_a_wrong_answer_shows_which_one_was_right_and_why(service: Service) -> None:
    learner = await placed_learner(service)
    question = await learner.get_question()
    right = await right_column(service, question)
    feedback = await learner.answer(question, (right + 1) % 4)
    assert f"Not quite: it is {'ABCD'[right]}." in feedback["text"]
    assert f"❌ {'ABCD'[(right + 1) % 4]}" in feedback["text"]
    assert "make good" not in feedback["text"]  # nobody has a debt


@pytest.mark.pooler
async def test_the_next_question_comes_by_its_button(service: Service) -> None:
    learner = await service.new_learner()
    feedback = await learner.answer(await learner.get_question(), 0)
    known = len(await learner.messages())
    await learner.press(feedback)
    assert is_question(await learner.wait_after(known, is_question))


async def placed_learner(service: Service) -> Learner:
    """Return somebody who is known to be a beginner, though they stand on the next level."""
    learner = await service.new_learner()
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - instead of many answers
    await pool.execute(
        "UPDATE learners SET placement_left = 0, ability = -4, ability_variance = 0.01 WHERE id = $1", learner.id
    )
    return learner


async def test_six_answers_place_a_new_learner(service: Service) -> None:
    learner = await service.new_learner()
    for done in range(1, 6):
        question = await learner.get_question()
        feedback = await learner.answer(question, await right_column(service, question))
        assert f"Finding your level: {done} of 6" in feedback["text"]
    question = await learner.get_question()
    feedback = await learner.answer(question, await right_column(service, question))
    assert "Your first 6 answers place you at" in feedback["text"]


@pytest.mark.pooler
async def test_a_wrong_answer_lowers_a_level_that_is_surely_too_high(service: Service) -> None:
    learner = await placed_learner(service)
    question = await learner.get_question()
    feedback = await learner.answer(question, (await right_column(service, question) + 1) % 4)
    assert "Back to Beginner for now. By your answers, you would get about three in ten" in feedback["text"]
    assert "Beginner" in (await learner.get_question())["text"]


@pytest.mark.pooler
async def test_every_update_delivered_three_more_times_in_any_order_changes_nothing(service: Service) -> None:
    learners = [await service.new_learner() for _ in range(3)]
    for _ in range(2):
        await asyncio.gather(*(answer_one(learner) for learner in learners))
    await service.settled()
    before = {learner.id: await learner.messages() for learner in learners}
    grades = await count_grades(service)
    await service.telegram.post("/api/redeliveries", json={"times": 3, "seed": random.randrange(10**6)})
    await service.settled()
    await asyncio.sleep(0.5)
    assert await count_grades(service) == grades == {learner.id: 2 for learner in learners}
    assert {learner.id: await learner.messages() for learner in learners} == before


async def answer_one(learner: Learner) -> None:
    await learner.answer(await learner.get_question(), random.randrange(4))


async def count_grades(service: Service) -> dict[int, int]:
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - a look behind the scenes
    rows = await pool.fetch("SELECT learner_id, count(*) AS grades FROM answers GROUP BY learner_id")
    return {row["learner_id"]: row["grades"] for row in rows}


@pytest.mark.pooler
async def test_taps_that_arrive_together_count_once(service: Service) -> None:
    learner = await service.new_learner()
    question = await learner.get_question()
    await asyncio.gather(*(learner.press(question, column) for column in (0, 1, 2, 3)))
    await learner.wait_for(lambda message: message["edited"])
    await service.settled()
    assert await count_grades(service) == {learner.id: 1}


async def toasts(service: Service) -> list[str]:
    return [request["values"].get("text", "") for request in await service.requests("answerCallbackQuery")]


async def test_somebody_elses_tap_gets_a_toast_and_has_no_effect(service: Service) -> None:
    owner, stranger = await service.new_learner(), await service.new_learner()
    question = await owner.get_question()
    await stranger.forge((await stranger.messages())[-1], rows(question)[0][0]["callback_data"])
    await service.settled()
    assert any("is somebody else's" in toast for toast in await toasts(service))
    assert await count_grades(service) == {}
    assert not (await owner.messages())[-1]["edited"]


FORGERIES = ["a:999999999:0", "a:1:9", "a:1", "a:-1:0", "x:2", "nonsense", "a:1:0:0", "z:../../etc"]


async def test_a_forged_tap_gets_a_toast_and_does_nothing(service: Service) -> None:
    learner = await service.new_learner()
    before = await learner.messages()
    for data in FORGERIES:
        await learner.forge(before[-1], data)
    await service.settled()
    assert await learner.messages() == before
    told = await toasts(service)
    assert len(told) == len(FORGERIES)
    assert all("no longer works" in toast for toast in told)
    assert await count_grades(service) == {}


async def test_an_answered_question_answers_a_second_tap_with_a_toast(service: Service) -> None:
    learner = await service.new_learner()
    question = await learner.get_question()
    feedback = await learner.answer(question, 0)
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - time cannot be sped up
    await pool.execute("UPDATE quizzes SET answered_at = now() - interval '1 minute' WHERE learner_id = $1", learner.id)
    await learner.forge(feedback, rows(question)[0][1]["callback_data"])
    await service.settled()
    assert any("already answered this one" in toast for toast in await toasts(service))
    assert await count_grades(service) == {learner.id: 1}


async def test_asking_again_before_answering_shows_the_same_question(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "IN_VIEW", timedelta())
    learner = await service.new_learner()
    first, second = await learner.get_question(), await learner.get_question()
    assert first["text"] == second["text"]
    assert quiz_of(first) == quiz_of(second)
    assert "edited" in await learner.answer(second, 1)


async def test_who_has_not_started_is_told_how(service: Service) -> None:
    learner = await service.new_learner(registered=False)
    assert "/start to begin" in (await learner.ask("/quiz", "don't know you"))["text"]


@pytest.mark.prefect
async def test_runs_are_found_by_the_learner_they_serve_and_go_with_them(service_with_prefect: Service) -> None:
    learner = await service_with_prefect.new_learner()
    await execute_user_quiz_flow([learner.id])
    wanted = FlowRunFilter(name=FlowRunFilterName(any_=[f"quiz {learner.id}"]))
    async with get_client() as client:
        assert len(await client.read_flow_runs(flow_run_filter=wanted)) == 1
        await learner.press_labelled(await learner.ask("/erase", "Erase everything?"), "Yes, erase")
        await learner.wait_for(lambda message: "is deleted" in message["text"])
        async with asyncio.timeout(WAIT_SECONDS):
            while await client.read_flow_runs(flow_run_filter=wanted):
                await asyncio.sleep(0.1)
