"""The bot role: the HTTP application with webhook, health and metrics, and the polling loop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect
from telegram import Bot, Update, WebhookInfo
from telegram.error import RetryAfter
from telegram.error import TelegramError as LibraryError

from bot import messages
from bot.accounts import Account
from bot.callbacks import CloseReport, OpenReport, ReportButton, unpack
from bot.flood import PACE as LEARNER_PACE
from bot.flood import FloodGate
from bot.gateway import seconds_to_wait
from bot.heads import BoundedHeads
from bot.intake import ALLOWED_UPDATES, MAX_BYTES, Accepted, NotAnUpdateError, accept_update, parse_update
from domain.errors import ForgedCallbackError, QuizServiceError, StartupError, StorageUnavailableError
from domain.ids import BotId
from domain.models import Fate, Incoming, TapVerdict, UpdateKind
from domain.settings import Settings, TelegramMode
from observability import metrics
from observability.collector import pass_over_loaded
from observability.logs import hide, redact
from quiz_generator import sync_bank
from repository import UPDATES_CHANNEL
from services import Wiring, keep_beating, make_bots, open_services

logger = logging.getLogger(__name__)

PATH = "/telegram/webhook"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name
INTRODUCE_SECONDS = 3.0
ALIVE_WITHIN = timedelta(seconds=20)


def webhook_secret(settings: Settings, bot_id: BotId) -> str:
    """Return the secret that Telegram shows with each update of a bot.

    Args:
        settings: with the secret, or a token to derive one from, so that all replicas agree on it.
        bot_id: one of the service's bots.
    """
    if settings.telegram_webhook_secret:
        return settings.telegram_webhook_secret.get_secret_value()
    return hmac.new(settings.bots[bot_id].get_secret_value().encode(), b"webhook secret", hashlib.sha256).hexdigest()


def webhook_path(settings: Settings, bot_id: BotId) -> str:
    """Return where Telegram delivers a bot's updates; of several bots, each has a path of its own.

    Args:
        settings: with the bots.
        bot_id: one of them.
    """
    return f"{PATH}/{bot_id}" if len(settings.bots) > 1 else PATH


class Bell:
    """Wakes the workers after updates were stored: one NOTIFY for many, since each one makes commits wait."""

    def __init__(self, wiring: Wiring) -> None:
        """Take what to ring through.

        Args:
            wiring: open services.
        """
        self._database = wiring.repository.database
        self._silent = wiring.settings.database_pooler
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the workers soon."""
        self._rung.set()

    async def run(self) -> None:
        """Ring until cancelled; a lost one only costs the workers' next poll."""
        while not self._silent:
            await self._rung.wait()
            self._rung.clear()
            with contextlib.suppress(StorageUnavailableError):
                await self._database.notify(UPDATES_CHANNEL)


class Door:
    """Where updates come in: stores what is no flood, and wakes the workers."""

    def __init__(self, wiring: Wiring) -> None:
        """Take where updates go.

        Args:
            wiring: open services.
        """
        self._repository = wiring.repository
        self._gates = {account.id: FloodGate(LEARNER_PACE) for account in wiring.accounts}
        self.bell = Bell(wiring)

    async def accept(self, bot_id: BotId, update: Incoming) -> Accepted:
        """Take care of an update; see `bot.intake.accept_update`.

        Args:
            bot_id: the bot that received it.
            update: what is left of it.

        Raises:
            StorageUnavailableError: it is not stored; Telegram must deliver it again.
        """
        accepted = await accept_update(self._repository, bot_id, update, self._gates[bot_id])
        if accepted.is_new:
            self.bell.ring()
        return accepted


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what opens the application's services before the first request and closes them after the last."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as wiring:
            await wiring.repository.database.prepare_schema()
            await sync_bank(wiring.repository, settings.question_bank_dir)
            app.state.wiring = wiring
            app.state.door = door = Door(wiring)
            background = [
                asyncio.create_task(door.bell.run()),
                asyncio.create_task(keep_beating(wiring.repository, "bot")),
                *(asyncio.create_task(_introduce(wiring.settings, account, door)) for account in wiring.accounts),
            ]
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)

    return lifespan


