"""The flows that operators watch: the daily distribution, learners' quizzes, grading, upkeep, question analysis.

Flows and tasks are set-based: a run serves one learner or many along the same path. Tasks are thin calls into
`quizzes/`; the rows say what is done, so a retried task does only what is still undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, runtime, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import AwareDatetime, Field

from domain.bank import Finding, ReportedQuestion
from domain.catalog import Priority, QuizKind
from domain.ids import MAX_LEARNER_ID, LearnerId, QuizId
from domain.models import Delivery, Outcome
from domain.service_state import DistributionState, Pause
from domain.words import plural
from flows.artifacts import (
    count_learners,
    count_outcomes,
    publish_deliveries,
    publish_findings,
    publish_reported,
    rename_run,
)
from flows.batch_window import Tally
from flows.cohort_runs import CohortRuns, all_of, count_runs
from flows.context import RETRIES, current_context, run_context
from flows.events import announced_distribution
from flows.lost_runs import close_lost_runs
from flows.progress import CancellationWatch, Progress
from flows.standing_run import Kind, count, stay_under_way
from observability.background import first_error
from observability.logs import redact
from observability.states import redact_states
from quizzes import delivery, maintenance, reports
from quizzes.cohorts import COHORTS_AT_ONCE, Turns, count_cohorts, find_due_learners, share_out
from quizzes.context import QuizContext
from quizzes.delivery import CANCELLED
from quizzes.distributions import find_failure, noted_distribution

redact_states()  # of whichever process runs these flows

LearnerIds = Annotated[list[Annotated[int, Field(ge=1, le=MAX_LEARNER_ID)]], Field(min_length=1, max_length=100_000)]
"""Telegram user ids, which have at most 52 bits, as an operator types them."""

DueAt = Annotated[
    AwareDatetime, Field(json_schema_extra={"pattern": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d:\d\d)$"})
]
"""A moment with its offset; Prefect's server goes by the pattern, not by the format."""

_watch: ContextVar[CancellationWatch] = ContextVar("watch")
"""That of the run, with the progress bar if it is a distribution; tasks of the run look there."""


# ---------------------------------------------------------------- tasks


@task(name="find due learners", task_run_name="find due learners", cache_policy=NO_CACHE, **RETRIES)
async def find_due(at: datetime, among: list[LearnerId] | None, limit: int | None) -> list[LearnerId]:
    """Return who is to get the daily quiz; see `cohorts.find_due_learners`."""
    return await find_due_learners(current_context(), at, among, limit)


def _preparing_run_name() -> str:
    return f"prepare · {count_learners(len(runtime.task_run.parameters['learner_ids']))}"


@task(name="prepare quizzes", task_run_name=_preparing_run_name, cache_policy=NO_CACHE, **RETRIES)
async def prepare(learner_ids: list[LearnerId], kind: QuizKind, due_at: datetime | None) -> delivery.Prepared:
    """Fetch states, pick questions and make quizzes; see `delivery.prepare_quizzes`."""
    return await delivery.prepare_quizzes(current_context(), learner_ids, kind, due_at)


def _sending_run_name() -> str:
    count = len(runtime.task_run.parameters["quiz_ids"])
    return f"send · {count} {plural(count, 'question')}"


@task(name="send questions", task_run_name=_sending_run_name, cache_policy=NO_CACHE, **RETRIES)
async def send(quiz_ids: list[QuizId], kind: QuizKind) -> list[Delivery]:
    """Send quizzes at Telegram's pace; see `delivery.deliver_quizzes`."""
    watch = _watch.get()
    return await delivery.deliver_quizzes(
        current_context(),
        quiz_ids,
        Priority.INTERACTIVE if kind.is_awaited else Priority.BROADCAST,
        again=kind.is_awaited,
        on_progress=watch.step,
        is_cancelled=lambda: watch.is_cancelled,
    )


@task(name="withdraw unsent quizzes", task_run_name="withdraw unsent quizzes", cache_policy=NO_CACHE, **RETRIES)
async def withdraw(deliveries: list[Delivery]) -> list[Delivery]:
    """Take back what is not sent after a cancellation; see `delivery.withdraw_unsent`."""
    return await delivery.withdraw_unsent(current_context(), deliveries)


# ---------------------------------------------------------------- flows


def _quiz_run_name() -> str:
    learner_ids = runtime.flow_run.parameters.get("learner_ids") or []
    return f"quiz {learner_ids[0]}" if len(learner_ids) == 1 else f"quiz · {count_learners(len(learner_ids))}"


