"""What Telegram refuses, in its own words."""

import io

import httpx
import pytest
from PIL import Image
from telegram import BotCommand, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, MessageEntity
from telegram.constants import ParseMode

from simulator.options import Options
from tests.integration.simulator.support import ALICE, BOB, World, world_of
from tests.support.manual_clock import ManualClock

TOKEN = f"4001:{'y' * 35}"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fcffff3f0300050001"
    "ffa1f2c0970000000049454e44ae426082"
)


def png_of(width: int, height: int) -> bytes:
    """Return a white picture."""
    file = io.BytesIO()
    Image.new("1", (width, height), 1).save(file, "png")
    return file.getvalue()


def keys(*rows: list[str]) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup([[InlineKeyboardButton(data, callback_data=data) for data in row] for row in rows])


@pytest.mark.parametrize("token", ["nonsense", "4001:short", f"x4001:{'y' * 35}", f"4001:{'!' * 35}"])
async def test_a_token_of_the_wrong_form_is_unauthorized(world: World, token: str) -> None:
    answer = await world.http.get(f"/bot{token}/getMe")
    assert (answer.status_code, answer.json()) == (
        401,
        {"ok": False, "error_code": 401, "description": "Unauthorized"},
    )


async def test_an_unknown_method_is_not_found(world: World) -> None:
    answer = await world.http.get(f"/bot{TOKEN}/sendCarrierPigeon")
    assert answer.json() == {"ok": False, "error_code": 404, "description": "Not Found"}


async def test_a_chat_is_not_found_until_its_learner_has_written(world: World) -> None:
    assert await world.refused(world.bot.send_message(BOB, "hello")) == "Bad Request: chat not found"


async def test_a_chat_that_nobody_has_is_not_found(world: World) -> None:
    assert await world.refused(world.bot.send_message(987, "hello")) == "Bad Request: chat not found"


async def test_an_empty_text_is_refused(world: World) -> None:
    assert await world.refused(world.bot.send_message(ALICE, "")) == "Bad Request: message text is empty"


async def test_a_text_of_nothing_but_space_is_refused(world: World) -> None:
    assert await world.refused(world.bot.send_message(ALICE, " \n ")) == "Bad Request: text must be non-empty"


async def test_a_text_over_4096_units_is_too_long(world: World) -> None:
    assert await world.refused(world.bot.send_message(ALICE, "x" * 4097)) == "Bad Request: message is too long"


async def test_an_emoji_counts_as_two_units(world: World) -> None:
    assert (await world.bot.send_message(ALICE, "😀" * 2048)).text == "😀" * 2048
    assert await world.refused(world.bot.send_message(ALICE, "😀" * 2048 + "x")) == "Bad Request: message is too long"


async def test_tags_do_not_count_towards_the_length(world: World) -> None:
    message = await world.bot.send_message(ALICE, f"<b>{'x' * 4096}</b>", parse_mode=ParseMode.HTML)
    assert len(message.text or "") == 4096


async def test_an_edit_to_a_text_over_4096_units_is_too_long(world: World) -> None:
    message = await world.bot.send_message(ALICE, "short")
    assert await world.refused(message.edit_text("x" * 4097)) == "Bad Request: MESSAGE_TOO_LONG"


async def test_a_caption_over_1024_units_is_too_long(world: World) -> None:
    call = world.bot.send_photo(ALICE, PNG, caption="x" * 1025)
    assert await world.refused(call) == "Bad Request: message caption is too long"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("<b>bold", 'Can\'t find end tag corresponding to start tag "b"'),
        ("<h1>x</h1>", 'Unsupported start tag "h1" at byte offset 0'),
        ("ä<b>x</i>", 'Unmatched end tag at byte offset 6, expected "</b>", found "</i>"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b", "Unclosed start tag at byte offset 0"),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
    ],
)
async def test_unbalanced_or_unknown_tags_are_refused(world: World, source: str, complaint: str) -> None:
    call = world.bot.send_message(ALICE, source, parse_mode=ParseMode.HTML)
    assert await world.refused(call) == f"Bad Request: can't parse entities: {complaint}"


