"""Bot API methods that put something before a learner: messages, edits, pictures, documents, answers to taps."""

import mimetypes
from typing import Any, Final
from uuid import uuid4

from simulator.core import Simulator
from simulator.entities import utf16_length
from simulator.errors import NOT_MODIFIED, QUERY_TOO_OLD, bad_request, forbidden, too_many_requests
from simulator.formatting import CAPTION_LIMIT, TEXT_LIMIT, Formatted, read_formatted
from simulator.limits import spend
from simulator.markup import check_sizes, read_markup
from simulator.media import picture_size
from simulator.model import Bot, Chat, Message, StoredFile
from simulator.params import Json, Params, Upload

_MAX_ANSWER: Final = 200
_DELETABLE_SECONDS: Final = 48 * 3600
_WIDEST_PICTURE: Final = 10_000
_FLATTEST_PICTURE: Final = 20
_PICTURE_SIZES: Final = (("s", 90), ("m", 320), ("x", 800), ("", 1280))
"""Telegram makes smaller copies of a picture: what ends their file ids here, and the most that a side measures."""
_ACTIONS: Final = frozenset({
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "record_audio",
    "upload_audio", "upload_document", "choose_sticker", "find_location", "pick_up_location", "record_video_note",
    "upload_video_note", "cancel",
})  # fmt: skip


def send_message(simulator: Simulator, bot: Bot, params: Params) -> Json:
    """`sendMessage`."""
    formatted = read_formatted(params, "text", "entities", may_be_empty=False)
    markup = read_markup(params)
    chat = _chat(simulator, bot, params)
    _let_through(simulator, bot, chat, paid=params.flag("allow_paid_broadcast"))
    if formatted.length > TEXT_LIMIT:
        raise bad_request("message is too long")
    content: Json = {"text": formatted.text}
    if formatted.entities:
        content["entities"] = formatted.entities
    return _send(simulator, bot, chat, params, content, markup)


def send_photo(simulator: Simulator, bot: Bot, params: Params) -> Json:
    """`sendPhoto`, uploaded or by file id."""
    return _send_file(simulator, bot, params, "photo")


def send_document(simulator: Simulator, bot: Bot, params: Params) -> Json:
    """`sendDocument`, uploaded or by file id."""
    return _send_file(simulator, bot, params, "document")


def edit_message_text(simulator: Simulator, bot: Bot, params: Params) -> Json:
    """`editMessageText`; without a keyboard in the call the message loses the one it has."""
    formatted = read_formatted(params, "text", "entities", may_be_empty=False)
    markup = read_markup(params, inline_only=True)
    chat, message = _editable(simulator, bot, params)
    if "text" not in message.payload:
        raise bad_request("there is no text in the message to edit")
    _let_through(simulator, bot, chat)
    if formatted.length > TEXT_LIMIT:
        raise bad_request("MESSAGE_TOO_LONG")
    return _edit(simulator, bot, message, ("text", "entities"), formatted, markup)


def edit_message_caption(simulator: Simulator, bot: Bot, params: Params) -> Json:
    """`editMessageCaption`."""
    formatted = read_formatted(params, "caption", "caption_entities", may_be_empty=True)
    markup = read_markup(params, inline_only=True)
    chat, message = _editable(simulator, bot, params)
    if "text" in message.payload:
        raise bad_request("there is no caption in the message to edit")
    _let_through(simulator, bot, chat)
    if formatted.length > CAPTION_LIMIT:
        raise bad_request("MEDIA_CAPTION_TOO_LONG")
    return _edit(simulator, bot, message, ("caption", "caption_entities"), formatted, markup)


def edit_message_reply_markup(simulator: Simulator, bot: Bot, params: Params) -> Json:
    """`editMessageReplyMarkup`."""
    markup = read_markup(params, inline_only=True)
    chat, message = _editable(simulator, bot, params)
    _let_through(simulator, bot, chat)
    return _edit(simulator, bot, message, None, None, markup)


def delete_message(simulator: Simulator, bot: Bot, params: Params) -> bool:
    """`deleteMessage`: the bot's and the learner's messages alike, for two days."""
    chat = _chat(simulator, bot, params)
    message = chat.messages.get(params.integer("message_id"))
    if message is None:
        raise bad_request("message to delete not found")
    if message.payload["date"] < simulator.date() - _DELETABLE_SECONDS:
        raise bad_request("message can't be deleted")
    simulator.remove_message(bot, message)
    return True


