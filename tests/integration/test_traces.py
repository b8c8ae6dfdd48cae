"""Traces of many learners at once, of distributions and of failures: each quiz has one, complete by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

import prefect_flows
from domain.callbacks import AnswerTap
from domain.catalog import QuizKind
from domain.ids import LearnerId
from domain.settings import Settings
from domain.updates import Incoming, UpdateKind
from local import servers
from observability.tracing import set_up_tracing, shut_down_tracing
from quizzes.delivery import serve_quizzes
from roles.intake import store_update
from tests.integration.test_daily import due_learner, latest_distribution, task_runs
from tests.support.collector import Collector, collecting
from tests.support.factories import BOT_ID, some_id
from tests.support.service import Learner, Service, rows, running_service, running_worker
from tests.support.waiting import until
from wiring import open_runtime

GRADED = [
    "quiz-worker: receive tap",
    "  quiz-worker: handle tap",
    "    quiz-worker: take answer",
    "    quiz-worker: adapt difficulty",
    "    quiz-worker: persist grade",
    "    quiz-worker: send feedback",
    "      quiz-worker: editMessageText",
]
"""What a tap adds to the trace of its quiz; all processes are one here, with one name."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Yield where the spans of this process go, as if it were a worker."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with collecting() as collector:
        set_up_tracing(Settings(_env_file=None, otel_exporter_otlp_endpoint=collector.url), "worker")
        try:
            yield collector
        finally:
            shut_down_tracing()


async def registered(settings: Settings, count: int) -> list[Learner]:
    """Return learners who have pressed START."""
    async with running_service(settings, servers.free_port()) as service:
        learners = [await service.new_learner() for _ in range(count)]
        await service.settled()
    return learners


async def test_answers_of_one_batch_have_a_complete_trace_each(settings: Settings, collector: Collector) -> None:
    ids = [LearnerId(learner.id) for learner in await registered(settings, 3)]
    async with open_runtime(settings) as runtime:
        await serve_quizzes(runtime.context, ids, QuizKind.ON_DEMAND)
        quizzes = await runtime.repository.find_open_quizzes(ids)
        for quiz in quizzes.values():
            tap = AnswerTap(quiz.id, 0)
            update = Incoming(some_id(), quiz.learner_id, UpdateKind.TAP, tap.pack(), quiz.message_id, callback=tap)
            await store_update(runtime.repository, BOT_ID, update)
    async with running_worker(settings):  # which finds all three at once
        await until(lambda: len(collector.named("handle tap")) == len(ids))
    for quiz in quizzes.values():
        (sent,) = (span for span in collector.named("send question") if span.attributes["quiz.id"] == quiz.id)
        assert collector.tree(sent.trace_id) == [
            "quiz-worker: send question",
            "  quiz-worker: sendMessage",
            *(f"  {line}" for line in GRADED),
        ]
    first, *others = (span for span in collector.spans if span.name == "take answer")
    assert all(other.began < first.ended for other in others)  # one batch, at the same time


@pytest.mark.prefect
async def test_a_distribution_has_a_trace_and_each_of_its_quizzes_one_that_links_to_it(
    service_with_prefect: Service, collector: Collector
) -> None:
    learners = [await due_learner(service_with_prefect) for _ in range(2)]
    await prefect_flows.distribute_daily_quizzes()
    (distribution,) = await until(lambda: collector.named("distribute_daily_quizzes"))
    sent = collector.named("send question")
    assert [span.links for span in sent] == [(distribution.span_id,)] * len(learners)
    assert len({distribution.trace_id, *(span.trace_id for span in sent)}) == 1 + len(learners)
    assert collector.tree(distribution.trace_id)[0] == "quiz-worker: distribute_daily_quizzes"
    run = await latest_distribution()
    assert distribution.attributes["prefect.flow_run.id"] == str(run.id)
    async with get_client() as client:
        of_it = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        found = {one.key: one for one in await client.read_artifacts(flow_run_filter=of_it)}
    steps = await task_runs(run, "prepare · 2 learners", "send · 2 questions")
    assert {str(step.labels["__OTEL_TRACEPARENT"]).split("-")[1] for step in steps} == {distribution.trace_id}
    table = found["daily-distribution"]
    assert str(table.description).endswith(f"; trace {distribution.trace_id}")
    (row,) = json.loads(str(table.data))
    assert set(row["traces"].split(", ")) == {span.trace_id for span in sent}


async def test_a_failure_is_told_by_its_class_and_quotes_nothing(service: Service, collector: Collector) -> None:
    learner = await service.new_learner()
    fault = {"method": "sendMessage", "kind": "403", "count": 1}
    (await service.telegram.post("/api/faults", json=fault)).raise_for_status()
    await learner.say("/quiz")
    (call,) = await until(lambda: [span for span in collector.named("sendMessage") if span.failed])
    assert call.attributes["error.type"] == "Forbidden"
    assert call.kind == "SPAN_KIND_CLIENT"
    assert "blocked" not in repr(call)


async def test_a_tap_on_somebody_elses_quiz_is_not_in_its_trace(service: Service, collector: Collector) -> None:
    owner, stranger = await service.new_learner(), await service.new_learner()
    question = await owner.get_question()
    await stranger.forge((await stranger.messages())[-1], rows(question)[0][0]["callback_data"])
    (tap,) = await until(lambda: collector.named("handle tap"))
    (sent,) = await until(lambda: collector.named("send question"))
    assert tap.trace_id != sent.trace_id


async def test_without_tracing_no_row_has_a_context(service: Service) -> None:
    learner = await service.new_learner()
    await learner.answer(await learner.get_question(), 0)
    pool = service.runtime.repository.database._pool  # noqa: SLF001 - a look behind the scenes
    for table in ("updates", "quizzes"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") > 0  # noqa: S608
        assert await pool.fetchval(f"SELECT count(traceparent) FROM {table}") == 0  # noqa: S608
