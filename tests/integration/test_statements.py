"""What answers cost the database: which statements run for a hundred taps, from the webhook to the feedback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from domain.callbacks import AnswerTap
from domain.catalog import QuizKind
from domain.ids import LearnerId, QuizId
from domain.models import NewQuiz, SentQuestion
from domain.settings import Settings
from flows.context import use_context
from question_sources.stored import BANK
from repository import Repository
from roles.webhook import create_app
from roles.webhook_registration import PATH, SECRET_HEADER, webhook_secret
from roles.worker import Worker
from storage.database import Database
from tests.support.classroom import RecordingMessenger
from tests.support.factories import BOT_ID, some_id
from tests.support.serving import serving
from tests.support.waiting import WAIT_SECONDS, until
from wiring import open_runtime

TAPS = 100
OTHERS = {
    *("record_heartbeat", "claim_updates", "count_waiting_updates", "count_questions_by_state", "extend_claims"),
    *("find_stalled_quizzes", "list_heartbeats", "list_pauses", "return_updates"),
}
"""Statements that run every so often, or once at a worker's end, whatever learners do."""


@contextmanager
def counted_statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Yield how often each named query runs, but for those that nobody's taps cause."""
    counts: Counter[str] = Counter()

    def count(method: str) -> None:
        run = getattr(Database, method)

        def counting(database: Database, name: str, *arguments: object) -> object:
            counts.update({name} - OTHERS)
            return run(database, name, *arguments)

        patched.setattr(Database, method, counting)

    with monkeypatch.context() as patched:
        for method in ("fetch", "fetchrow", "fetchval", "execute"):
            count(method)
        yield counts


async def open_quizzes(repository: Repository, settings: Settings) -> dict[LearnerId, QuizId]:
    """Return new learners, each with a quiz in the chat."""
    learners = [(await repository.add_learner(LearnerId(some_id()), BOT_ID, settings))[0] for _ in range(TAPS)]
    questions = await repository.pick_questions(learners, BANK)
    new = [NewQuiz(learner.id, questions[learner.id].id, (0, 1, 2, 3)) for learner in learners]
    made = await repository.create_quizzes(QuizKind.ON_DEMAND, new, timedelta(hours=1))
    await repository.mark_sent([SentQuestion(quiz_id, place, BOT_ID) for place, quiz_id in enumerate(made.values(), 1)])
    return made


def tap_on(quiz_id: QuizId, learner_id: LearnerId, message_id: int) -> dict[str, object]:
    """Return the update of a tap on a quiz's first button."""
    chat = {"id": learner_id, "type": "private"}
    shown = {"message_id": message_id, "date": int(datetime.now(UTC).timestamp()), "chat": chat}
    tap = {"id": str(some_id()), "from": {"id": learner_id, "is_bot": False}, "message": shown, "chat_instance": "1"}
    return {"update_id": some_id(), "callback_query": tap | {"data": AnswerTap(quiz_id, 0).pack()}}


async def test_a_batch_of_taps_shares_all_statements_but_the_one_that_moves_a_learner(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await handle_a_batch(settings, monkeypatch)


@pytest.mark.prefect
async def test_as_flows_a_batch_takes_no_statement_more(
    settings: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await handle_a_batch(settings.model_copy(update={"prefect_api_url": prefect_url}), monkeypatch)


async def handle_a_batch(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hundred learners tap and a worker handle it, and look at the statements of both."""
    messenger = RecordingMessenger()
    async with open_runtime(settings) as opened:
        quizzes = await open_quizzes(opened.repository, settings)
        with counted_statements(monkeypatch) as at_the_door:
            await deliver_taps(settings, quizzes)
        runtime = replace(opened, context=replace(opened.context, messenger=messenger))
        with counted_statements(monkeypatch) as behind_it, use_context(runtime.context):
            await work_off(Worker(runtime), runtime.repository, monkeypatch)
    assert at_the_door == {"store_update": TAPS}
    assert behind_it == {
        "record_taps": 1,
        "get_quizzes": 1,
        "get_learners": 1,
        "get_grading_facts": 1,
        "get_level_difficulties": 1,
        "persist_answer": TAPS,
        "get_grades": 1,
        "mark_feedback_sent": 1,
        "finish_updates": 1,
    }
    assert {quiz.id for quiz, _ in messenger.feedback} == set(quizzes.values())
    assert len(messenger.feedback) == TAPS


async def work_off(worker: Worker, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker handle what is stored, and end; with Prefect, once its runs are under way."""
    take = worker._take  # noqa: SLF001

    async def take_when_shown() -> None:
        await until(lambda: all(run.takes_work for run in worker.standing_runs))
        await take()

    if worker._runtime.settings.prefect_api_url:  # noqa: SLF001
        monkeypatch.setattr(worker, "_take", take_when_shown)
    working = asyncio.create_task(worker.run())
    async with asyncio.timeout(WAIT_SECONDS):
        while (await repository.count_waiting_updates())[0]:
            await asyncio.sleep(0.02)
    worker.stop()
    await working


async def deliver_taps(settings: Settings, quizzes: dict[LearnerId, QuizId]) -> None:
    """Let every learner tap, with no worker there."""
    secret = {SECRET_HEADER: webhook_secret(settings, BOT_ID)}
    taps = [tap_on(quiz_id, learner_id, number) for number, (learner_id, quiz_id) in enumerate(quizzes.items(), 1)]
    async with (
        serving(create_app(settings), settings.webhook_port) as url,
        httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client,
    ):
        for tap in taps:
            (await client.post(PATH, json=tap, headers=secret)).raise_for_status()
