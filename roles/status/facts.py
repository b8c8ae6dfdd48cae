"""What `status` asks: the rows, Redis, Prefect; and what is wrong by their answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.breaker import BotBreaker
from domain.errors import ModelUnavailableError, StorageUnavailableError
from domain.ids import BotId
from domain.readiness import BOT_REFUSED, Problem
from domain.service_state import BackupSummary, ServiceState
from domain.settings import Settings
from domain.words import plural
from observability.logs import one_line
from question_sources.llm.breaker import LlmBreaker
from repository import Repository
from roles.readiness import backup_overdue_seconds, describe_problems, format_age
from roles.status.prefect_facts import FLOW, PrefectFacts, ask_prefect
from storage.redis_client import REDIS_UNAVAILABLE, open_redis
from storage.service_store import DatabaseFacts

SECONDS = 10.0
"""For the database to answer everything."""

OLD_UPDATE_SECONDS = 120.0
"""After which an update should have been handled."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the language model was used for today (UTC)."""

    name: str
    cost: Decimal
    """US dollars, spent or reserved."""
    budget: Decimal
    """US dollars."""
    questions: int
    """Accepted."""
    empty_cells: int
    """Topics and levels without a fresh question."""
    paused: str | None
    """Why it is not asked at the moment."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What the database says."""

    facts: DatabaseFacts
    state: ServiceState
    questions: int
    model: ModelFacts | None
    write_refusal: str | None = None
    """Why the database takes no rows."""


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What Redis says."""

    version: str
    refusals: dict[BotId, str | None]
    """Telegram's words for each bot that it refuses; None for one that it accepts."""


@dataclass(slots=True)
class Status:
    """All answers; None where nothing answered."""

    rows: Rows | None = None
    redis: RedisFacts | None = None
    prefect: PrefectFacts | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """Return 0 if nothing is wrong, 1 if something is, 2 if the database cannot tell."""
        if self.rows is None:
            return 2
        return 1 if self.problems else 0


async def gather_status(settings: Settings) -> Status:
    """Ask everything at once.

    Raises:
        StartupError: an address in the settings is invalid, or the database refuses the login.
    """
    status = Status()
    redis = open_redis(settings.redis_url.get_secret_value()) if settings.redis_url else None
    try:
        rows, known, prefect = await asyncio.gather(
            _ask_rows(settings, redis), _ask_redis(settings, redis), ask_prefect(settings)
        )
    finally:
        if redis:
            await redis.aclose()
    status.rows = _or_problem(status, "Postgres", rows)
    status.redis = _or_problem(status, "Redis", known)
    status.prefect = _or_problem(status, "Prefect", prefect)
    status.problems += judge(status, settings)
    return status


def _or_problem(status: Status, server: str, answer: T | str) -> T | None:
    if isinstance(answer, str):
        status.problems.append(Problem(f"{server}: {answer}", _REMEDIES[server]))
        return None
    return answer


WRITE_REMEDY = "make room on its disk, or end what makes it read-only; until then Telegram keeps what learners write"

_REMEDIES = {
    "Postgres": "learners get no reply until it is back; look at its log, and at DATABASE_URL",
    "Redis": "everything goes on at half the rate; look at its log, and at REDIS_URL",
    "Prefect": "no daily quiz goes out until it is back; look at its log, and at PREFECT_API_URL",
}


async def _ask_rows(settings: Settings, redis: Redis | None) -> Rows | str:
    if settings.database_url is None:
        return "DATABASE_URL is not set (under `make run`, open /ready of the bot instead)"
    try:
        async with asyncio.timeout(SECONDS), await Repository.open(settings) as repository:
            if missing := await repository.database.find_missing_migrations():
                return f"the schema lacks {', '.join(missing)}; run `python main.py init`"
            return Rows(
                facts=await repository.describe_database(),
                state=await repository.get_service_state(list(settings.bots)),
                questions=sum((await repository.count_questions()).values()),
                model=await _ask_model(repository, settings, redis) if settings.openai_api_key else None,
                write_refusal=await repository.find_write_refusal(),
            )
    except TimeoutError:
        return f"it has not answered within {SECONDS:g} s"
    except StorageUnavailableError as error:
        return one_line(error)