async def test_markdown_is_refused_clearly(world: World) -> None:
    call = world.bot.send_message(ALICE, "*x*", parse_mode=ParseMode.MARKDOWN_V2)
    assert "can't parse entities" in await world.refused(call)


async def test_an_entity_past_the_end_is_refused(world: World) -> None:
    call = world.bot.send_message(ALICE, "abc", entities=[MessageEntity("bold", 1, 5)])
    assert await world.refused(call) == (
        "Bad Request: entity beginning at UTF-16 offset 1 ends after the end of the text at UTF-16 offset 6"
    )


@pytest.mark.parametrize("data", ["x" * 65, "ä" * 33])
async def test_callback_data_over_64_bytes_is_invalid(world: World, data: str) -> None:
    call = world.bot.send_message(ALICE, "?", reply_markup=keys([data]))
    assert await world.refused(call) == "Bad Request: BUTTON_DATA_INVALID"


async def test_callback_data_of_64_bytes_is_taken(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["ä" * 32]))
    assert message.reply_markup is not None


async def test_a_button_without_data_is_refused(world: World) -> None:
    call = world.bot.send_message(ALICE, "?", reply_markup=InlineKeyboardMarkup([[InlineKeyboardButton("A")]]))
    assert await world.refused(call) == (
        "Bad Request: can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"
    )


@pytest.mark.parametrize("rows", [[[str(i) for i in range(9)]], [[f"{i}"] for i in range(101)]])
async def test_over_8_buttons_a_row_or_100_in_all_are_refused(world: World, rows: list[list[str]]) -> None:
    call = world.bot.send_message(ALICE, "?", reply_markup=keys(*rows))
    assert await world.refused(call) == "Bad Request: reply markup is too long"


async def test_an_edit_that_changes_nothing_is_refused(world: World) -> None:
    message = await world.bot.send_message(ALICE, "<b>x</b>", parse_mode=ParseMode.HTML, reply_markup=keys(["a"]))
    call = message.edit_text("<strong>x</strong>", parse_mode=ParseMode.HTML, reply_markup=keys(["a"]))
    assert await world.refused(call) == (
        "Bad Request: message is not modified: specified new message content and reply markup are exactly the same "
        "as a current content and reply markup of the message"
    )


async def test_an_edit_of_a_message_that_is_not_there_is_refused(world: World) -> None:
    call = world.bot.edit_message_text("x", chat_id=ALICE, message_id=99)
    assert await world.refused(call) == "Bad Request: message to edit not found"


async def test_a_learners_message_cannot_be_edited(world: World) -> None:
    call = world.bot.edit_message_text("x", chat_id=ALICE, message_id=world.say("mine"))
    assert await world.refused(call) == "Bad Request: message can't be edited"


async def test_a_picture_has_no_text_to_edit(world: World) -> None:
    message = await world.bot.send_photo(ALICE, PNG)
    assert await world.refused(message.edit_text("x")) == "Bad Request: there is no text in the message to edit"


async def test_a_message_that_is_not_there_cannot_be_deleted(world: World) -> None:
    assert await world.refused(world.bot.delete_message(ALICE, 99)) == "Bad Request: message to delete not found"


async def test_a_message_older_than_two_days_cannot_be_deleted() -> None:
    async with world_of(Options(), ManualClock()) as world:
        message = await world.bot.send_message(ALICE, "old")
        assert world.clock is not None
        world.clock.advance(48 * 3600 + 1)
        assert await world.refused(message.delete()) == "Bad Request: message can't be deleted"


async def test_a_learner_who_blocked_the_bot_is_forbidden(world: World) -> None:
    await world.control("POST", f"learners/{ALICE}/block")
    assert await world.refused(world.bot.send_message(ALICE, "x")) == "Forbidden: bot was blocked by the user"


async def test_a_deactivated_learner_is_forbidden(world: World) -> None:
    await world.control("PATCH", f"learners/{ALICE}", deactivated=True)
    assert await world.refused(world.bot.send_message(ALICE, "x")) == "Forbidden: user is deactivated"


