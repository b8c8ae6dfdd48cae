"""The flow that sends an announcement, which `python main.py announce FILE` starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

from prefect import flow, runtime, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from domain.announcements import Announced, Audience
from domain.catalog import Level, Topic
from domain.errors import StorageUnavailableError, TelegramError
from domain.ids import MAX_ID, AnnouncementId
from domain.service_state import Pause
from flows.artifacts import rename_run
from flows.context import RETRIES, current_context, run_context
from flows.progress import Progress
from observability.logs import redact
from quizzes.announcements import UNKNOWN, count_left, describe_announced, send_announcement
from quizzes.context import QuizContext

POLL_SECONDS = 5.0
"""Between two looks at whether a pause has ended."""


@task(name="send an announcement", cache_policy=NO_CACHE, **RETRIES)
async def send(announcement_id: AnnouncementId, text: str, audience: Audience, progress: Progress) -> str:
    """Send it to whoever has not been taken for it; return why not to all, or nothing."""
    try:
        await send_announcement(
            current_context(), announcement_id, text, audience, progress.step, lambda: progress.is_cancelled
        )
    except TelegramError as error:
        return redact(str(error))
    return ""


def _run_name() -> str:
    return f"announcement {runtime.flow_run.parameters['announcement_id']}"


@flow(name="send_announcement", flow_run_name=_run_name)
async def announce(
    announcement_id: Annotated[int, Field(ge=1, le=MAX_ID)],
    topics: list[Topic] | None = None,
    levels: list[Level] | None = None,
) -> State[Any]:
    """Send an announcement to each learner who wants them and has not had it, at most once.

    While quizzes are paused it waits, and goes on by itself. A run that was killed or cancelled can be run again: it
    sends to those who are left.

    Args:
        announcement_id: as `python main.py announce FILE` says it.
        topics: only to learners who chose one of them, or all; to everybody when empty.
        levels: only to learners of these (1 to 4); of all when empty.
    """
    number, audience = AnnouncementId(announcement_id), Audience(tuple(topics or ()), tuple(levels or ()))
    async with run_context() as context:
        text = await context.repository.get_announcement(number)
        if text is None:
            return Failed(message=f"There is no announcement {number}.")
        left, problem = await count_left(context, number, audience), ""
        async with Progress(left, "announcement-progress", "An announcement to") as progress:
            while left and not problem and not progress.is_cancelled:
                problem = await send(number, text, audience, progress)
                before, left = left, await count_left(context, number, audience)
                if left and not problem and (pauses := await context.repository.list_pauses()):
                    await rename_run(f"{_run_name()} · {left:,} wait: {'; '.join(map(str, pauses))}")
                    await _wait_for_change(context, pauses, progress)
                elif left == before:  # nobody else takes it now
                    break
        announced = await context.repository.count_announced(number)
        outcome = describe_announced(announced, left)
        await rename_run(f"{_run_name()} · {outcome}")
        await _publish(announced, outcome)
        return _judge(outcome, left, problem, was_cancelled=progress.is_cancelled)


async def _wait_for_change(context: QuizContext, pauses: Sequence[Pause], progress: Progress) -> None:
    """Return when other pauses hold than these, or the run is cancelled."""
    while not progress.is_cancelled:
        with contextlib.suppress(StorageUnavailableError):  # so that a moment without the database ends no run
            if await context.repository.list_pauses() != pauses:
                return
        await asyncio.sleep(POLL_SECONDS)


def _judge(outcome: str, left: int, problem: str, *, was_cancelled: bool) -> State[Any]:
    message = f"{outcome}; run it again for the rest" if left else outcome
    if was_cancelled:
        return Cancelled(message=message)
    if problem:
        return Failed(message=f"{problem}: {message}")
    return Failed(message=message) if left else Completed(message=message)


async def _publish(announced: Sequence[Announced], outcome: str) -> None:
    """Keep a table of what became of it; of the learners it holds nothing but their number."""
    table = [
        {
            "outcome": "not known" if one.state == UNKNOWN else one.state,
            "learners": one.learners,
            "reason": redact(one.failure),
        }
        for one in announced
    ]
    with contextlib.suppress(Exception):  # what was sent is sent, with or without its table
        await acreate_table_artifact(table or [{"outcome": "nobody"}], key="announcement", description=outcome)