async def _ask_model(repository: Repository, settings: Settings, redis: Redis | None) -> ModelFacts:
    sums = await repository.sum_generations()
    paused = None
    try:
        if redis:
            await LlmBreaker(redis).check()
    except ModelUnavailableError as error:
        paused = one_line(error)
    return ModelFacts(
        name=settings.openai_model,
        cost=sum((one.cost for one in sums), Decimal(0)),
        budget=settings.openai_daily_budget_usd,
        questions=sum(one.questions for one in sums if one.outcome == "accepted"),
        empty_cells=sum(not stock.fresh for stock in await repository.count_stock()),
        paused=paused,
    )


async def _ask_redis(settings: Settings, redis: Redis | None) -> RedisFacts | str:
    if redis is None:
        return "REDIS_URL is not set"
    try:
        version = await find_redis_version(redis)
    except REDIS_UNAVAILABLE as error:
        return f"it does not answer ({type(error).__name__})"
    return RedisFacts(version, {bot_id: await BotBreaker(bot_id, redis).find_refusal() for bot_id in settings.bots})


async def find_redis_version(redis: Redis) -> str:
    """Return the version of the server, or of a server of the cluster."""
    try:
        info = await redis.info("server")
    except RedisTimeoutError:  # on a busy machine a process that has just begun is itself too slow to take the answer
        info = await redis.info("server")
    return str(info.get("valkey_version") or info["redis_version"])


def judge(status: Status, settings: Settings) -> list[Problem]:
    """Return what is wrong by the answers that there are."""
    found = [
        Problem(
            f"{BOT_REFUSED} {bot_id} ({one_line(words)})",
            "put its present token of @BotFather into the settings, and restart every role; its quizzes wait",
        )
        for bot_id, words in (status.redis.refusals if status.redis else {}).items()
        if words
    ]
    if status.prefect and not status.prefect.next_distribution:
        found.append(
            Problem(f"no run of {FLOW} is scheduled", "unpause its schedule in Prefect, or restart the role prefect")
        )
    if status.rows is None:
        return found
    state = status.rows.state
    if refusal := status.rows.write_refusal:  # first, since most of what follows may come of it
        found.append(Problem(f"Postgres takes no rows: {one_line(refusal)}", WRITE_REMEDY))
    found += describe_problems(state, settings)
    if not status.rows.questions:
        found.append(Problem("the question bank is empty", "run `python main.py init`"))
    if (served := state.latest_served) and served.state.is_bad:
        reason = one_line(served.reason or "no reason is noted")
        found.append(
            Problem(
                f"the latest distribution {served.state}: {reason}", "its run in Prefect has a table of who and why"
            )
        )
    if state.updates_oldest_seconds > OLD_UPDATE_SECONDS:
        waiting = f"{state.updates_waiting} {plural(state.updates_waiting, 'update waits', 'updates wait')}"
        age = format_age(state.updates_oldest_seconds)
        found.append(Problem(f"{waiting}, the oldest for {age}", "look at the log of the workers"))
    return found + judge_backups(state.backups, settings)


def judge_backups(backups: BackupSummary, settings: Settings) -> list[Problem]:
    """Return what is wrong with the backups."""
    overdue_after = backup_overdue_seconds(settings)
    if overdue_after is None or backups.age_seconds <= overdue_after:
        return []
    why = (
        f"; the last one failed: {one_line(backups.latest.reason)}" if backups.latest and backups.latest.reason else ""
    )
    remedy = "look at the runs of back_up in Prefect, or run `python main.py backup`"
    return [Problem(f"there has been no verified backup for {format_age(backups.age_seconds)}{why}", remedy)]
