"""`python main.py pause`, `resume`, `learner` and `announce`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime

from domain.errors import StartupError, UnknownLearnerError
from domain.ids import BotId, LearnerId
from domain.models import Activity, Learner, Quiz
from domain.service_state import ALL_BOTS, begin_sentence
from domain.settings import Settings
from domain.words import plural
from local.database import database_settings
from repository import Repository
from roles.questions.terminal import open_console, say
from storage.database import schema_mismatch_in_one_line


def run_control(options: argparse.Namespace, settings: Settings) -> int:
    """Run a command.

    Returns:
        The exit status.

    Raises:
        QuizServiceError: what is asked for cannot be done.
    """
    with schema_mismatch_in_one_line():
        return _run(options, settings)


def _run(options: argparse.Namespace, settings: Settings) -> int:
    if options.role == "announce":
        from roles.control.announce import run_announce  # noqa: PLC0415 - with Prefect, which others need not load

        return asyncio.run(run_announce(options, settings))
    if options.role == "learner" and options.action == "erase":
        return asyncio.run(_erase(options.id, settings)) if options.yes or _confirm(options.id) else 1
    with database_settings(settings) as reachable:
        match options.role:
            case "pause":
                return asyncio.run(_pause(options, reachable))
            case "resume":
                return asyncio.run(_resume(options.bot, reachable))
            case _:
                return asyncio.run(_look_or_stop(options, reachable))


# ---------------------------------------------------------------- pause, resume


async def _pause(options: argparse.Namespace, settings: Settings) -> int:
    _check_bot(options.bot, settings)
    async with await Repository.open(settings) as repository:
        await repository.pause(options.bot, options.reason, options.until)
        await _tell_pauses(repository)
    return 0


async def _resume(bot_id: BotId, settings: Settings) -> int:
    _check_bot(bot_id, settings)
    async with await Repository.open(settings) as repository:
        was_paused = await repository.resume(bot_id)
        outcome = "no longer paused" if was_paused else "not paused; nothing is changed"
        say(open_console(), f"{begin_sentence(bot_id)} {outcome}")
        await _tell_pauses(repository)
    return 0


def _check_bot(bot_id: BotId, settings: Settings) -> None:
    if settings.bots and bot_id not in {ALL_BOTS, *settings.bots}:
        known = ", ".join(map(str, settings.bots))
        raise StartupError(f"the service has no bot {bot_id}; it has {known}")


async def _tell_pauses(repository: Repository) -> None:
    for pause in await repository.list_pauses():
        say(open_console(), str(pause))


# ---------------------------------------------------------------- learner


async def _look_or_stop(options: argparse.Namespace, settings: Settings) -> int:
    async with await Repository.open(settings) as repository:
        learner = await _find(repository, options.id)
        if options.action == "pause":
            await repository.set_daily_enabled(learner.id, enabled=False)
            say(open_console(), f"learner {learner.id} gets no daily quizzes and no announcements until they /resume")
            return 0
        quizzes = await repository.find_open_quizzes([learner.id])
        lines = _describe(learner, await repository.get_activity(learner.id), quizzes.get(learner.id))
    for name, value in lines.items():
        say(open_console(), f"{name:<14} {value}")
    return 0


async def _find(repository: Repository, learner_id: LearnerId) -> Learner:
    if learner := await repository.get_user_state(learner_id):
        return learner
    raise UnknownLearnerError(f"{learner_id}")


def _describe(learner: Learner, activity: Activity, quiz: Quiz | None) -> dict[str, object]:
    streak = learner.current_streak(learner.local_day(datetime.now(UTC)))
    return {
        "learner": learner.id,
        "bot": learner.bot_id,
        "level": learner.level.label,
        "answers": f"{activity.answers}, {activity.correct} right",
        "streak": f"{streak} {plural(streak, 'day')}",
        "last activity": f"{activity.last_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if activity.last_at else "none known",
        "open quiz": f"{quiz.id}, {quiz.kind}, {quiz.state}: {quiz.question.key}" if quiz else "none",
        "paused": "no" if learner.daily_enabled else "yes, by /stop",
        "blocked": "yes" if learner.blocked else "no",
    }


def _confirm(learner_id: LearnerId) -> bool:
    if not sys.stdin.isatty():
        raise StartupError("add --yes to erase without being asked")
    try:
        answer = input(f"Erase learner {learner_id} with all quizzes and answers? [y/N] ")
    except EOFError:  # Ctrl-D
        return False
    return answer.strip().lower() in {"y", "yes"}


async def _erase(learner_id: LearnerId, settings: Settings) -> int:
    """Do what /erase does."""
    from flows.context import open_for_flows  # noqa: PLC0415 - as above
    from quizzes.maintenance import erase_learner  # noqa: PLC0415

    async with open_for_flows(settings) as runtime:
        learner = await _find(runtime.repository, learner_id)
        await erase_learner(runtime.context, learner.id)
        await runtime.accounts.forget_pictures(learner.id)
    say(open_console(), f"learner {learner_id} is erased")
    return 0
