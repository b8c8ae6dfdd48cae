"""Keyboards: what Telegram accepts under a message."""

from typing import Any, Final

from simulator.errors import bad_request
from simulator.links import checked_link
from simulator.params import Json, Params

_MAX_BUTTONS: Final = 100
_MAX_IN_ROW: Final = 8
_MAX_DATA: Final = 64
_OTHER_TYPES: Final = (
    "callback_game", "pay", "switch_inline_query", "switch_inline_query_chosen_chat",
    "switch_inline_query_current_chat", "login_url", "web_app", "copy_text",
)  # fmt: skip
_UNREADABLE: Final = "can't parse reply keyboard markup JSON object"


def read_markup(params: Params, *, inline_only: bool = False) -> Json | None:
    """Read `reply_markup`.

    Args:
        inline_only: True for edits, which take an inline keyboard and nothing else.

    Returns:
        The inline keyboard to keep with the message; None when there is none to keep.

    Raises:
        ApiError: 400 when it is not a keyboard as Telegram wants it.
    """
    value = params.json("reply_markup", _UNREADABLE)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise bad_request("object expected as reply markup")
    rows = value.get("inline_keyboard")
    if rows is None:
        if inline_only and value:
            raise bad_request("inline keyboard expected")
        return None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request('field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays')
    keyboard = [[_read_button(button) for button in row] for row in rows if row]
    return {"inline_keyboard": keyboard} if keyboard else None


def _read_button(button: Any) -> Json:  # noqa: ANN401 - any JSON value
    prefix = "can't parse inline keyboard button: "
    if not isinstance(button, dict):
        raise bad_request(f"{prefix}InlineKeyboardButton must be an Object")
    text = button.get("text")
    if text is None:
        raise bad_request(f'{prefix}Can\'t find field "text"')
    if not isinstance(text, str):
        raise bad_request(f'{prefix}Field "text" must be of type String')
    if not text.strip():
        raise bad_request("inline keyboard button text must be non-empty")
    if button.get("url"):
        return {"text": text, "url": _read_url(str(button["url"]))}
    if button.get("callback_data"):
        return {"text": text, "callback_data": str(button["callback_data"])}
    for kind in _OTHER_TYPES:
        if kind in button:
            return {"text": text, kind: button[kind]}
    raise bad_request(f"{prefix}Text buttons are unallowed in the inline keyboard")


def _read_url(url: str) -> str:
    link = checked_link(url)
    if not link:
        raise bad_request(f"inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")
    return link


def check_sizes(markup: Json | None) -> None:
    """Check what Telegram's own server checks, after a call has passed the Bot API server.

    Raises:
        ApiError: 400 for callback data over 64 bytes, over 100 buttons, or over 8 in a row.
    """
    if markup is None:
        return
    rows = markup["inline_keyboard"]
    if sum(map(len, rows)) > _MAX_BUTTONS or any(len(row) > _MAX_IN_ROW for row in rows):
        raise bad_request("reply markup is too long")
    for row in rows:
        for button in row:
            if len(button.get("callback_data", "").encode()) > _MAX_DATA:
                raise bad_request("BUTTON_DATA_INVALID")