async def test_an_unknown_tap_cannot_be_answered(world: World) -> None:
    assert await world.refused(world.bot.answer_callback_query("123")) == (
        "Bad Request: query is too old and response timeout expired or query ID is invalid"
    )


async def test_a_tap_that_is_too_old_cannot_be_answered(slow_world: World) -> None:
    message = await slow_world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    tap = slow_world.tap(message.message_id, "a")
    assert slow_world.clock is not None
    slow_world.clock.advance(slow_world.simulator.options.callback_lifetime + 1)
    assert (await slow_world.refused(slow_world.bot.answer_callback_query(tap))).startswith("Bad Request: query is too")


async def test_an_answer_over_200_characters_is_too_long(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    tap = world.tap(message.message_id, "a")
    assert await world.refused(world.bot.answer_callback_query(tap, "x" * 201)) == "Bad Request: MESSAGE_TOO_LONG"
    assert await world.bot.answer_callback_query(tap, "x" * 200)


async def test_something_that_is_no_picture_is_refused_as_a_photo(world: World) -> None:
    call = world.bot.send_photo(ALICE, InputFile(b"words", filename="a.png"))
    assert await world.refused(call) == "Bad Request: IMAGE_PROCESS_FAILED"


@pytest.mark.parametrize("method", ["send_document", "send_photo"])
async def test_an_unknown_file_id_is_refused(world: World, method: str) -> None:
    call = getattr(world.bot, method)(ALICE, "AgACnothing")
    assert await world.refused(call) == "Bad Request: wrong file identifier/HTTP URL specified"


async def test_a_document_is_no_photo(world: World) -> None:
    message = await world.bot.send_document(ALICE, PNG, filename="a.png")
    assert message.document is not None
    call = world.bot.send_photo(ALICE, message.document.file_id)
    assert await world.refused(call) == "Bad Request: can't use file of type Document as Photo"


@pytest.mark.parametrize("size", [(21, 1), (5001, 5000)])
async def test_a_picture_of_odd_dimensions_is_refused(world: World, size: tuple[int, int]) -> None:
    assert await world.refused(world.bot.send_photo(ALICE, png_of(*size))) == "Bad Request: PHOTO_INVALID_DIMENSIONS"


async def test_a_reply_to_a_message_that_is_not_there_is_refused(world: World) -> None:
    call = world.bot.send_message(ALICE, "x", reply_to_message_id=99)
    assert await world.refused(call) == "Bad Request: message to be replied not found"


async def test_an_unknown_chat_action_is_refused(world: World) -> None:
    call = world.bot.send_chat_action(ALICE, "dancing")
    assert await world.refused(call) == "Bad Request: wrong parameter action in request"


async def test_a_command_in_capitals_is_invalid(world: World) -> None:
    call = world.bot.set_my_commands([BotCommand("Start", "Begin")])
    assert await world.refused(call) == "Bad Request: BOT_COMMAND_INVALID"


async def test_a_plain_http_webhook_on_the_internet_is_refused(world: World) -> None:
    call = world.bot.set_webhook("http://example.org/hook")
    assert await world.refused(call) == "Bad Request: bad webhook: An HTTPS URL must be provided for webhook"


async def test_a_secret_with_odd_characters_is_refused(world: World) -> None:
    call = world.bot.set_webhook("http://127.0.0.1:1/", secret_token="not allowed!")
    assert await world.refused(call) == "Bad Request: secret token contains unallowed characters"


async def test_a_keyboard_that_is_no_json_is_refused(world: World) -> None:
    form = {"chat_id": ALICE, "text": "x", "reply_markup": "{"}
    answer = await world.http.post(f"/bot{world.bot.token}/sendMessage", data=form)
    assert answer.json()["description"] == "Bad Request: can't parse reply keyboard markup JSON object"


async def test_a_body_that_is_no_json_is_refused(world: World) -> None:
    headers = {"content-type": "application/json"}
    answer = await world.http.post(f"/bot{world.bot.token}/sendMessage", content=b"{", headers=headers)
    assert answer.status_code == httpx.codes.BAD_REQUEST
