"""A trace leads from a learner's request to the grade of their answer, through the processes of bot and worker."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from domain.ids import LearnerId
from domain.settings import Settings
from local.servers import free_port
from repository import Repository
from tests.support.collector import Collector, Span, collecting
from tests.support.factories import some_id
from tests.support.roles import ROOT, Role, running_role
from tests.support.service import Learner, connected
from tests.support.waiting import WAIT_SECONDS, until

TREE = [
    "quiz-bot: receive command",
    "  quiz-worker: handle command",
    "    quiz-worker: prepare quizzes",
    "      quiz-worker: draw review",
    "      quiz-worker: draw SOURCE question",
    "    quiz-worker: send question",
    "      quiz-worker: sendMessage",
    "      quiz-bot: receive tap",
    "        quiz-worker: handle tap",
    "          quiz-worker: take answer",
    "          quiz-worker: adapt difficulty",
    "          quiz-worker: persist grade",
    "          quiz-worker: send feedback",
    "            quiz-worker: editMessageText",
]
"""From the request for a question to the feedback."""

SOURCE = re.compile(r"\b(static|computed)\b")
"""They take turns."""

MAIN = str(ROOT / "main.py")


@dataclass(frozen=True)
class Traced:
    """Bot and worker as processes of their own, and where their spans go."""

    learner: Learner
    telegram: httpx.AsyncClient
    collector: Collector
    bot: Role
    worker: Role


@contextlib.asynccontextmanager
async def traced(settings: Settings, folder: Path, **extra: str) -> AsyncIterator[Traced]:
    """Run bot and worker, with a learner who has pressed START."""
    settings = settings.model_copy(update={"webhook_url": f"http://127.0.0.1:{settings.webhook_port}"})
    settings = Settings(_env_file=None, **settings.model_dump(include=settings.model_fields_set | {"webhook_url"}))
    with contextlib.ExitStack() as stack:
        collector = stack.enter_context(collecting())
        shared = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50", "LOG_FORMAT": "json"}
        bot, worker = (
            stack.enter_context(running_role(settings, folder, [MAIN, role], **(shared | extra)))
            for role in ("bot", "worker")
        )
        async with httpx.AsyncClient(base_url=settings.telegram_api_base_url, timeout=WAIT_SECONDS) as telegram:
            await connected(telegram, "webhook")
            reply = await telegram.post("/api/learners", json={"id": some_id()})
            learner = Learner(telegram, reply.json()["id"])
            await learner.ask("/start", "Welcome")
            yield Traced(learner, telegram, collector, bot, worker)


async def answered_in_a_flow_run(service: Traced, repository: Repository) -> Span | None:
    """Ask for a question and answer it; return the handling of the tap if Prefect shows it."""
    known = len(service.collector.named("handle tap"))
    question = await service.learner.get_question()
    await until(partial(has_trace, repository, LearnerId(service.learner.id)))
    await service.learner.answer(question, 0)
    *_, handled = await until(lambda: service.collector.named("handle tap")[known:])
    return handled if "prefect.flow_run.id" in handled.attributes else None


async def has_trace(repository: Repository, learner_id: LearnerId) -> bool:
    """Return whether the row of a learner's open question has the trace that a tap goes on with; it comes after it."""
    quizzes = await repository.find_open_quizzes([learner_id])
    return any(quiz.traceparent for quiz in quizzes.values())


@pytest.mark.prefect
async def test_one_trace_leads_from_the_request_to_the_grade(
    settings: Settings, repository: Repository, prefect_url: str, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"prefect_api_url": prefect_url})
    async with traced(settings, tmp_path) as service:
        # those before the first flow run has begun are not shown in one
        answer = await until(partial(answered_in_a_flow_run, service, repository), lambda: service.worker.output)
        collector, messages = service.collector, await service.learner.messages()
        await until(lambda: len(collector.tree(answer.trace_id)) == len(TREE))
    assert [SOURCE.sub("SOURCE", line) for line in collector.tree(answer.trace_id)] == TREE

    trace = {span.name: span for span in collector.spans if span.trace_id == answer.trace_id}
    assert trace["receive tap"].kind == "SPAN_KIND_SERVER"
    assert answer.kind == "SPAN_KIND_CONSUMER"
    assert trace["sendMessage"].kind == "SPAN_KIND_CLIENT"
    assert answer.began >= trace["receive tap"].began
    assert trace["send question"].attributes["quiz.id"] == trace["send feedback"].attributes["quiz.id"]
    assert answer.attributes["quiz.update.action"] == "AnswerTap"
    assert not any(span.failed for span in trace.values())

    async with get_client() as client:
        run = await client.read_flow_run(UUID(str(answer.attributes["prefect.flow_run.id"])))
        of_it = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        tables = await client.read_artifacts(flow_run_filter=of_it)
    assert any(answer.trace_id in str(table.data) for table in tables)

    told = repr(collector.spans)
    assert str(service.learner.id) not in told
    words = {word for message in messages for word in message["text"].split() if len(word) > len("handle_command")}
    assert [word for word in words if word in told] == []


async def test_a_line_of_the_log_says_which_update_quiz_and_trace_it_is_about(
    settings: Settings, tmp_path: Path
) -> None:
    async with traced(settings, tmp_path) as service:
        fault = {"method": "sendMessage", "kind": "500", "count": 1}
        (await service.telegram.post("/api/faults", json=fault)).raise_for_status()
        await service.learner.say("/help")
        collector = service.collector
        (call,) = await until(lambda: [span for span in collector.named("sendMessage") if span.failed])
        lines = await until(lambda: [line for line in service.worker.output.splitlines() if "handled again" in line])
    (told,) = map(json.loads, lines)
    assert told["trace_id"] == call.trace_id
    assert told["message"].startswith(f"update {told['update']} will be handled again")


async def test_a_collector_that_is_away_costs_learners_nothing(settings: Settings, tmp_path: Path) -> None:
    async with traced(settings, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}") as service:
        await service.learner.answer(await service.learner.get_question(), 0)
        for role in (service.bot, service.worker):
            await until(partial(says, role, "the collector takes no traces"))
    assert service.collector.spans == []


def says(role: Role, words: str) -> bool:
    return words in role.output
