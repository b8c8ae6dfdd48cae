"""The flows that operators watch: the daily distribution, learners' quizzes, grading and upkeep.

Flows and tasks are set-based: a run serves one learner or many along the same path. Tasks are thin calls into
`quiz_session.py`; the rows say what is done, so a retried task does only what is still undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_client, runtime, tags, task
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import StateType
from prefect.tasks import exponential_backoff
from pydantic import Field

import quiz_grading
import quiz_reports
import quiz_session
import quiz_upkeep
from cohort_runs import CANCELLED, CohortRuns, all_of, count_runs, was_called_off
from domain.bank import ReportedQuestion
from domain.catalog import Priority, QuestionState, QuizKind, ReportReason
from domain.ids import LearnerId, QuizId
from domain.models import Delivery, Outcome
from domain.settings import load_settings
from observability.logs import redact
from quiz_grading import Proposal
from quiz_session import Services
from services import open_services

LearnerIds = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=100_000)]
"""Telegram user ids, as an operator types them."""

COHORTS_AT_ONCE = 3
"""Cohorts of a bot under way at once: while one is being prepared, another keeps Telegram's rate filled."""

PROGRESS_SECONDS = 2.0
QUIZZES_IN_ROW = 20
"""More ids than this make a row of the artifact unreadable; the rest are counted."""

_RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=1),
    "retry_jitter_factor": 0.5,
}
"""For tasks that talk to the database or to Telegram: after 1, 2 and 4 seconds, each up to half as much later."""

_opened: Services | None = None
_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)
"""The bar of the distribution that a cohort belongs to; a flow's parameters must be JSON, so it is not one of them."""


def use_services(services: Services | None) -> None:
    """Let the flows of this process work with services that are open already.

    Args:
        services: those of a long-lived worker; None to open some for each run again.
    """
    global _opened  # noqa: PLW0603 - Prefect calls flows with parameters only
    _opened = services


@contextlib.asynccontextmanager
async def services_of_run() -> AsyncIterator[Services]:
    """Yield the process's services, or open some for a run that has a process of its own."""
    if _opened is not None:
        yield _opened
        return
    async with open_services(load_settings()) as wiring:
        use_services(wiring.services)
        try:
            yield wiring.services
        finally:
            use_services(None)


def current_services() -> Services:
    """Return the services that the run works with."""
    if _opened is None:
        msg = "a task was called outside its flow"
        raise RuntimeError(msg)
    return _opened


# ---------------------------------------------------------------- tasks


@task(name="find due learners", **_RETRIES)
async def find_due(at: datetime, among: list[LearnerId] | None, limit: int | None) -> list[LearnerId]:
    """Return who is to get the daily quiz; see `quiz_session.find_due_learners`."""
    return await quiz_session.find_due_learners(current_services(), at, among, limit)


@task(name="prepare quizzes", **_RETRIES)
async def prepare(learner_ids: list[LearnerId], kind: QuizKind, due_at: datetime | None) -> quiz_session.Prepared:
    """Fetch states, pick questions and make quizzes; see `quiz_session.prepare_quizzes`."""
    return await quiz_session.prepare_quizzes(current_services(), learner_ids, kind, due_at)


@task(name="send questions", **_RETRIES)
async def send(quiz_ids: list[QuizId], kind: QuizKind) -> list[Delivery]:
    """Send quizzes at Telegram's pace; see `quiz_session.deliver_quizzes`."""
    progress = _progress.get()
    return await quiz_session.deliver_quizzes(
        current_services(),
        quiz_ids,
        Priority.INTERACTIVE if kind.is_awaited else Priority.BROADCAST,
        again=kind.is_awaited,
        on_progress=progress.step if progress else None,
    )


@task(name="validate answers", **_RETRIES)
async def validate(quiz_ids: list[QuizId]) -> list[QuizId]:
    """Return those that wait to be graded; see `quiz_grading.validate_answers`."""
    return [quiz.id for quiz in await quiz_grading.validate_answers(current_services(), quiz_ids)]


@task(name="adapt difficulty and persist", **_RETRIES)
async def adapt_and_persist(quiz_ids: list[QuizId]) -> int:
    """Work out and keep what the answers change, and return how many grades were kept."""
    services = current_services()
    quizzes = await quiz_grading.validate_answers(services, quiz_ids)
    proposals: list[Proposal] = await quiz_grading.adapt_difficulty(services, quizzes)
    return len(await quiz_grading.persist_answers(services, proposals))


