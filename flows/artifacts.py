"""What operators see of a run: its name and its tables."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

from prefect import get_client, runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

from domain.bank import Finding, ItemAnswers, ReportedQuestion
from domain.catalog import QuestionState, ReportReason
from domain.ids import LearnerId
from domain.models import Delivery, Outcome
from domain.words import plural
from observability.logs import redact
from observability.tracing import current_trace_id, is_tracing

MAX_QUIZZES_IN_ROW = 20
"""More ids than this make a row of the artifact unreadable; the rest are counted."""

MAX_TRACES_IN_ROW = 3
"""Of the first quizzes; the ids of traces are longer."""


def _columns(name: str, question: ReportedQuestion | ItemAnswers) -> dict[str, Any]:
    """Return the columns by which a table of questions names each."""
    return {
        "question": name,
        "topic": question.topic.label,
        "level": question.level.label,
        "source": question.source.value,
    }


async def publish_reported(reported: Sequence[ReportedQuestion]) -> None:
    """Keep a table of the questions that learners doubt; of the learners it holds nothing but their number."""
    table = [
        _columns(question.key, question)
        | {
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


async def publish_findings(findings: Sequence[Finding]) -> None:
    """Keep a table of the questions against which learners' answers speak."""
    table = [
        _columns(finding.item.name, finding.item)
        | {
            "answers": finding.item.answers,
            "what stands out": "; ".join(finding.remarks),
        }
        for finding in findings
    ]
    await acreate_table_artifact(
        table or [{"question": "nothing stands out"}],
        key="question-analysis",
        description="Questions and templates against which learners' answers speak, the worst first. Read one with "
        "`python main.py questions show KEY`; `python main.py questions relevel --dry-run` names the files of those "
        "whose level is wrong.",
    )


def count_learners(count: int) -> str:
    """Return a number of learners as words."""
    return f"{count} {plural(count, 'learner')}"


def count_outcomes(deliveries: Sequence[Delivery]) -> dict[str, int]:
    """Return how many deliveries ended in which outcome."""
    counts = Counter(delivery.outcome.value for delivery in deliveries)
    return {outcome.value: counts[outcome.value] for outcome in Outcome}


async def publish_deliveries(key: str, deliveries: Sequence[Delivery]) -> None:
    """Keep a table of what was sent, skipped and failed and why, the failures first.

    It names quizzes, not learners: what is kept here outlives a learner who erases everything.
    """
    groups: dict[tuple[Outcome, str], list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault((delivery.outcome, redact(delivery.reason)), []).append(delivery)
    order = [Outcome.FAILED, Outcome.SKIPPED, Outcome.SENT]
    ranked = sorted(groups.items(), key=lambda group: (order.index(group[0][0]), -len(group[1])))
    table = [
        {"outcome": outcome.value, "learners": len(group), "reason": reason, "quiz ids": _quiz_list(group)}
        | ({"traces": _trace_list(group)} if is_tracing() else {})
        for (outcome, reason), group in ranked
    ]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in count_outcomes(deliveries).items())
    if trace_id := current_trace_id():
        counts += f"; trace {trace_id}"
    with contextlib.suppress(Exception):  # what was sent is sent, with or without its table
        await acreate_table_artifact(table or [{"outcome": "nobody was due"}], key=key, description=counts)


def _quiz_list(group: Sequence[Delivery]) -> str:
    ids = [f"{delivery.quiz_id}" for delivery in group if delivery.quiz_id]
    more = f" and {len(ids) - MAX_QUIZZES_IN_ROW} more" if len(ids) > MAX_QUIZZES_IN_ROW else ""
    return ", ".join(ids[:MAX_QUIZZES_IN_ROW]) + more


def _trace_list(group: Sequence[Delivery]) -> str:
    return ", ".join([delivery.trace_id for delivery in group if delivery.trace_id][:MAX_TRACES_IN_ROW])


async def rename_run(name: str) -> None:
    """Give the flow run that this process executes another name."""
    run_id = runtime.flow_run.id
    if run_id:
        with contextlib.suppress(Exception):  # a run with a dull name still serves learners
            async with get_client() as client:
                await client.update_flow_run(UUID(run_id), name=name)


async def forget_runs(learner_id: LearnerId) -> None:
    """Delete the runs that are named after a learner.

    Raises:
        httpx.HTTPError: the Prefect server does not answer.
    """
    own = FlowRunFilter(name=FlowRunFilterName(any_=[f"quiz {learner_id}"]))
    async with get_client() as client:
        while runs := await client.read_flow_runs(flow_run_filter=own, limit=100):
            for run in runs:
                await client.delete_flow_run(run.id)
