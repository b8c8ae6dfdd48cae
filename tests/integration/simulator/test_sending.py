"""What a bot sends arrives as with Telegram."""

import json

import pytest
from telegram import (
    BotCommand,
    BotCommandScopeAllPrivateChats,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    MessageEntity,
    Update,
)
from telegram.constants import ParseMode

from tests.integration.simulator.support import ALICE, BOB, World
from tests.integration.simulator.test_refusals import PNG, keys, png_of


async def test_each_token_is_a_bot_of_its_own(world: World) -> None:
    me = await world.bot.get_me()
    other = await world.http.get(f"/bot77:{'z' * 30}/GETME")
    assert (me.id, me.is_bot) == (world.bot.id, True)
    assert other.json()["result"]["id"] == 77


@pytest.mark.parametrize("method", ["sendMessage", "sendmessage", "SENDMESSAGE"])
async def test_method_names_may_be_in_any_case(world: World, method: str) -> None:
    answer = await world.http.get(f"/bot{world.bot.token}/{method}", params={"chat_id": ALICE, "text": "hi"})
    assert answer.json()["result"]["text"] == "hi"


async def test_a_json_body_may_nest_its_objects(world: World) -> None:
    body = {"chat_id": ALICE, "text": "?", "reply_markup": {"inline_keyboard": [[{"text": "A", "callback_data": "a"}]]}}
    answer = await world.http.post(f"/bot{world.bot.token}/sendMessage", json=body)
    assert answer.json()["result"]["reply_markup"] == body["reply_markup"]


async def test_a_message_says_who_sent_it_where_and_when(world: World) -> None:
    message = await world.bot.send_message(ALICE, "hello")
    assert message.from_user is not None
    assert (message.from_user.id, message.chat.id, message.chat.type) == (world.bot.id, ALICE, "private")


async def test_message_numbers_grow_over_all_chats_of_a_bot(world: World) -> None:
    world.open_chat(BOB)
    numbers = [(await world.bot.send_message(chat, "x")).message_id for chat in (ALICE, BOB, ALICE)]
    assert numbers == sorted(set(numbers))


async def test_ready_entities_are_kept(world: World) -> None:
    message = await world.bot.send_message(ALICE, "😀 bold", entities=[MessageEntity("bold", 3, 4)])
    assert [(one.type, one.offset, one.length) for one in message.entities] == [("bold", 3, 4)]


async def test_commands_and_links_are_found_in_plain_text(world: World) -> None:
    message = await world.bot.send_message(ALICE, "see https://example.org/a and /quiz")
    assert [one.type for one in message.entities] == ["url", "bot_command"]


async def test_a_reply_carries_the_message_it_answers(world: World) -> None:
    message = await world.bot.send_message(ALICE, "answer", reply_to_message_id=world.say("question"))
    assert message.reply_to_message is not None
    assert message.reply_to_message.text == "question"


async def test_an_edit_replaces_text_and_removes_the_keyboard(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    edited = await message.edit_text("!")
    assert not isinstance(edited, bool)
    assert (edited.text, edited.reply_markup, edited.edit_date is not None) == ("!", None, True)


async def test_a_change_of_buttons_is_not_shown_as_an_edit(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    await message.edit_reply_markup(keys(["b"]))
    shown = await world.control("GET", f"learners/{ALICE}/messages")
    assert shown["messages"][-1]["edited"] is False


async def test_an_uploaded_picture_can_be_sent_again_by_its_id(world: World) -> None:
    first = await world.bot.send_photo(ALICE, PNG, caption="<i>one</i>", parse_mode=ParseMode.HTML)
    again = await world.bot.send_photo(ALICE, first.photo[-1].file_id)
    assert (first.caption, first.photo[-1].width) == ("one", 1)
    assert again.photo[-1].file_unique_id == first.photo[-1].file_unique_id


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((1, 1), [(1, 1)]),
        ((320, 40), [(90, 11), (320, 40)]),
        ((1080, 1440), [(68, 90), (240, 320), (600, 800), (960, 1280)]),
    ],
)
async def test_a_picture_comes_in_sizes_each_of_which_names_it(
    world: World, size: tuple[int, int], sides: list[tuple[int, int]]
) -> None:
    message = await world.bot.send_photo(ALICE, png_of(*size))
    assert [(one.width, one.height) for one in message.photo] == sides
    for one in message.photo:
        again = await world.bot.send_photo(ALICE, one.file_id)
        assert again.photo == message.photo
        assert bytes(await (await one.get_file()).download_as_bytearray()) == png_of(*size)
    assert len({one.file_unique_id for one in message.photo}) == len(sides)


