"""`python main.py doctor`: whether the service can start here, one line a check, each with what to do."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path

import httpx
from redis.asyncio import Redis
from rich.console import Console
from rich.text import Text
from telegram import Bot, WebhookInfo
from telegram.error import InvalidToken
from telegram.error import TelegramError as LibraryError

from domain.errors import QuizServiceError
from domain.ids import BotId
from domain.settings import Settings, TelegramMode
from observability.logs import one_line
from repository import Repository
from roles.questions.terminal import open_console, say
from roles.status.facts import WRITE_REMEDY, find_redis_version
from roles.status.prefect_facts import ask_prefect
from roles.webhook_registration import webhook_path
from storage.redis_client import REDIS_UNAVAILABLE, open_redis
from wiring import make_bots

SECONDS = 10.0
"""For one server to answer everything that is asked of it."""

MAX_DRIFT_SECONDS = 5.0
"""Between this machine's clock and another's; an answer takes a part of it, and Telegram tells whole seconds."""

MIN_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """What was found out about one thing."""

    what: str
    found: str
    remedy: str | None = None
    """What to do; None if all is well."""
    is_advice: bool = False
    """Whether the service starts and works all the same."""

    @property
    def failed(self) -> bool:
        """Return whether the service cannot work so."""
        return self.remedy is not None and not self.is_advice


async def run_doctor(settings: Settings) -> int:
    """Print each check as soon as it is made.

    Returns:
        The exit status: 0 if the service can start, 1 if something has to be done before.
    """
    console, failed = open_console(), 0
    for checks in (_settings, _database, _redis, _prefect, _telegram, _disk):
        try:
            async with asyncio.timeout(SECONDS):
                async for check in checks(settings):
                    failed += check.failed
                    _print(console, check)
        except TimeoutError:
            failed += 1
            name = checks.__name__.strip("_")
            _print(console, Check(name, f"no answer within {SECONDS:g} s", "look at the server, and at the way to it"))
        except (QuizServiceError, OSError) as error:  # in the middle of the checks; the others can still be made
            failed += 1
            _print(console, Check(checks.__name__.strip("_"), str(error), "look at its log, and at the settings"))
    say(console, f"{failed} to be done" if failed else "nothing is in the way")
    return 1 if failed else 0


def _print(console: Console, check: Check) -> None:
    sign, style = ("✗", "red") if check.failed else ("!", "yellow") if check.remedy else ("✓", "green")
    line = Text.assemble((sign, style), f" {check.what}: {one_line(check.found)}")
    if check.remedy:
        line.append(f"; {check.remedy}")
    console.print(line, soft_wrap=True)


# ---------------------------------------------------------------- settings


async def _settings(settings: Settings) -> AsyncIterator[Check]:
    needed = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "TELEGRAM_BOT_TOKEN": settings.bots or None,
        "PREFECT_API_URL": settings.prefect_api_url,
    }
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        yield Check("settings", f"{', '.join(missing)} not set", "set them in .env or in the environment")
    else:
        yield Check("settings", f"valid; updates come by {settings.mode}")
    if settings.mode is TelegramMode.WEBHOOK and not settings.webhook_url:
        yield Check("settings", "TELEGRAM_MODE is webhook", "set WEBHOOK_URL to the public address")
    if settings.prefect_api_url and not settings.prefect_api_auth_string:
        remedy = "set PREFECT_API_AUTH_STRING here and at the server, unless nobody else reaches it"
        yield Check("settings", "no login for Prefect, which runs commands for whoever asks", remedy, is_advice=True)


# ---------------------------------------------------------------- servers


async def _database(settings: Settings) -> AsyncIterator[Check]:
    if settings.database_url is None:
        return
    try:
        repository = await Repository.open(settings)
    except QuizServiceError as error:
        yield Check("Postgres", str(error), "start it, or correct DATABASE_URL")
        return
    async with repository:
        facts = await repository.describe_database()
        yield Check("Postgres", f"{facts.version}, as {facts.role}, {facts.max_connections} connections at most")
        yield _clock("Postgres", facts.at)
        missing = await repository.database.find_missing_migrations()
        if not missing:
            yield Check("schema", "up to date")
        elif facts.may_create:
            yield Check("schema", f"{', '.join(missing)} will be applied at the start")
        else:
            remedy = f'GRANT USAGE, CREATE ON SCHEMA public TO "{facts.role}", or ALTER DATABASE ... OWNER TO it'
            yield Check("schema", f"the role may not apply {', '.join(missing)}", remedy)
        if facts.is_superuser:
            remedy = "give the service a role of its own that owns its database and no more"
            yield Check("rights", f"{facts.role} is a superuser", remedy, is_advice=True)
        if not missing and (refusal := await repository.find_write_refusal()):
            yield Check("Postgres", f"takes no rows: {refusal}", WRITE_REMEDY)
        if not missing and await repository.database.find_unknown_zones([settings.quiz_timezone]):
            remedy = "use the present name of a city's zone, such as America/New_York for US/Eastern"
            yield Check("QUIZ_TIMEZONE", f"the database does not know {settings.quiz_timezone}", remedy)


async def _redis(settings: Settings) -> AsyncIterator[Check]:
    if settings.redis_url is None:
        return
    try:
        async with open_redis(settings.redis_url.get_secret_value()) as redis:
            yield Check("Redis", await find_redis_version(redis))
            yield _clock("Redis", await time_of(redis))
    except QuizServiceError as error:
        yield Check("Redis", str(error), "correct REDIS_URL")
    except REDIS_UNAVAILABLE as error:
        yield Check("Redis", f"{type(error).__name__}: {error}", "start it, or correct REDIS_URL and its password")


async def time_of(redis: Redis) -> datetime:
    """Return what the server's clock says."""
    seconds, microseconds = await redis.time()
    return datetime.fromtimestamp(seconds, tz=UTC) + timedelta(microseconds=microseconds)


