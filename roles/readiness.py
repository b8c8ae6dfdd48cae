"""What `/ready` says: whether learners can be served, and if not, what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis.asyncio import Redis

from domain.errors import StorageUnavailableError
from domain.readiness import NO_UPDATES, OVERDUE, Problem
from domain.service_state import Role, ServiceState
from domain.settings import Settings
from observability.logs import redact
from observability.service_metrics import ServiceMetrics
from repository import Repository
from roles.polling import Poller
from wiring import Connections

CHECK_SECONDS = 2.5
"""For the database to answer a probe; the probe itself waits longer."""

READ_SECONDS = 5.0
"""To read the service's state from its rows."""

MISSING = {
    Role.BOT: "no bot has sent a heartbeat lately: nothing that learners write is received",
    Role.WORKER: "no worker has sent a heartbeat lately",
    Role.PREFECT: "no Prefect worker has sent a heartbeat lately: no daily quiz goes out",
}


async def check_process(repository: Repository) -> list[str]:
    """Return what keeps a process from doing its own part, whatever other processes do.

    A bot and a worker need the database alone: both go on without Redis and Prefect, and what keeps Telegram or another
    role away is nothing that taking this process out of service could help.
    """
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await repository.ping()
    except StorageUnavailableError as error:
        return [redact(str(error))]
    except TimeoutError:
        return [f"the database has not answered within {CHECK_SECONDS:g} s"]
    return []


async def find_problems(connections: Connections, pollers: Sequence[Poller] = (), own: Role | None = None) -> list[str]:
    """Return what keeps the service from serving learners, one line each; nothing when all is well.

    Args:
        own: the role of the process that asks, which is alive even before its first heartbeat.
    """
    problems = [
        *await _of_storage(connections, own),
        *await _of_redis(connections.redis),
        *await connections.accounts.describe_refused(),
        *(f"bot {one.bot_id} {NO_UPDATES}: {one.problem}" for one in pollers if one.problem),
    ]
    return [redact(problem) for problem in problems]


async def find_pauses(connections: Connections) -> tuple[str, ...]:
    """Return what operators have paused, one line each: that is no problem, but whoever looks should know."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return tuple(str(pause) for pause in await connections.repository.list_pauses())
    except (StorageUnavailableError, TimeoutError):
        return ()  # which the problems say


def describe_problems(state: ServiceState, settings: Settings, own: Role | None = None) -> list[Problem]:
    """Return what is wrong with the service by its rows."""
    missing = [
        Problem(MISSING[role], f"start `python main.py {role}`, and look at its log")
        for role in state.missing_roles()
        if role is not own
    ]
    overdue = [
        Problem(
            f"a daily quiz of bot {one.bot_id} {OVERDUE}: {one.unsent} due and not sent, the oldest for "
            f"{format_age(one.oldest_seconds)}",
            "the runs of distribute_daily_quizzes in Prefect say why",
        )
        for one in state.backlogs
        if one.oldest_seconds > overdue_seconds(settings)
    ]
    return missing + overdue


def overdue_seconds(settings: Settings) -> float:
    """Return at which age a daily quiz that is due and unsent is overdue."""
    return settings.daily_overdue_minutes * 60.0


def backup_overdue_seconds(settings: Settings) -> float | None:
    """Return at which age the last verified backup is overdue; None if none is scheduled."""
    return settings.backup_interval_hours * 2 * 3600.0 if settings.backup_dir else None


def make_metrics(connections: Connections) -> ServiceMetrics:
    """Return the gauges of the service, read on the running event loop."""
    bots = list(connections.settings.bots)
    settings = connections.settings
    return ServiceMetrics(
        lambda: connections.repository.get_service_state(bots),
        overdue_seconds(settings),
        backup_overdue_seconds(settings),
    )


def wrong_role(role: Role) -> str:
    """Return the line for a probe that asks the wrong process."""
    return f"this process is a {role}; it cannot answer for another role"


def format_age(seconds: float) -> str:
    """Return a duration in the two units that matter, such as ``2 h 5 min``."""
    whole = max(0, int(seconds))
    for size, unit, small, small_unit in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit} {rest} {small_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 - a minute


async def _of_storage(connections: Connections, own: Role | None) -> list[str]:
    repository, settings = connections.repository, connections.settings
    try:
        async with asyncio.timeout(READ_SECONDS):
            state = await repository.get_service_state(list(settings.bots))
            problems = [problem.what for problem in describe_problems(state, settings, own)]
            if not await repository.count_questions():
                problems.append("the question bank is empty")
    except StorageUnavailableError as error:
        return [str(error)]
    except TimeoutError:
        return [f"the database has not answered within {READ_SECONDS:g} s"]
    return problems


async def _of_redis(redis: Redis) -> list[str]:
    try:
        await redis.ping()
    except Exception as error:  # noqa: BLE001 - whatever it is, Redis cannot serve
        return [f"Redis is unavailable: {type(error).__name__}"]
    return []