async def test_an_uploaded_picture_is_served_to_the_page(world: World) -> None:
    message = await world.bot.send_photo(ALICE, PNG)
    answer = await world.http.get(f"/api/files/{message.photo[-1].file_id}")
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")


async def test_a_caption_can_be_edited(world: World) -> None:
    message = await world.bot.send_photo(ALICE, PNG, caption="one", reply_markup=keys(["a"]))
    edited = await message.edit_caption("two")
    assert not isinstance(edited, bool)
    assert (edited.caption, edited.reply_markup) == ("two", None)


async def test_a_document_keeps_its_name_and_content(world: World) -> None:
    content = json.dumps({"answers": [1, 2]}).encode()
    message = await world.bot.send_document(ALICE, content, filename="my data.json")
    assert message.document is not None
    file = await world.bot.get_file(message.document.file_id)
    assert (message.document.file_name, message.document.mime_type) == ("my data.json", "application/json")
    assert bytes(await file.download_as_bytearray()) == content


async def test_a_document_is_never_shown_by_the_browser(world: World) -> None:
    message = await world.bot.send_document(ALICE, b"<script>", filename="page.html")
    assert message.document is not None
    answer = await world.http.get(f"/api/files/{message.document.file_id}")
    assert answer.headers["content-disposition"] == "attachment"


async def test_a_deleted_message_is_gone(world: World) -> None:
    message = await world.bot.send_message(ALICE, "x")
    assert await message.delete()
    assert (await world.control("GET", f"learners/{ALICE}/messages"))["messages"] == []


async def test_commands_are_kept_by_scope(world: World) -> None:
    await world.bot.set_my_commands([BotCommand("start", "Begin")])
    await world.bot.set_my_commands([BotCommand("quiz", "Now")], scope=BotCommandScopeAllPrivateChats())
    learners = await world.control("GET", "learners")
    assert [one.command for one in await world.bot.get_my_commands()] == ["start"]
    assert [one["command"] for one in learners[0]["commands"]] == ["quiz"]


async def test_a_tap_carries_the_message_it_belongs_to(world: World) -> None:
    markup = InlineKeyboardMarkup([[InlineKeyboardButton("A", callback_data="q:1")]])
    message = await world.bot.send_message(ALICE, "?", reply_markup=markup)
    world.tap(message.message_id, "q:1")
    (update,) = await world.bot.get_updates()
    assert isinstance(update, Update)
    assert update.callback_query is not None
    assert update.callback_query.message is not None
    assert update.callback_query.from_user.language_code == "en"
    assert (update.callback_query.data, update.callback_query.message.message_id) == ("q:1", message.message_id)


async def test_a_second_answer_to_a_tap_is_taken(world: World) -> None:
    message = await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    tap = world.tap(message.message_id, "a")
    assert await world.bot.answer_callback_query(tap)
    assert await world.bot.answer_callback_query(tap)


async def test_a_chat_action_is_taken(world: World) -> None:
    assert await world.bot.send_chat_action(ALICE, "typing")


async def test_a_chat_can_be_asked_for(world: World) -> None:
    assert (await world.bot.get_chat(ALICE)).first_name == "Learner 1"
