"""The Bot API over HTTP: from a request to its method, and back. Plain ASGI, because this is the hot path."""

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

from simulator import sending, settings
from simulator.core import Simulator
from simulator.errors import ApiError, too_many_requests
from simulator.faults import FOREIGN, REFUSALS, Fault
from simulator.media import picture_type
from simulator.model import Bot
from simulator.params import Json, Params, parse_call
from simulator.stats import Request

_PATH: Final = re.compile(r"/bot([^/]+)/([^/]+)/?")
_FILE_PATH: Final = re.compile(r"/file/bot([^/]+)/\w+/(\w+)")
_TOKEN: Final = re.compile(r"(\d{1,18}):[\w-]{20,}", re.ASCII)
_UNAUTHORIZED: Final = ApiError(401, "Unauthorized")
_NOT_FOUND: Final = ApiError(404, "Not Found")
_MAX_BODY: Final = 55 * 1024 * 1024
_NOT_IN_REPLIES: Final = frozenset({"setwebhook", "deletewebhook", "close", "logout"})

Method = Callable[[Simulator, Bot, Params], Any]
_METHODS: Final[dict[str, Method]] = {
    "getMe": settings.get_me,
    "setWebhook": settings.set_webhook,
    "deleteWebhook": settings.delete_webhook,
    "getWebhookInfo": settings.get_webhook_info,
    "setMyCommands": settings.set_my_commands,
    "getMyCommands": settings.get_my_commands,
    "sendMessage": sending.send_message,
    "sendPhoto": sending.send_photo,
    "sendDocument": sending.send_document,
    "sendChatAction": sending.send_chat_action,
    "editMessageText": sending.edit_message_text,
    "editMessageCaption": sending.edit_message_caption,
    "editMessageReplyMarkup": sending.edit_message_reply_markup,
    "deleteMessage": sending.delete_message,
    "answerCallbackQuery": sending.answer_callback_query,
    "getChat": sending.get_chat,
    "getFile": sending.get_file,
}
METHODS: Final = {name.lower(): method for name, method in _METHODS.items()}
NAMES: Final = {name.lower(): name for name in (*_METHODS, "getUpdates")}
"""How Telegram writes a method's name, which may come in any case."""


class _Abandoned(Exception):  # noqa: N818 - not an error: the answer is withheld on purpose
    """The call gets no answer."""


class _Foreign(Exception):  # noqa: N818 - not an error: something else than Telegram answers
    """The call is answered by what stands before Telegram."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class BotApi:
    """Answers `/bot{token}/{method}` and `/file/bot{token}/{path}`."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        simulator.execute_reply = self.execute_reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        if path.startswith("/file/"):
            await self._serve_file(path, send)
            return
        headers = dict(scope["headers"])
        try:
            body = await _read_body(receive)
        except ApiError as error:
            await _answer_error(send, error)
            return
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        try:
            await self._answer(path, scope["query_string"], content_type, body, send)
        except _Abandoned:
            await _reset(send)

    def execute_reply(self, bot: Bot, call: Json) -> None:
        """Execute a method call out of a webhook's answer; nobody hears how it went, but it is recorded."""
        method = str(call["method"]).lower()
        if method in _NOT_IN_REPLIES or method.startswith("get") or method not in METHODS:
            return
        params = Params({name: value for name, value in call.items() if name != "method"})
        try:
            METHODS[method](self._simulator, bot, params)
        except ApiError as error:
            self._record(bot, method, params, error.code, error.description)
        else:
            self._record(bot, method, params, 200, "in the webhook's answer")

    async def _answer(self, path: str, query: bytes, content_type: str, body: bytes, send: Send) -> None:
        found = _PATH.fullmatch(path)
        token = _TOKEN.fullmatch(found[1]) if found else None
        if found is None or token is None:
            await _answer_error(send, _NOT_FOUND if found is None else _UNAUTHORIZED)
            return
        simulator, method = self._simulator, found[2].lower()
        bot = simulator.bot(int(token[1]))
        bot.seen = simulator.clock.monotonic()
        params = Params({})
        try:
            params = parse_call(query, content_type, body)
            fault = simulator.faults.take(method, bot.id, params.text("chat_id"))
            result = await self._call(bot, method, params, fault)
        except ApiError as error:
            self._record(bot, method, params, error.code, error.description)
            await _answer_error(send, error)
            return
        except _Foreign as foreign:
            status, kind, content = FOREIGN[foreign.kind]
            self._record(bot, method, params, status, foreign.kind)
            await _respond(send, status, content, kind)
            return
        self._record(bot, method, params, 200, "")
        if isinstance(result, settings.Described):
            await _respond(send, 200, orjson.dumps({"ok": True, "result": True, "description": result.description}))
        else:
            await _respond(send, 200, orjson.dumps({"ok": True, "result": result}))

    async def _call(self, bot: Bot, method: str, params: Params, fault: Fault | None) -> Any:  # noqa: ANN401
        if fault is not None and not fault.applied:
            await self._fail(fault, bot, method, params)
        if method == "getupdates":
            result = await settings.get_updates(self._simulator, bot, params)
        elif method in METHODS:
            result = METHODS[method](self._simulator, bot, params)
        else:
            raise _NOT_FOUND
        if fault is not None and fault.applied:
            await self._fail(fault, bot, method, params)
        return result

    async def _fail(self, fault: Fault, bot: Bot, method: str, params: Params) -> None:
        if fault.kind == "slow":
            await self._simulator.faults.hang(fault.seconds)
            return
        if fault.kind == "429":
            raise too_many_requests(fault.retry_after)
        if fault.kind in REFUSALS:
            raise REFUSALS[fault.kind]
        if fault.kind in FOREIGN:
            raise _Foreign(fault.kind)
        self._record(bot, method, params, 0, fault.kind)
        if fault.kind == "hang":
            await self._simulator.faults.hang(fault.seconds)
        raise _Abandoned

    def _record(self, bot: Bot, method: str, params: Params, status: int, description: str) -> None:
        self._simulator.stats.count_request(
            Request(self._simulator.clock.now(), bot.id, method, params.values, status, description)
        )

    async def _serve_file(self, path: str, send: Send) -> None:
        found = _FILE_PATH.fullmatch(path)
        file = self._simulator.files.get(found[2]) if found and _TOKEN.fullmatch(found[1]) else None
        if file is None:
            await _answer_error(send, _NOT_FOUND)
        else:
            await _respond(send, 200, file.content, picture_type(file.content).encode())


async def _read_body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    pieces, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > _MAX_BODY:
            raise ApiError(413, "Request Entity Too Large")
    return b"".join(pieces)


async def _answer_error(send: Send, error: ApiError) -> None:
    answer: Json = {"ok": False, "error_code": error.code, "description": error.description}
    extra: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        answer["parameters"] = {"retry_after": error.retry_after}
        extra.append((b"retry-after", str(error.retry_after).encode()))
    await _respond(send, error.code, orjson.dumps(answer), extra=extra)


async def _respond(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = b"application/json",
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _reset(send: Send) -> None:
    """Break the connection without an answer; ASGI has no word for it, so uvicorn's own transport is asked."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # Lingering for zero seconds makes the kernel send RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await asyncio.sleep(0)
