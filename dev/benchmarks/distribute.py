"""Sends in a process of its own: `python -m dev.benchmarks.distribute KIND COUNT FILE` leaves what it took in FILE.

`flow` is the service's own distribution, called in a running event loop as the worker calls flows. `functions` is what
its tasks call, in the same cohorts and as many at once, without Prefect. `plain` sends the
same questions to the same learners in a plain loop behind the same rate limiter, without Prefect, and reads nothing
from PostgreSQL and writes nothing to it meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
from prefect.context import AsyncClientContext

import prefect_flows
from bot import keyboards, texts
from domain.catalog import Priority, QuizKind
from domain.ids import LearnerId, QuizId
from domain.models import Quiz
from domain.settings import load_settings
from flows.context import open_for_flows
from quizzes import cohorts as quizzes_cohorts
from quizzes import delivery
from quizzes.delivery import SENDERS
from wiring import Runtime

Send = Callable[[], Awaitable[dict[str, int]]]

_LATEST = "SELECT id FROM quizzes WHERE kind = 'daily' ORDER BY id DESC LIMIT $1"


async def prepare_plain(runtime: Runtime, count: int) -> Send:
    """Return what sends the latest daily quizzes once more, out of memory."""
    url = runtime.settings.database_url
    connection = await asyncpg.connect(url.get_secret_value() if url else None)
    quiz_ids = [QuizId(row["id"]) for row in await connection.fetch(_LATEST, count)]
    await connection.close()
    quizzes = await runtime.repository.get_quizzes(quiz_ids)

    async def send() -> dict[str, int]:
        waiting = iter(quizzes)
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(_send_each(runtime, waiting))
        return {"sent": len(quizzes)}

    return send


async def _send_each(runtime: Runtime, waiting: Iterator[Quiz]) -> None:
    for quiz in waiting:
        keyboard = keyboards.question_keyboard(quiz.id)
        await runtime.accounts.first.gateway.send(
            quiz.learner_id, texts.question_text(quiz), keyboard, Priority.BROADCAST
        )


def functions_of(runtime: Runtime) -> Send:
    """Return what serves everybody who is due as the flow does, without Prefect."""
    context, turns = runtime.context, quizzes_cohorts.Turns()

    async def serve(cohort: list[LearnerId]) -> int:
        async with turns.under_way:
            async with turns.preparing:
                prepared = await delivery.prepare_quizzes(context, cohort, QuizKind.DAILY)
            return len(await delivery.deliver_quizzes(context, prepared.quiz_ids, Priority.BROADCAST))

    async def send() -> dict[str, int]:
        due = await quizzes_cohorts.find_due_learners(context, context.now())
        count = quizzes_cohorts.count_cohorts(len(due), context.settings.max_flow_runs_per_distribution)
        cohorts = quizzes_cohorts.deal_cohorts(due, count)
        return {"sent": sum(await asyncio.gather(*map(serve, cohorts)))}

    return send


async def run(kind: str, count: int) -> dict[str, object]:
    """Send, and return when it began, reached its first line and ended, and what it took.

    Args:
        kind: `functions` or `plain`; whatever else it is called, it is the flow.
    """
    first_line: list[float] = []
    async with open_for_flows(load_settings()) as runtime, AsyncClientContext.get_or_create():
        send: Send
        match kind:
            case "plain":
                send = await prepare_plain(runtime, count)
            case "functions":
                send = functions_of(runtime)
            case _:
                send = prefect_flows.distribute_daily_quizzes.with_options(
                    on_running=[lambda *_: first_line.append(time.time())]
                )
        began, cpu = time.time(), time.process_time()
        counts = await send()
        return {
            "process_began": psutil.Process().create_time(),
            "began": began,
            "first_line": min(first_line, default=began),
            "ended": time.time(),
            "cpu": time.process_time() - cpu,
            "counts": counts,
        }


def main() -> None:
    """Run what the command line asks for."""
    kind, count, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    path.write_text(json.dumps(asyncio.run(run(kind, count))), encoding="utf-8")


if __name__ == "__main__":
    main()