@task(name="give feedback", **_RETRIES)
async def tell(quiz_ids: list[QuizId]) -> list[Delivery]:
    """Tell learners what became of their answers; see `quiz_grading.give_feedback`."""
    return await quiz_grading.give_feedback(current_services(), quiz_ids)


# ---------------------------------------------------------------- flows


def _quiz_run_name() -> str:
    learner_ids = runtime.flow_run.parameters.get("learner_ids") or []
    return f"quiz {learner_ids[0]}" if len(learner_ids) == 1 else f"quiz · {len(learner_ids)} learners"


@flow(name="execute_user_quiz_flow", flow_run_name=_quiz_run_name)
async def execute_user_quiz_flow(
    learner_ids: LearnerIds, kind: QuizKind = QuizKind.ON_DEMAND, due_at: datetime | None = None
) -> list[Delivery]:
    """Send a quiz to each of the learners.

    Args:
        learner_ids: Telegram user ids of registered learners.
        kind: `on_demand` gives a question now; `daily` gives today's quiz, once a local day; `review` gives a question
            that the learner missed before, if one is due.
        due_at: only those whose daily quiz was due by then and is still to be made or sent, so that a run which begins
            late serves nobody before their hour; everybody when empty.

    Returns:
        What became of each learner's quiz.
    """
    async with services_of_run():
        if due_at and await was_called_off():
            return all_of([LearnerId(i) for i in learner_ids], Outcome.SKIPPED, CANCELLED)
        prepared = await prepare([LearnerId(i) for i in learner_ids], kind, due_at)
        sent = await send(prepared.quiz_ids, kind) if prepared.quiz_ids else []
        deliveries = prepared.skipped + sent
        await _publish("quizzes", deliveries)
        return deliveries


@flow(name="distribute_daily_quizzes")
async def distribute_daily_quizzes(
    learner_ids: LearnerIds | None = None,
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None,
    ignore_hour: bool = False,  # noqa: FBT001, FBT002 - Prefect passes parameters by name, from a form
    dry_run: bool = False,  # noqa: FBT001, FBT002
) -> dict[str, int]:
    """Send the daily quiz to everybody whose local time has come.

    Args:
        learner_ids: only these learners; everybody when empty.
        limit: at most so many learners, those who have waited longest first.
        ignore_hour: serve also those whose hour has not come yet. Nobody gets two daily quizzes on one local day.
        dry_run: only report who is due.

    Returns:
        How many quizzes were sent, skipped and failed.
    """
    async with services_of_run() as services:
        at = services.now()
        among = None if learner_ids is None else [LearnerId(i) for i in learner_ids]
        due = await find_due(datetime.max.replace(tzinfo=UTC) if ignore_hour else at, among, limit)
        naming = asyncio.create_task(_rename(f"daily {at:%Y-%m-%d %H:%M} · {_learners(len(due))}"))
        if dry_run:
            deliveries = [Delivery(learner_id, Outcome.SKIPPED, "dry run") for learner_id in due]
        else:
            deliveries = await _serve_cohorts(services, due, None if ignore_hour else at)
        await naming
        await _publish("daily-distribution", deliveries)
        return _count(deliveries)


async def _serve_cohorts(services: Services, due: Sequence[LearnerId], due_at: datetime | None) -> list[Delivery]:
    """Deal the learners into cohorts, and let each be served here or, if that is worth it, by any Prefect worker.

    Before their hour learners are served here only: a run that begins late could not tell whom to pass over.
    """
    if not due:
        return []
    settings = services.settings
    progress = await Progress.begin(len(due))
    _progress.set(progress)
    most, at_once, elsewhere = settings.max_flow_runs_per_distribution, COHORTS_AT_ONCE, None
    if due_at and (runs := count_runs(len(due), settings)) > 1:
        most, at_once, elsewhere = runs, runs, CohortRuns(services, due_at, progress, _serve_here)
    shares = await quiz_session.share_out(services, due, most)
    cohorts = [cohort for share in shares.values() for cohort in share]

    async def serve(cohort: list[LearnerId], turns: asyncio.Semaphore) -> list[Delivery]:
        async with turns:
            if await progress.is_cancelled():
                return all_of(cohort, Outcome.SKIPPED, CANCELLED)
            if elsewhere and len(cohort) >= settings.min_cohort_size:
                return await elsewhere.serve(cohort)
            return await _serve_here(cohort)

    turns = {bot_id: asyncio.Semaphore(at_once) for bot_id in shares}  # no bot waits for another's rate
    work = [serve(cohort, turns[bot_id]) for bot_id, share in shares.items() for cohort in share]
    results = await asyncio.gather(*work, return_exceptions=True)
    await progress.finish()
    deliveries: list[Delivery] = []
    for cohort, result in zip(cohorts, results, strict=True):
        if isinstance(result, BaseException):
            deliveries += all_of(cohort, Outcome.FAILED, redact(f"{type(result).__name__}: {result}"))
        else:
            deliveries += result
    return deliveries