def create_app(settings: Settings) -> FastAPI:
    """Build the HTTP application.

    Args:
        settings: with every address resolved.
    """
    app = FastAPI(title="Daily quiz", lifespan=_lifespan(settings), docs_url=None, redoc_url=None, openapi_url=None)
    secrets = {str(bot_id): webhook_secret(settings, bot_id).encode() for bot_id in settings.bots}
    first = next(iter(secrets), "")
    for secret in secrets.values():
        hide(secret.decode())

    async def receive(request: Request) -> Response:
        bot = request.path_params.get("bot", first)
        given = request.headers.get(SECRET_HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, secrets.get(bot, b"")) or bot not in secrets:
            return _refuse(401, "secret", "wrong or missing secret")
        try:
            body = await _read_body(request)
        except ClientDisconnect:
            return _refuse(400, "cut off", "the body ended early")
        if body is None:
            return _refuse(413, "size", f"an update has at most {MAX_BYTES} bytes")
        return await _take(app, BotId(int(bot)), body)

    for path in (PATH, PATH + "/{bot}"):  # as plain routes: FastAPI's own would solve dependencies that there are not
        app.add_route(path, receive, methods=["POST"])

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        problems = await find_problems(app.state.wiring)
        return JSONResponse({"ready": not problems, "problems": problems}, 503 if problems else 200)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _read_body(request: Request) -> bytes | None:
    """Return the request's body, or None as soon as it is too long."""
    if _is_too_long(request.headers.get("content-length", "")):
        return None
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _is_too_long(declared: str) -> bool:
    """Say whether a body is announced as too long; whatever is no number is not: the body is counted as it comes."""
    digits = declared.lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        return False
    return len(digits) > len(str(MAX_BYTES)) or int(digits) > MAX_BYTES


async def _take(app: FastAPI, bot_id: BotId, body: bytes) -> Response:
    try:
        update = parse_update(body)
    except NotAnUpdateError as error:
        return _refuse(400, "form", str(error))
    if update is None:
        return Response()
    door: Door = app.state.door
    try:
        accepted = await door.accept(bot_id, update)
    except StorageUnavailableError as error:
        logger.warning("%s: Telegram will deliver again", error)
        return _refuse(503, "storage", "the database is away, deliver again")
    return _acknowledge(accepted)


def _acknowledge(accepted: Accepted) -> Response:
    """Answer 200; a tap is acknowledged in the same response, which costs no request of its own."""
    if accepted.update.callback_id is None:
        return Response()
    answer = {"method": "answerCallbackQuery", "callback_query_id": accepted.update.callback_id}
    if toast := toast_of(accepted):
        answer["text"] = toast
    return JSONResponse(answer)


def toast_of(accepted: Accepted) -> str | None:
    """Return what a learner reads the moment they tap.

    A report is about a quiz that is answered: there the verdict that turns a second answer away means that all is well.

    Args:
        accepted: a tap that is stored.
    """
    button = _report_button(accepted)
    if button is None or accepted.fate is Fate.SHED:
        return accepted.toast
    if accepted.verdict is TapVerdict.FRESH and accepted.is_new:
        return messages.REPORT_TOO_EARLY
    if accepted.verdict not in {TapVerdict.FRESH, TapVerdict.ANSWERED}:
        return accepted.toast  # somebody else's quiz, or one that is gone
    match button:
        case OpenReport(reason=reason):
            return messages.REPORT_AGAIN if reason else None
        case CloseReport():
            return None
        case _:
            return messages.REPORT_THANKS


def _report_button(accepted: Accepted) -> ReportButton | None:
    if accepted.update.kind is not UpdateKind.TAP:
        return None
    try:
        callback = unpack(accepted.update.content)
    except ForgedCallbackError:
        return None
    return callback if isinstance(callback, ReportButton) else None


def _refuse(status: int, reason: str, line: str) -> Response:
    metrics.UPDATES_REFUSED.labels(reason).inc()
    return PlainTextResponse(f"{line}\n", status)


async def find_problems(wiring: Wiring) -> list[str]:
    """Return what keeps the service from serving learners, one line each; nothing when all is well.

    Args:
        wiring: open services.
    """
    problems = []
    try:
        alive = await wiring.repository.find_alive_roles(ALIVE_WITHIN)
        if not alive.get("worker"):
            problems.append("no worker gave a sign of life lately")
        if not await wiring.repository.count_questions():
            problems.append("the question bank is empty")
    except StorageUnavailableError as error:
        problems.append(str(error))
    try:
        await wiring.redis.ping()
    except Exception as error:  # noqa: BLE001 - whatever it is, Redis cannot serve
        problems.append(f"Redis is away: {type(error).__name__}")
    return problems