def answer_callback_query(simulator: Simulator, bot: Bot, params: Params) -> bool:
    """`answerCallbackQuery`; a second answer to the same tap is taken and shown to nobody."""
    tap = bot.taps.get(params.text("callback_query_id"))
    now = simulator.clock.monotonic()
    if tap is None or tap.expires < now:
        raise bad_request(QUERY_TOO_OLD)
    text = params.text("text")
    if utf16_length(text) > _MAX_ANSWER:
        raise bad_request("MESSAGE_TOO_LONG")
    simulator.stats.counts["callback_answers"] += 1
    if not tap.answered:
        tap.answered = True
        simulator.stats.answer_latencies.append(now - (tap.expires - simulator.options.callback_lifetime))
        simulator.hub.publish(
            "answer",
            bot=bot.id,
            learner=tap.learner_id,
            message_id=tap.message_id,
            query_id=tap.id,
            text=text,
            alert=params.flag("show_alert"),
        )
    return True


def send_chat_action(simulator: Simulator, bot: Bot, params: Params) -> bool:
    """`sendChatAction`: shown to the learner for five seconds or until the next message."""
    action = params.text("action").lower()
    if action not in _ACTIONS:
        raise bad_request("wrong parameter action in request")
    chat = _chat(simulator, bot, params)
    _check_open(chat)
    simulator.hub.publish("action", bot=bot.id, learner=chat.learner.id, action=action)
    return True


def get_chat(simulator: Simulator, bot: Bot, params: Params) -> Json:
    """`getChat`."""
    chat = _chat(simulator, bot, params)
    return {
        **chat.info,
        "accent_color_id": chat.learner.id % 7,
        "max_reaction_count": 11,
        "accepted_gift_types": dict.fromkeys(
            ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"),
            False,
        ),
    }


def _chat(simulator: Simulator, bot: Bot, params: Params) -> Chat:
    if not params.text("chat_id"):
        raise bad_request("chat_id is empty")
    learner_id = params.integer("chat_id")
    chat = bot.chats.get(learner_id)
    # A bot knows only those who have written to it.
    if chat is None or not chat.started or learner_id not in simulator.learners:
        raise bad_request("chat not found")
    return chat


def _check_open(chat: Chat) -> None:
    if chat.learner.deactivated:
        raise forbidden("user is deactivated")
    if chat.blocked:
        raise forbidden("bot was blocked by the user")


def _let_through(simulator: Simulator, bot: Bot, chat: Chat, *, paid: bool = False) -> None:
    now = simulator.clock.monotonic()
    full = spend(now, bot.paid_bucket if paid else bot.bucket, chat.bucket, simulator.options.flood_wait)
    if full is chat.bucket:
        simulator.stats.counts["too_many_requests_to_a_chat"] += 1
    if full is not None:
        raise too_many_requests(full.wait(now))
    if not paid:
        simulator.stats.count_let_through(bot.id, now)
    _check_open(chat)


def _send(simulator: Simulator, bot: Bot, chat: Chat, params: Params, content: Json, markup: Json | None) -> Json:
    check_sizes(markup)
    if (replied := _replied_message(chat, params)) is not None:
        content["reply_to_message"] = {
            name: value for name, value in replied.payload.items() if name != "reply_to_message"
        }
    if markup is not None:
        content["reply_markup"] = markup
    if params.flag("protect_content"):
        content["has_protected_content"] = True
    message = simulator.add_message(bot, chat, bot.user(), content)
    simulator.stats.count_sent(simulator.clock.now())
    simulator.stats.count_reply(bot.id, chat.learner.id, simulator.clock.monotonic())
    simulator.crowd.notice(bot, chat, message)
    return message.payload


def _replied_message(chat: Chat, params: Params) -> Message | None:
    reply = params.json("reply_parameters", "can't parse reply parameters JSON object")
    if reply is None:
        message_id, lenient = params.integer("reply_to_message_id"), params.flag("allow_sending_without_reply")
    elif isinstance(reply, dict):
        message_id, lenient = reply.get("message_id", 0), bool(reply.get("allow_sending_without_reply"))
    else:
        raise bad_request("object expected as reply parameters")
    if not message_id:
        return None
    message = chat.messages.get(message_id)
    if message is None and not lenient:
        raise bad_request("message to be replied not found")
    return message


def _send_file(simulator: Simulator, bot: Bot, params: Params, kind: str) -> Json:
    formatted = read_formatted(params, "caption", "caption_entities", may_be_empty=True)
    markup = read_markup(params)
    given = params.upload(kind)
    if given is None:
        raise bad_request(f"there is no {kind} in the request")
    chat = _chat(simulator, bot, params)
    _let_through(simulator, bot, chat, paid=params.flag("allow_paid_broadcast"))
    if formatted.length > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
    file = store_file(simulator, given, kind) if isinstance(given, Upload) else _known(simulator, given, kind)
    content: Json = {kind: photo_sizes(file) if kind == "photo" else _document(file)}
    if formatted.text:
        content["caption"] = formatted.text
    if formatted.entities:
        content["caption_entities"] = formatted.entities
    return _send(simulator, bot, chat, params, content, markup)