async def _serve_here(cohort: list[LearnerId]) -> list[Delivery]:
    with tags("daily"):
        return await execute_user_quiz_flow([int(learner_id) for learner_id in cohort], QuizKind.DAILY)


def _grading_run_name() -> str:
    quiz_ids = runtime.flow_run.parameters.get("quiz_ids") or []
    return "grade 1 answer" if len(quiz_ids) == 1 else f"grade · {len(quiz_ids)} answers"


@flow(name="grade_answers", flow_run_name=_grading_run_name)
async def grade_answers_flow(quiz_ids: Annotated[list[int], Field(min_length=1)]) -> dict[str, int]:
    """Validate answers, adapt the learners' difficulty, keep it and tell them.

    Args:
        quiz_ids: answered quizzes; those that are graded already are left alone.

    Returns:
        How many learners were told, and how many could not be.
    """
    async with services_of_run():
        answered = await validate([QuizId(i) for i in quiz_ids])
        if answered:
            await adapt_and_persist(answered)
        deliveries = await tell([QuizId(i) for i in quiz_ids])
        await _publish("feedback", deliveries)
        return _count(deliveries)


@task(name="tidy", **_RETRIES)
async def tidy() -> quiz_upkeep.UpkeepReport:
    """Recover what is stuck, expire and forget; see `quiz_upkeep.tidy`."""
    return await quiz_upkeep.tidy(current_services())


@task(name="find reported questions", **_RETRIES)
async def find_reported() -> list[ReportedQuestion]:
    """Return what learners reported; see `quiz_reports.find_reported`."""
    return await quiz_reports.find_reported(current_services())


async def _publish_reported(reported: Sequence[ReportedQuestion]) -> None:
    """Keep a table of the questions that learners doubt; of the learners it holds nothing but their number."""
    table = [
        {
            "question": question.key,
            "topic": question.topic.label,
            "level": question.level.label,
            "source": question.source.value,
            "state": question.state.value,
            "reports": ", ".join(f"{n} {reason}" for reason in ReportReason if (n := getattr(question, reason))),
            "last (UTC)": f"{question.last_reported_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            "what to do": "show, restore if right" if question.state is QuestionState.QUARANTINED else "show",
        }
        for question in reported
    ]
    await acreate_table_artifact(
        table or [{"question": "nothing is reported"}],
        key="reported-questions",
        description="Questions that learners reported, those with the most reports first. Read one with "
        "`python main.py questions show KEY`; `python main.py questions restore KEY` lets a quarantined one be asked "
        "again and forgets its reports.",
    )


@flow(name="upkeep", flow_run_name="upkeep")
async def upkeep() -> None:
    """Finish what a crash left in the middle, close what nobody answered, forget what nobody needs."""
    async with services_of_run():
        report = await tidy()
        row = {name.replace("_", " "): getattr(report, name) for name in report.__slots__}
        await acreate_table_artifact([row], key="upkeep", description="What the upkeep found and did.")
        await _publish_reported(await find_reported())


# ---------------------------------------------------------------- what operators read