@flow(name="execute_user_quiz_flow", flow_run_name=_quiz_run_name)
async def execute_user_quiz_flow(
    learner_ids: LearnerIds, kind: QuizKind = QuizKind.ON_DEMAND, due_at: DueAt | None = None
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

    Raises:
        CancelledRun: the run was cancelled; it ends so in Prefect.
        FailedRun: it has failed as a whole; likewise, with the reason.
    """
    ids = [LearnerId(i) for i in learner_ids]
    async with run_context() as context:
        async with CancellationWatch() as watch:
            _watch.set(watch)
            await watch.look()  # a cohort may begin late
            if watch.is_cancelled:
                deliveries = all_of(ids, Outcome.SKIPPED, CANCELLED)
            else:
                deliveries = await _prepare_and_send(ids, kind, due_at)
        if watch.is_cancelled:
            deliveries = await withdraw(deliveries)
        await publish_deliveries("quizzes", deliveries)
        reason = find_failure(deliveries, context.settings.max_failed_share)
        bad = _bad_ending(count_outcomes(deliveries), reason, was_cancelled=watch.is_cancelled)
        return bad or deliveries  # type: ignore[return-value] # Prefect raises it


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
        limit: at most this many learners, those who have waited longest first.
        ignore_hour: serve also those whose hour has not come yet. Nobody gets two daily quizzes on one local day.
        dry_run: only report who is due.

    Returns:
        How many quizzes were sent, skipped and failed; during a pause with a message that says so.

    Raises:
        CancelledRun: the run was cancelled; it ends so in Prefect.
        FailedRun: it has failed as a whole; likewise, with the reason.
    """
    async with run_context() as context:
        at = context.now()
        among = None if learner_ids is None else [LearnerId(i) for i in learner_ids]
        due = await find_due(datetime.max.replace(tzinfo=UTC) if ignore_hour else at, among, limit)
        name = f"daily {at:%Y-%m-%d %H:%M}"
        naming = asyncio.create_task(rename_run(f"{name} · {count_learners(len(due))}"))
        if dry_run:
            deliveries = [Delivery(learner_id, Outcome.SKIPPED, "dry run") for learner_id in due]
            await _report(naming, f"{name} · dry run, {len(due):,} due", deliveries)
            return count_outcomes(deliveries)
        pauses: Sequence[Pause] = ()
        async with noted_distribution(context, len(due)) as ending:
            deliveries = ending.deliveries
            try:
                with announced_distribution(len(due), deliveries):
                    if due:
                        ending.was_cancelled = await _serve_cohorts(
                            context, due, None if ignore_hour else at, deliveries
                        )
                    if ending.was_cancelled:
                        deliveries[:] = await withdraw(deliveries)
                pauses = await context.repository.list_pauses()
            finally:
                counts = count_outcomes(deliveries)
                outcome = f"{_describe_counts(counts)}{' · paused' if pauses else ''}"
                await _report(naming, f"{name} · {outcome}", deliveries)
        bad = _bad_ending(counts, ending.reason, was_cancelled=ending.state is DistributionState.CANCELLED)
        paused: State[Any] | None = Completed(data=counts, message="; ".join(map(str, pauses))) if pauses else None
        return bad or paused or counts  # type: ignore[return-value] # Prefect raises a bad one


def _bad_ending(counts: dict[str, int], reason: str | None, *, was_cancelled: bool) -> State[Any] | None:
    """Return the state of a run that did not do its work, None of one that did.

    Args:
        reason: why it has failed; None if it has not.
    """
    if was_cancelled:
        return Cancelled(message=_describe_counts(counts))
    return Failed(message=reason) if reason else None


async def _report(naming: asyncio.Task[None], name: str, deliveries: Sequence[Delivery]) -> None:
    """Name the distribution's run by its result, once it has its first name, and leave its table."""
    await naming
    await rename_run(name)
    await publish_deliveries("daily-distribution", deliveries)


def _describe_counts(counts: dict[str, int]) -> str:
    others = [f"{number:,} {outcome}" for outcome, number in counts.items() if outcome != Outcome.SENT and number]
    return ", ".join([f"{counts[Outcome.SENT]:,} sent", *others])


async def _serve_cohorts(
    context: QuizContext, due: Sequence[LearnerId], due_at: datetime | None, deliveries: list[Delivery]
) -> bool:
    """Deal the learners into cohorts, and let each be served here or, if that is worth it, by any Prefect worker.

    Args:
        due_at: None before the learners' hour, when they are served here only: a run that begins late could not tell
            whom to pass over.
        deliveries: what became of the learners, a cohort at a time.

    Returns:
        Whether the distribution was cancelled.
    """
    settings = context.settings
    async with Progress(len(due)) as progress:
        _watch.set(progress)
        max_cohorts, elsewhere = count_cohorts(len(due), settings.max_flow_runs_per_distribution), None
        if due_at and (runs := count_runs(len(due), settings)) > 1:
            max_cohorts, elsewhere = runs, CohortRuns(context, due_at, progress, _serve_here)
        shares = await share_out(context, due, max_cohorts)

        async def serve(cohort: list[LearnerId], turns: Turns) -> list[Delivery]:
            async with turns.under_way:
                if progress.is_cancelled:
                    return all_of(cohort, Outcome.SKIPPED, CANCELLED)
                if elsewhere and len(cohort) >= settings.min_cohort_size:
                    return await elsewhere.serve(cohort)
                return await _serve_here(cohort, turns)

        async def serve_and_report(cohort: list[LearnerId], turns: Turns) -> None:
            try:
                deliveries.extend(await serve(cohort, turns))
            except Exception as error:  # noqa: BLE001 - it must not keep other cohorts from their quizzes
                deliveries.extend(all_of(cohort, Outcome.FAILED, redact(f"{type(error).__name__}: {error}")))

        try:
            async with asyncio.TaskGroup() as cohorts:
                for share in shares.values():
                    turns = Turns(max_cohorts if elsewhere else COHORTS_AT_ONCE)
                    for cohort in share:
                        cohorts.create_task(serve_and_report(cohort, turns))
        except BaseExceptionGroup as group:  # a signal, which comes in whatever task is running
            raise first_error(group) from None
    return progress.is_cancelled


async def _serve_here(cohort: list[LearnerId], turns: Turns | None = None) -> list[Delivery]:
    """Serve a cohort in tasks of this run.

    Args:
        turns: those of its bot; None if it need not wait for one.
    """
    return await _prepare_and_send(cohort, QuizKind.DAILY, None, turns)


async def _prepare_and_send(
    learner_ids: list[LearnerId], kind: QuizKind, due_at: datetime | None, turns: Turns | None = None
) -> list[Delivery]:
    async with turns.preparing if turns else contextlib.nullcontext():
        prepared = await prepare(learner_ids, kind, due_at)
    sent = await send(prepared.quiz_ids, kind) if prepared.quiz_ids else []
    return prepared.skipped + sent


def _run_name() -> str:
    return f"{runtime.flow_run.flow_name} from {datetime.now(UTC):%H:%M}"


def _describe_answers(tally: Tally) -> str:
    sent, answers = tally.outcomes[Outcome.SENT], tally.outcomes.total()
    parts = [count(answers, "answer"), f"{tally.right:,} right"]
    return _with_problems(parts, tally, answers - sent, "without feedback yet")


def _describe_requests(tally: Tally) -> str:
    parts = [f"{count(tally.outcomes[Outcome.SENT], 'question')} sent"]
    if skipped := tally.outcomes[Outcome.SKIPPED]:
        parts.append(f"{skipped:,} skipped")
    return _with_problems(parts, tally, tally.outcomes[Outcome.FAILED], "failed")


def _with_problems(parts: list[str], tally: Tally, undone: int, what: str) -> str:
    if undone:
        parts.append(f"{undone:,} {what}")
    if tally.failed_batches:
        parts.append(f"{count(tally.failed_batches, 'batch', 'batches')} failed")
    return " · ".join(parts)


_STANDING: dict[str, Any] = {
    "flow_run_name": _run_name,
    "persist_result": False,
    "result_storage": Path(tempfile.gettempdir()),
}
"""Nothing is put there; without a place Prefect would ask the server for one, and hold the event loop meanwhile."""


@flow(name="grade_answers", **_STANDING)
async def grade_answers() -> State[Any]:
    """Show the grading of answers.

    A worker keeps a run of it under way. Each task run is what arrives within some seconds, and stays open that long:
    an answer itself takes a fraction of a second.
    """
    return await stay_under_way()


@flow(name="send_requested_questions", **_STANDING)
async def send_requested_questions() -> State[Any]:
    """Show the sending of questions that learners ask for, likewise."""
    return await stay_under_way()


ANSWERS = Kind(grade_answers, "answer", "feedback", _describe_answers)
REQUESTS = Kind(send_requested_questions, "request", "quizzes", _describe_requests)


@task(name="run upkeep", **RETRIES)
async def run_upkeep() -> maintenance.UpkeepReport:
    """Recover what is stuck, expire and forget; see `maintenance.run_upkeep`."""
    return await maintenance.run_upkeep(current_context())


@task(name="find reported questions", **RETRIES)
async def find_reported() -> list[ReportedQuestion]:
    """Return what learners reported; see `reports.find_reported`."""
    return await reports.find_reported(current_context())


@flow(name="upkeep", flow_run_name="upkeep")
async def upkeep() -> None:
    """Finish what a crash left in the middle, close what nobody answered, forget what nobody needs."""
    async with run_context() as context:
        report = await run_upkeep()
        row = {name.replace("_", " "): getattr(report, name) for name in report.__slots__}
        await acreate_table_artifact([row], key="upkeep", description="What the upkeep found and did.")
        await publish_reported(await find_reported())
        await close_lost_runs(context)


@task(name="find unfit questions", **RETRIES)
async def find_unfit() -> list[Finding]:
    """Return the questions against which learners' answers speak; see `reports.find_unfit`."""
    return await reports.find_unfit(current_context())


@flow(name="analyze_questions", flow_run_name="question analysis")
async def analyze_questions() -> None:
    """List questions that learners' answers speak against: by level, by options that nobody takes, by who is right."""
    async with run_context():
        findings = await find_unfit()
        await publish_findings(findings)
        await rename_run(f"question analysis · {len(findings)} to look at")