async def _introduce(settings: Settings, account: Account, door: Door) -> None:
    """Tell Telegram the commands and how updates come in; try again until it listens.

    With Telegram itself, only `main.py webhook set` sets the webhook: replicas would overwrite each other's.
    """
    while True:
        try:
            await account.gateway.publish_commands()
            if settings.mode is TelegramMode.POLLING:
                await _poll(account, door)
            elif _is_local(settings):
                await _set_webhook(account.gateway.bot, settings, account.id)
        except (LibraryError, QuizServiceError) as error:
            logger.warning("not connected to Telegram yet: %s", redact(str(error)))
            await asyncio.sleep(INTRODUCE_SECONDS)
        except Exception as error:  # noqa: BLE001 - what the library cannot read may be anything, and hold a name
            logger.error("what Telegram sent cannot be read (%s): asking again", type(error).__name__)  # noqa: TRY400
            await asyncio.sleep(INTRODUCE_SECONDS)
        else:
            return


def _is_local(settings: Settings) -> bool:
    local = ("http://127.0.0.1", "http://localhost")
    return settings.telegram_api_base_url.startswith(local) and (settings.webhook_url or "").startswith(local)


async def _poll(account: Account, door: Door) -> None:
    """Fetch updates for ever; each is stored before the next call confirms it."""
    bot = account.gateway.bot
    if url := (await bot.get_webhook_info()).url:
        raise StartupError(f"a webhook is set at {url}; polling needs `python main.py webhook delete` first")
    logger.info("polling Telegram for updates")
    offset = None
    while True:
        try:
            updates = await bot.get_updates(offset, timeout=25, allowed_updates=list(ALLOWED_UPDATES))
        except RetryAfter as error:
            await asyncio.sleep(seconds_to_wait(error))
            continue
        for received in updates:
            await _take_polled(account, door, received)
            offset = received.update_id + 1


async def _take_polled(account: Account, door: Door, received: Update) -> None:
    try:
        update = parse_update(received.to_json())
    except NotAnUpdateError as error:  # one that cannot be read must not hold up all that follow
        logger.warning("an update was passed over: %s", error)
        return
    if update is not None:
        accepted = await door.accept(account.id, update)
        if update.callback_id:
            await account.gateway.acknowledge(update.callback_id, toast_of(accepted))


async def _set_webhook(bot: Bot, settings: Settings, bot_id: BotId) -> None:
    await bot.set_webhook(
        f"{settings.webhook_url}{webhook_path(settings, bot_id)}",
        allowed_updates=list(ALLOWED_UPDATES),
        secret_token=webhook_secret(settings, bot_id),
        max_connections=100,
    )


async def manage_webhook(settings: Settings, action: str) -> int:
    """Set, delete or show the webhook of each bot at Telegram, and print the result.

    Args:
        settings: token, address and secret.
        action: ``set``, ``delete`` or ``info``.

    Returns:
        The exit status.

    Raises:
        StartupError: something is missing, or Telegram refused.
    """
    if action == "set" and not settings.webhook_url:
        raise StartupError("WEBHOOK_URL is not set: the public https address that Telegram is to call")
    for bot_id, made in make_bots(settings).items():
        try:
            async with made as bot:
                if action == "set":
                    await _set_webhook(bot, settings, bot_id)
                elif action == "delete":
                    await bot.delete_webhook()
                info = await bot.get_webhook_info()
        except LibraryError as error:
            raise StartupError(f"Telegram refused: {redact(error.message)}") from None
        _print_webhook(f"bot {bot_id}: " if len(settings.bots) > 1 else "", info)
    return 0


def _print_webhook(whose: str, info: WebhookInfo) -> None:
    print(f"{whose}webhook: {info.url or 'none'}; {info.pending_update_count} update(s) wait")  # noqa: T201
    if info.last_error_message:
        print(f"{whose}last error: {info.last_error_message} ({info.last_error_date:%Y-%m-%d %H:%M:%S %Z})")  # noqa: T201


def serve_bot(settings: Settings) -> int:
    """Serve the HTTP application until SIGINT or SIGTERM.

    Args:
        settings: with every address resolved.

    Returns:
        The exit status.
    """
    server = uvicorn.Server(server_config(create_app(settings), settings))
    pass_over_loaded()
    server.run()
    return 0 if server.started else 1


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return how the application is served.

    Args:
        app: the application.
        settings: address and port.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a warning for each broken request could fill a disk
    return uvicorn.Config(
        app,
        host=settings.webhook_host,
        port=settings.webhook_port,
        loop="uvloop",
        http=BoundedHeads,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