async def _prefect(settings: Settings) -> AsyncIterator[Check]:
    if settings.prefect_api_url is None:
        return
    facts, ours = await ask_prefect(settings), version("prefect")
    if isinstance(facts, str):
        yield Check("Prefect", facts, "start the server, or correct PREFECT_API_URL and PREFECT_API_AUTH_STRING")
    elif facts.version != ours:
        remedy = "run the server from the same release, as `python -m local.prefect_server` does"
        yield Check("Prefect", f"the server is {facts.version}, and this release was made for {ours}", remedy)
    else:
        yield Check("Prefect", facts.version)


# ---------------------------------------------------------------- Telegram


async def _telegram(settings: Settings) -> AsyncIterator[Check]:
    if not settings.bots:
        return
    for bot_id, bot in make_bots(settings).items():
        yield await _bot(settings, bot_id, bot)
    try:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            told = (await client.get(settings.telegram_api_base_url)).headers.get("date")
        if told:
            yield _clock("Telegram", parsedate_to_datetime(told))
    except (httpx.HTTPError, ValueError):
        pass  # the bots' lines say that it is out of reach


async def _bot(settings: Settings, bot_id: BotId, bot: Bot) -> Check:
    try:
        async with bot:
            info = await bot.get_webhook_info()
            return _webhook(settings, bot_id, bot.username, info)
    except InvalidToken:
        remedy = "copy the present token from @BotFather into TELEGRAM_BOT_TOKEN or TELEGRAM_BOT_TOKENS"
        return Check(f"bot {bot_id}", "Telegram refuses the token", remedy)
    except LibraryError as error:
        remedy = "look at the way to Telegram, at HTTPS_PROXY and at TELEGRAM_API_BASE_URL"
        return Check(f"bot {bot_id}", error.message, remedy)


def _webhook(settings: Settings, bot_id: BotId, name: str, info: WebhookInfo) -> Check:
    what, is_set = f"bot {bot_id}", bool(info.url)
    if settings.mode is TelegramMode.POLLING:
        if is_set:
            remedy = "run `python main.py webhook delete` to poll, or set WEBHOOK_URL"
            return Check(what, f"@{name} has a webhook, and Telegram lets only a bot without one poll", remedy)
        return Check(what, f"@{name}, which polls")
    if info.url != f"{settings.webhook_url}{webhook_path(settings, bot_id)}":
        found = "another webhook is set" if is_set else "no webhook is set"
        remedy = "run `python main.py webhook set` once the bot answers"
        return Check(what, f"@{name}: {found}", remedy, is_advice=not is_set)
    if info.last_error_message:
        found = (
            f"@{name}: the webhook last failed at {info.last_error_date:%Y-%m-%d %H:%M} UTC: {info.last_error_message}"
        )
        return Check(what, found, "if that is not over, look at the proxy before the webhook", is_advice=True)
    return Check(what, f"@{name}, whose webhook is set; updates that wait: {info.pending_update_count}")


# ---------------------------------------------------------------- this machine


def _clock(whose: str, theirs: datetime) -> Check:
    drift = time.time() - theirs.timestamp()
    if abs(drift) <= MAX_DRIFT_SECONDS:
        return Check("clock", f"agrees with that of {whose}")
    direction = "ahead of" if drift > 0 else "behind"
    found = f"{abs(drift):.0f} s {direction} that of {whose}"
    return Check("clock", found, "set both by NTP: taps and due quizzes are judged by them")


async def _disk(settings: Settings) -> AsyncIterator[Check]:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    usage = await asyncio.to_thread(shutil.disk_usage, Path(folder))
    found = f"{usage.free / 1e9:.1f} GB free at {folder}"
    yield Check("disk", found, "make room" if usage.free < MIN_FREE_BYTES else None)