class Progress:
    """A distribution's progress bar in the UI, moved at most every few seconds."""

    def __init__(self, artifact_id: UUID, total: int) -> None:
        """Take the artifact to move.

        Args:
            artifact_id: of the progress artifact.
            total: how many learners make a hundred per cent.
        """
        self._artifact_id = artifact_id
        self._total = total
        self._done = self._elsewhere = 0
        self._moved_at = self._asked_at = time.monotonic()
        self._cancelled = False

    @classmethod
    async def begin(cls, total: int) -> Progress:
        """Show an empty bar.

        Args:
            total: how many learners make a hundred per cent.
        """
        description = f"Daily quizzes for {total} learners"
        artifact_id = await acreate_progress_artifact(0.0, key="daily-progress", description=description)
        return cls(artifact_id, total)

    async def step(self, _: int) -> None:
        """Count one more learner."""
        self._done += 1
        if time.monotonic() - self._moved_at >= PROGRESS_SECONDS:
            self._moved_at = time.monotonic()
            await self._show()

    async def show_elsewhere(self, done: int) -> None:
        """Show how many learners runs in other processes have served; see `cohort_runs.Bar`."""
        self._elsewhere = done
        await self._show()

    async def _show(self) -> None:
        await self._move(100 * (self._done + self._elsewhere) / self._total)

    async def finish(self) -> None:
        """Fill the bar."""
        await self._move(100.0)

    async def _move(self, percent: float) -> None:
        with contextlib.suppress(Exception):  # a bar that stands still must not stop a distribution
            await aupdate_progress_artifact(self._artifact_id, min(percent, 100.0))

    async def is_cancelled(self) -> bool:
        """Return whether an operator cancelled the run, which Prefect does not tell a run in its own process."""
        run_id = runtime.flow_run.id
        if run_id and not self._cancelled and time.monotonic() - self._asked_at >= PROGRESS_SECONDS:
            self._asked_at = time.monotonic()
            with contextlib.suppress(Exception):  # an absent server cannot stop a distribution
                async with get_client() as client:
                    run = await client.read_flow_run(UUID(run_id))
                self._cancelled = run.state_type in {StateType.CANCELLING, StateType.CANCELLED}
        return self._cancelled


def _learners(count: int) -> str:
    return f"{count} learner{'' if count == 1 else 's'}"


def _count(deliveries: Sequence[Delivery]) -> dict[str, int]:
    counts = Counter(delivery.outcome.value for delivery in deliveries)
    return {outcome.value: counts[outcome.value] for outcome in Outcome}


async def _publish(key: str, deliveries: Sequence[Delivery]) -> None:
    """Keep a table of what was sent, skipped and failed and why, the failures first.

    It names quizzes, not learners: what is kept here outlives a learner who erases everything.
    """
    groups: dict[tuple[Outcome, str], list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault((delivery.outcome, redact(delivery.reason)), []).append(delivery)
    order = [Outcome.FAILED, Outcome.SKIPPED, Outcome.SENT]
    ranked = sorted(groups.items(), key=lambda group: (order.index(group[0][0]), -len(group[1])))
    table = [
        {"outcome": outcome.value, "learners": len(group), "why": reason, "quizzes": _quiz_list(group)}
        for (outcome, reason), group in ranked
    ]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in _count(deliveries).items())
    with contextlib.suppress(Exception):  # what was sent is sent, with or without its table
        await acreate_table_artifact(table or [{"outcome": "nobody was due"}], key=key, description=counts)


def _quiz_list(group: Sequence[Delivery]) -> str:
    ids = [f"{delivery.quiz_id}" for delivery in group if delivery.quiz_id]
    more = f" and {len(ids) - QUIZZES_IN_ROW} more" if len(ids) > QUIZZES_IN_ROW else ""
    return ", ".join(ids[:QUIZZES_IN_ROW]) + more


async def _rename(name: str) -> None:
    run_id = runtime.flow_run.id
    if run_id:
        with contextlib.suppress(Exception):  # a run with a dull name still serves learners
            async with get_client() as client:
                await client.update_flow_run(UUID(run_id), name=name)


async def forget_runs(learner_id: LearnerId) -> None:
    """Delete the runs that are named after a learner.

    Args:
        learner_id: who erased everything.

    Raises:
        httpx.HTTPError: the Prefect server does not answer.
    """
    own = FlowRunFilter(name=FlowRunFilterName(any_=[f"quiz {learner_id}"]))
    async with get_client() as client:
        while runs := await client.read_flow_runs(flow_run_filter=own, limit=100):
            for run in runs:
                await client.delete_flow_run(run.id)
