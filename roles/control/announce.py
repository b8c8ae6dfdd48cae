"""`python main.py announce FILE`: checks the text, starts the flow that sends it, and follows its run."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import httpx
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from rich.console import Console

from bot.announcement_text import read_announcement
from domain.announcements import Audience
from domain.errors import AnnouncementError, StartupError
from domain.ids import AnnouncementId
from domain.settings import Settings
from domain.words import plural
from repository import Repository
from roles.questions.terminal import open_console, progress, say
from roles.status.prefect_facts import ask_prefect

DEPLOYMENT = "send_announcement/announce"
POLL_SECONDS = 1.0
MAX_FILE_LENGTH = 100_000
"""Characters; many times what an announcement may have."""


async def run_announce(options: argparse.Namespace, settings: Settings) -> int:
    """Send an announcement, or only say to how many it would go.

    Returns:
        The exit status: 0 if it was sent to everybody whom it is for.

    Raises:
        AnnouncementError: the file cannot be read, or Telegram would not take its text.
        StartupError: Prefect cannot be asked.
    """
    console, text = open_console(), _read(options.file)
    audience = Audience(tuple(options.topics), tuple(options.level))
    async with await Repository.open(settings) as repository:
        if not options.dry_run:
            await _require_prefect(settings)
        find_or_add = repository.find_announcement if options.dry_run else repository.add_announcement
        number = await find_or_add(text)
        begun = number is not None and await _count_taken(repository, number) > 0
        count = await repository.count_recipients(number, list(settings.bots), audience)
        say(console, f"{'sent before; ' if begun else ''}to {count} {plural(count, 'learner')} who have not had it")
        for pause in await repository.list_pauses():
            say(console, f"it waits: {pause}")
        if number is None or options.dry_run:
            return 0
        run = await _start(number, audience)
        say(console, f"{run.name}: it goes on when this command ends, and can be cancelled in Prefect")
        return await _follow(repository, console, run, number, count)


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8-sig") as opened:
            text = opened.read(MAX_FILE_LENGTH + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise AnnouncementError(f"{file}: {reason}") from None
    if len(text) > MAX_FILE_LENGTH:  # what is behind them would be lost
        raise AnnouncementError(f"{file}: more than {MAX_FILE_LENGTH} characters")
    return read_announcement(text, is_html=file.suffix.lower() == ".html")


async def _require_prefect(settings: Settings) -> None:
    if isinstance(answer := await ask_prefect(settings), str):
        raise StartupError(f"an announcement is sent by Prefect: {answer}")


async def _start(number: AnnouncementId, audience: Audience) -> FlowRun:
    parameters = {
        "announcement_id": int(number),
        "topics": [topic.value for topic in audience.topics],
        "levels": [int(level) for level in audience.levels],
    }
    try:
        return await arun_deployment(
            DEPLOYMENT, parameters=parameters, timeout=0, as_subflow=False, flow_run_name=f"announcement {number}"
        )
    except ObjectNotFound:
        raise StartupError(f"Prefect has no deployment {DEPLOYMENT}; `python main.py prefect` registers it") from None
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise StartupError(f"the Prefect server did not take the run ({type(error).__name__})") from None


async def _follow(repository: Repository, console: Console, run: FlowRun, number: AnnouncementId, count: int) -> int:
    """Show how far a run is until it has ended."""
    before, shown = await _count_taken(repository, number), ""
    with progress(console, "announcement", count) as advance:
        while True:
            state = await _read_state(run)
            if state and state.name and state.name != shown:
                shown = state.name
                say(console, f"the run is {shown.lower()}")
            taken = await _count_taken(repository, number)
            advance(taken - before)
            before = taken
            if state and state.is_final():
                break
            await asyncio.sleep(POLL_SECONDS)
    say(console, state.message or shown)
    return 0 if state.is_completed() else 1


async def _count_taken(repository: Repository, number: AnnouncementId) -> int:
    return sum(one.learners for one in await repository.count_announced(number))


async def _read_state(run: FlowRun) -> State | None:
    """Return a run's state, or None while the server does not answer."""
    try:
        async with get_client() as client:
            return (await client.read_flow_run(run.id)).state
    except ObjectNotFound:
        raise StartupError("the run was deleted in Prefect") from None
    except (httpx.HTTPError, PrefectHTTPStatusError, RuntimeError):
        return None
