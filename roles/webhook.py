"""The bot role: the HTTP application with webhook, health and metrics, and the polling loop."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from bot.accounts import Account
from bot.updates import MAX_BYTES, find_group, parse_update
from domain.errors import NotAnUpdateError, StorageUnavailableError
from domain.ids import BotId
from domain.service_state import Role
from domain.settings import Settings
from domain.updates import AcceptedUpdate, Incoming
from domain.version import VERSION
from observability import metrics
from observability.gc_freeze import freeze_startup_objects
from observability.logs import register_secret
from roles.groups import GroupGreeter
from roles.header_limit import HeaderLimitProtocol
from roles.intake import UpdateIntake, callback_answer
from roles.polling import make_poller, receive_updates
from roles.readiness import check_process, find_pauses, find_problems, make_metrics, wrong_role
from roles.webhook_registration import PATH, SECRET_HEADER, set_webhook, webhook_secret
from wiring import Connections, open_connections, send_heartbeats

logger = logging.getLogger(__name__)

PAGE_METHODS = ["GET", "HEAD"]


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what opens what the application needs before the first request and closes them after the last."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_connections(settings) as connections:
            app.state.connections = connections
            app.state.metrics = make_metrics(connections)
            app.state.intake = intake = UpdateIntake(connections)
            app.state.greeter = greeter = GroupGreeter(connections.redis)
            app.state.pollers = []
            background = [
                asyncio.create_task(intake.notifier.run()),
                asyncio.create_task(send_heartbeats(connections.repository, Role.BOT)),
                *(asyncio.create_task(account.gateway.watch()) for account in connections.accounts),
            ]
            for account in connections.accounts:
                greet = partial(greeter.greet, account)
                poller = make_poller(settings, account, partial(_take_polled, account, intake), greet)
                app.state.pollers += [poller] if poller else []
                register = partial(set_webhook, account.gateway.bot, settings, account.id)
                background.append(asyncio.create_task(receive_updates(settings, account, poller, register)))
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await greeter.close()

    return lifespan


def create_app(settings: Settings) -> FastAPI:
    """Build the HTTP application, for a database whose schema is prepared."""
    app = FastAPI(title="Daily quiz", lifespan=_lifespan(settings), docs_url=None, redoc_url=None, openapi_url=None)
    secrets = {str(bot_id): webhook_secret(settings, bot_id).encode() for bot_id in settings.bots}
    first = next(iter(secrets), "")
    for secret in secrets.values():
        register_secret(secret.decode())

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

    @app.api_route("/health", methods=PAGE_METHODS)
    async def health() -> dict[str, str]:
        return {"status": "alive", "version": VERSION}

    @app.api_route("/ready", methods=PAGE_METHODS)
    async def ready(role: str | None = None) -> JSONResponse:
        return await _answer_ready(app, role)

    @app.api_route("/metrics", methods=PAGE_METHODS)
    async def show_metrics() -> Response:
        return Response(await asyncio.to_thread(app.state.metrics.expose), media_type=CONTENT_TYPE_LATEST)

    return app


async def _answer_ready(app: FastAPI, role: str | None) -> JSONResponse:
    """Say whether the service as a whole is ready or, for a probe that names this role, whether this process is."""
    pauses: tuple[str, ...] = ()
    match role:
        case None:
            pauses = await find_pauses(app.state.connections)
            problems = await find_problems(app.state.connections, app.state.pollers, Role.BOT)
        case Role.BOT:
            problems = await check_process(app.state.connections.repository)
        case _:
            return JSONResponse({"ready": False, "problems": [wrong_role(Role.BOT)]}, 400)
    told: dict[str, object] = {"ready": not problems, "problems": problems}
    return JSONResponse(told | ({"paused": pauses} if pauses else {}), 503 if problems else 200)


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
    """Return whether a Content-Length is too large; one that is no number is ignored: the body is counted anyway."""
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
        if group := find_group(body):
            connections: Connections = app.state.connections
            greeter: GroupGreeter = app.state.greeter
            greeter.greet(connections.accounts.of(bot_id), group)
        return Response()
    intake: UpdateIntake = app.state.intake
    try:
        accepted = await intake.accept(bot_id, update)
    except StorageUnavailableError as error:
        logger.warning("%s: Telegram will deliver again", error)
        return _refuse(503, "storage", "the database is unavailable; deliver again")
    return _acknowledge(accepted)


def _acknowledge(accepted: AcceptedUpdate) -> Response:
    """Answer 200; a tap is acknowledged in the same response, which costs no request of its own."""
    if accepted.update.callback_id is None:
        return Response()
    answer = {"method": "answerCallbackQuery", "callback_query_id": accepted.update.callback_id}
    if text := callback_answer(accepted):
        answer["text"] = text
    return JSONResponse(answer)


def _refuse(status: int, reason: str, line: str) -> Response:
    metrics.UPDATES_REFUSED.labels(reason).inc()
    return PlainTextResponse(f"{line}\n", status)


async def _take_polled(account: Account, intake: UpdateIntake, update: Incoming) -> str | None:
    return callback_answer(await intake.accept(account.id, update))


def serve_bot(settings: Settings) -> int:
    """Serve the HTTP application until SIGINT or SIGTERM.

    Returns:
        The exit status.
    """
    server = uvicorn.Server(server_config(create_app(settings), settings))
    freeze_startup_objects()
    server.run()
    return 0 if server.started else 1


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return how the application is served."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a warning for each broken request could fill a disk
    return uvicorn.Config(
        app,
        host=settings.webhook_host,
        port=settings.webhook_port,
        loop="uvloop",
        http=HeaderLimitProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.webhook_keep_alive_seconds,
        timeout_graceful_shutdown=5,
    )
