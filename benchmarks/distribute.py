"""Sends in a process of its own: `python -m benchmarks.distribute KIND COUNT FILE` leaves what it took in FILE.

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
from prefect.context import AsyncClientContext

import prefect_flows
import quiz_session
from bot import keyboards, messages
from domain.catalog import Priority, QuizKind
from domain.ids import LearnerId, QuizId
from domain.models import Quiz
from domain.settings import load_settings
from quiz_session import SENDERS
from services import Wiring, open_services

Send = Callable[[], Awaitable[dict[str, int]]]

_LATEST = "SELECT id FROM quizzes WHERE kind = 'daily' ORDER BY id DESC LIMIT $1"


async def prepare_plain(wiring: Wiring, count: int) -> Send:
    """Return what sends the latest daily quizzes once more, out of memory.

    Args:
        wiring: open services.
        count: how many.
    """
    url = wiring.settings.database_url
    connection = await asyncpg.connect(url.get_secret_value() if url else None)
    quiz_ids = [QuizId(row["id"]) for row in await connection.fetch(_LATEST, count)]
    await connection.close()
    quizzes = await wiring.repository.get_quizzes(quiz_ids)

    async def send() -> dict[str, int]:
        waiting = iter(quizzes)
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(_send_each(wiring, waiting))
        return {"sent": len(quizzes)}

    return send


async def _send_each(wiring: Wiring, waiting: Iterator[Quiz]) -> None:
    for quiz in waiting:
        keyboard = keyboards.question_keyboard(quiz.id)
        await wiring.accounts.first.gateway.send(
            quiz.learner_id, messages.question_text(quiz), keyboard, Priority.BROADCAST
        )


def functions_of(wiring: Wiring) -> Send:
    """Return what serves everybody who is due as the flow does, without Prefect.

    Args:
        wiring: open services.
    """
    services, turns = wiring.services, asyncio.Semaphore(prefect_flows.COHORTS_AT_ONCE)

    async def serve(cohort: list[LearnerId]) -> int:
        async with turns:
            return len(await quiz_session.serve_quizzes(services, cohort, QuizKind.DAILY))

    async def send() -> dict[str, int]:
        due = await quiz_session.find_due_learners(services, services.now())
        cohorts = quiz_session.deal_cohorts(due, services.settings.max_flow_runs_per_distribution)
        return {"sent": sum(await asyncio.gather(*map(serve, cohorts)))}

    return send


async def run(kind: str, count: int) -> dict[str, object]:
    """Send, and return when it began and ended and what it took.

    Args:
        kind: `functions` or `plain`; whatever else it is called, it is the flow.
        count: how many learners are due.
    """
    async with open_services(load_settings()) as wiring, AsyncClientContext.get_or_create():
        prefect_flows.use_services(wiring.services)
        send: Send
        match kind:
            case "plain":
                send = await prepare_plain(wiring, count)
            case "functions":
                send = functions_of(wiring)
            case _:
                send = prefect_flows.distribute_daily_quizzes
        began, cpu = time.time(), time.process_time()
        counts = await send()
        return {"began": began, "ended": time.time(), "cpu": time.process_time() - cpu, "counts": counts}


def main() -> None:
    """Run what the command line asks for."""
    kind, count, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    path.write_text(json.dumps(asyncio.run(run(kind, count))), encoding="utf-8")


if __name__ == "__main__":
    main()
