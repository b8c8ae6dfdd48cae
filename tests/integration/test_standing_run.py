"""The flow runs that a worker keeps under way show what it does; whatever happens to them, answers are graded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun
from prefect.states import Cancelling

import telegram_bot
from domain.ids import QuizId
from domain.models import Quiz
from domain.settings import Settings
from flows import availability, batch_window, lost_runs, standing_run
from flows.lost_runs import close_lost_runs
from flows.standing_run import KEEPER_TAG
from local import servers
from local.supervisor import Program
from observability import metrics
from quizzes import grading
from quizzes.context import QuizContext
from tests.support.classroom import Classroom
from tests.support.roles import ROOT, Role, running_role
from tests.support.service import Learner, Message, Service, is_question, running_service
from tests.support.waiting import WAIT_SECONDS, until

pytestmark = pytest.mark.prefect

StartWorker = Callable[[], AbstractContextManager[Role]]


@pytest.fixture
async def service(settings: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """Yield a service whose runs are under way, and which soon notices what becomes of them and of the server."""
    monkeypatch.setattr(standing_run, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(availability, "PROBE_SECONDS", 0.2)
    settings = settings.model_copy(update={"prefect_api_url": prefect_url})
    async with running_service(settings, servers.free_port()) as service:
        await service.shown()
        yield service


async def run_of_answers(service: Service) -> UUID:
    """Return the run that is to show the next answer."""
    run = await until(lambda: service.worker.standing_runs[0]._run)  # noqa: SLF001 - a look behind the scenes
    assert run.id
    return run.id


async def read_run(run_id: UUID) -> FlowRun:
    async with get_client() as client:
        return await client.read_flow_run(run_id)


async def read_task_runs(run_ids: Iterable[UUID]) -> list[TaskRun]:
    of_runs = FlowRunFilter(id=FlowRunFilterId(any_=list(run_ids)))
    async with get_client() as client:
        return await client.read_task_runs(flow_run_filter=of_runs)


async def ended(run_id: UUID) -> FlowRun:
    """Return a run once it has ended."""

    async def look() -> FlowRun | None:
        run = await read_run(run_id)
        return run if run.state and run.state.is_final() else None

    return await until(look)


async def grades_of(service: Service) -> list[int]:
    """Return how many grades each learner with one has."""
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - a look behind the scenes
    return [row["n"] for row in await pool.fetch("SELECT count(*) AS n FROM answers GROUP BY learner_id")]


async def asked(service: Service, number: int) -> list[tuple[Learner, Message]]:
    """Return new learners, each with a question."""
    learners = await asyncio.gather(*(service.new_learner() for _ in range(number)))
    return [(learner, await learner.get_question()) for learner in learners]


def unrecorded() -> float:
    return float(metrics.UNRECORDED_BATCHES.labels("answers")._value.get())  # noqa: SLF001 - the counter's reading


async def test_what_comes_within_a_window_is_one_task_run_and_its_table_names_quizzes(service: Service) -> None:
    waiting = await asked(service, 6)
    run_id = await run_of_answers(service)
    await asyncio.gather(*(learner.answer(question, 0) for learner, question in waiting))

    async def done() -> list[TaskRun] | None:
        found = [one for one in await read_task_runs([run_id]) if one.state_name == "Completed"]
        return found if sum(int(one.name.split()[0]) for one in found) == len(waiting) else None

    shown = await until(done)
    assert len(shown) < len(waiting)
    assert all(one.state and one.state.message == one.name and not one.tags for one in shown)
    async with get_client() as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))

        async def tables() -> str | None:
            found = await client.read_artifacts(artifact_filter=of_run)
            return "".join(str(one.data) for one in found) if len(found) == len(shown) else None

        text = await until(tables)
    assert not any(str(learner.id) in text for learner, _ in waiting)
    assert all(str(quiz_of(question)) in text for _, question in waiting)


def quiz_of(question: Message) -> QuizId:
    return QuizId(int(question["reply_markup"]["inline_keyboard"][0][0]["callback_data"].split(":")[1]))


async def test_a_run_is_renewed_without_a_gap(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = await asked(service, 8)
    before, first = unrecorded(), await run_of_answers(service)
    monkeypatch.setattr(standing_run, "RENEW_UNITS", 1)
    monkeypatch.setattr(batch_window, "OPEN_SECONDS", 0.1)
    runs = {first}
    for learner, question in waiting:
        await learner.answer(question, 0)
        runs.add(await run_of_answers(service))
    assert (await ended(first)).state_type is StateType.COMPLETED
    await until(lambda: run_of_other(service, first))
    assert unrecorded() == before

    async def all_shown() -> bool:
        found = await read_task_runs(runs | {await run_of_answers(service)})
        return sum(int(one.name.split()[0]) for one in found if one.state_name == "Completed") == len(waiting)

    await until(all_shown)


async def run_of_other(service: Service, run_id: UUID) -> bool:
    return await run_of_answers(service) != run_id


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_a_run_that_an_operator_takes_away_is_replaced_and_no_answer_is_lost(service: Service, how: str) -> None:
    waiting = await asked(service, 3)
    run_id = await run_of_answers(service)
    async with get_client() as client:
        if how == "cancelled":
            await client.set_flow_run_state(run_id, Cancelling(), force=False)
        else:
            await client.delete_flow_run(run_id)
    for learner, question in waiting:
        await learner.answer(question, 0)
    await until(lambda: run_of_other(service, run_id))
    (learner, question), *_ = await asked(service, 1)
    await learner.answer(question, 0)
    assert await grades_of(service) == [1] * 4
    if how == "cancelled":
        following = await run_of_answers(service)
        await until(lambda: completed_in(following))
        assert (await ended(run_id)).state_type is StateType.CANCELLED


async def completed_in(run_id: UUID) -> bool:
    return any(one.state_name == "Completed" for one in await read_task_runs([run_id]))


async def test_a_frozen_server_keeps_nobody_waiting_and_is_counted(service: Service, prefect_server: Program) -> None:
    waiting = await asked(service, 4)
    before = unrecorded()
    with frozen(prefect_server):
        for learner, question in waiting[:2]:
            await learner.answer(question, 0)
        await until(lambda: not service.worker.standing_runs[0].takes_work)
        for learner, question in waiting[2:]:
            await learner.answer(question, 0)
        assert await grades_of(service) == [1] * 4
        assert unrecorded() >= before + 1
    await service.shown()


async def test_the_event_loop_never_stands_still_for_the_server(
    settings: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocking: list[str] = []
    send = httpx.Client.send

    def note(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        blocking.append(str(request.url))
        return send(client, request, **options)

    monkeypatch.setattr(httpx.Client, "send", note)
    settings = settings.model_copy(update={"prefect_api_url": prefect_url})
    async with running_service(settings, servers.free_port()) as service:
        await service.shown()
        for learner, question in await asked(service, 1):
            await learner.answer(question, 0)
        run_id = await run_of_answers(service)
        await until(lambda: completed_in(run_id))
    assert blocking == []


@contextmanager
def frozen(server: Program) -> Iterator[None]:
    """Let a server hold still: it takes connections, and answers nothing."""
    main = psutil.Process(server.pid)
    family = [main, *main.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            process.resume()


async def test_a_batch_that_fails_is_done_again_beside_the_others_and_shown(
    settings: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_run, "RETRIES", {"retries": 2, "retry_delay_seconds": 0.1})
    monkeypatch.setattr("roles.worker.RECOVER_SECONDS", 0.2)
    validate, poisoned, attempts = grading.validate_answers, set[QuizId](), 0

    async def fail(context: QuizContext, quiz_ids: Iterable[QuizId]) -> list[Quiz]:
        nonlocal attempts
        if poisoned.intersection(quiz_ids):
            attempts += 1
            raise RuntimeError("a batch that always fails")
        return await validate(context, quiz_ids)

    monkeypatch.setattr(grading, "validate_answers", fail)
    settings = settings.model_copy(update={"prefect_api_url": prefect_url})
    async with running_service(settings, servers.free_port()) as service:
        await service.shown()
        (bad, question), *others = await asked(service, 4)
        run_id = await run_of_answers(service)
        poisoned.add(quiz_of(question))
        await bad.press(question, 0)
        await until(lambda: attempts)
        for learner, other in others:
            await learner.answer(other, 0)

        async def failed() -> list[TaskRun]:
            return [one for one in await read_task_runs([run_id]) if one.state_type is StateType.FAILED]

        [shown, *_] = await until(failed)
        assert shown.name == "retry · 1 answer"
        assert attempts >= 4
        poisoned.clear()
        pool = service.runtime.repository.database._pool  # noqa: SLF001 - a look behind the scenes
        await pool.execute("UPDATE quizzes SET touched_at = now() - interval '1 hour' WHERE state = 'answered'")
        await bad.wait_for(lambda message: message["edited"])
        assert sorted(await grades_of(service)) == [1] * 4


async def test_a_question_that_was_sent_before_its_batch_failed_is_not_sent_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = await service.new_learner()
    explain, failures = telegram_bot.explain_missing, 0

    async def fail_once(*arguments: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise RuntimeError("after all is sent")
        return await explain(*arguments)

    monkeypatch.setattr(telegram_bot, "explain_missing", fail_once)
    await learner.get_question()
    await service.settled()
    assert failures
    assert sum(is_question(message) for message in await learner.messages()) == 1


# ---------------------------------------------------------------- the end of a worker


@pytest.fixture
def start_worker(settings: Settings, prefect_url: str, tmp_path: Path) -> StartWorker:
    """Return what runs a worker in a process of its own."""
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    settings = Settings(_env_file=None, **(values | {"prefect_api_url": prefect_url}))
    return lambda: running_role(settings, tmp_path, [str(ROOT / "main.py"), "worker"])


async def runs_of(worker: Role) -> list[FlowRun]:
    """Return the runs under way of a worker, once there are two."""

    async def look() -> list[FlowRun] | None:
        running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
        async with get_client() as client:
            found = await client.read_flow_runs(flow_run_filter=running)
        own = [
            run
            for run in found
            if any(f":{worker.process.pid}:" in tag for tag in run.tags if tag.startswith(KEEPER_TAG))
        ]
        return own if len(own) == 2 else None

    return await until(look)


async def test_a_worker_that_is_told_to_end_completes_its_runs(start_worker: StartWorker) -> None:
    with start_worker() as worker:
        runs = await runs_of(worker)
        worker.process.terminate()
        assert await asyncio.to_thread(worker.process.wait, WAIT_SECONDS) == 0
    assert [(await read_run(run.id)).state_type for run in runs] == [StateType.COMPLETED] * 2


async def test_the_runs_of_a_worker_that_was_killed_are_shown_as_crashed(
    start_worker: StartWorker, classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_runs, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(lost_runs, "AGAIN_SECONDS", 0.0)
    with start_worker() as worker:
        runs = await runs_of(worker)
        worker.process.kill()
        worker.process.wait()
    assert await close_lost_runs(classroom.context) >= len(runs)
    for run in runs:
        state = (await read_run(run.id)).state
        assert state
        assert state.type is StateType.CRASHED
        assert "is gone" in (state.message or "")


async def test_a_worker_ends_by_itself_while_the_server_is_frozen(
    start_worker: StartWorker, prefect_server: Program
) -> None:
    with start_worker() as worker:
        await runs_of(worker)
        with frozen(prefect_server):
            worker.process.terminate()
            assert await asyncio.to_thread(worker.process.wait, WAIT_SECONDS) == 0