def store_file(simulator: Simulator, upload: Upload, kind: str) -> StoredFile:
    """Keep a file that was uploaded.

    Args:
        kind: `photo` or `document`.

    Raises:
        ApiError: It is empty, or no picture that Telegram takes.
    """
    if not upload.content:
        raise bad_request("file must be non-empty")
    width, height = 0, 0
    if kind == "photo":
        size = picture_size(upload.content)
        if size is None:
            raise bad_request("IMAGE_PROCESS_FAILED")
        width, height = size
        if width + height > _WIDEST_PICTURE or max(size) > _FLATTEST_PICTURE * max(1, min(size)):
            raise bad_request("PHOTO_INVALID_DIMENSIONS")
    number = max((file.number for file in simulator.files.values()), default=0) + 1
    prefix = "AgACAgIAAxkBAAI" if kind == "photo" else "BQACAgIAAxkBAAI"
    file = StoredFile(number, f"{prefix}{uuid4().hex}", upload.name, kind, upload.content, width, height)
    simulator.files[file.file_id] = file
    simulator.store.put("file", 0, number, file)
    return file


def _find(simulator: Simulator, file_id: str) -> StoredFile | None:
    """A file by the id of any of its sizes: Telegram takes each of them for the whole picture."""
    return simulator.files.get(file_id) or simulator.files.get(file_id.rstrip("smx"))


def _known(simulator: Simulator, file_id: str, kind: str) -> StoredFile:
    file = _find(simulator, file_id)
    if file is None:
        raise bad_request("wrong file identifier/HTTP URL specified")
    if file.kind != kind:
        raise bad_request(f"can't use file of type {file.kind.title()} as {kind.title()}")
    return file


def photo_sizes(file: StoredFile) -> list[Json]:
    """The sizes of a picture, the smallest first; none is larger than what was sent."""
    longest = max(file.width, file.height)
    sizes = []
    for ending, side in _PICTURE_SIZES:
        if side >= longest and ending:
            continue
        scale = min(1.0, side / longest)
        size = {"width": max(1, round(file.width * scale)), "height": max(1, round(file.height * scale))}
        sizes.append({**_ids(file.file_id + ending), **size})
    sizes[-1]["file_size"] = len(file.content)
    return sizes


def _document(file: StoredFile) -> Json:
    mime_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return {"file_name": file.name, "mime_type": mime_type, **_file(file)}


def _file(file: StoredFile) -> Json:
    return {**_ids(file.file_id), "file_size": len(file.content)}


def _ids(file_id: str) -> Json:
    return {"file_id": file_id, "file_unique_id": f"AQAD{file_id[-12:]}"}


def get_file(simulator: Simulator, _bot: Bot, params: Params) -> Json:
    """`getFile`: where a file can be downloaded."""
    file_id = params.text("file_id")
    if not file_id:
        raise bad_request("file_id not specified")
    file = _find(simulator, file_id)
    if file is None:
        raise bad_request("wrong file_id or the file is temporarily unavailable")
    return {**_file(file), "file_path": f"{file.kind}s/{file.file_id}"}


def _editable(simulator: Simulator, bot: Bot, params: Params) -> tuple[Chat, Message]:
    if not params.text("chat_id") and not params.integer("message_id"):
        raise bad_request("message identifier is not specified")
    chat = _chat(simulator, bot, params)
    message = chat.messages.get(params.integer("message_id"))
    if message is None:
        raise bad_request("message to edit not found")
    if not message.from_bot:
        raise bad_request("message can't be edited")
    return chat, message


def _edit(
    simulator: Simulator,
    bot: Bot,
    message: Message,
    names: tuple[str, str] | None,
    formatted: Formatted | None,
    markup: Json | None,
) -> Json:
    check_sizes(markup)
    kept = {"reply_markup", "edit_date", *(names or ())}
    payload: dict[str, Any] = {name: value for name, value in message.payload.items() if name not in kept}
    if names is not None and formatted is not None:
        content = zip(names, (formatted.text, formatted.entities), strict=True)
        payload |= {name: value for name, value in content if value}
    if markup is not None:
        payload["reply_markup"] = markup
    before = {name: value for name, value in message.payload.items() if name != "edit_date"}
    if payload == before:
        raise bad_request(NOT_MODIFIED)
    payload["edit_date"] = simulator.date()
    simulator.change_message(bot, message, payload, edited=names is not None)
    simulator.stats.count_edit(bot.id, message.id, simulator.clock.monotonic())
    return payload
