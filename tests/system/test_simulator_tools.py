"""The developer's tools of the chat page, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import FilePayload, Page, expect
from telegram.error import TelegramError

from tests.integration.simulator.support import ALICE, World
from tests.integration.simulator.test_refusals import keys, png_of

pytestmark = pytest.mark.browser


async def choose(page: Page, test_id: str, text: str = "") -> None:
    """Choose an entry of the header's menu."""
    await page.get_by_test_id("more").click()
    await page.get_by_test_id(test_id).filter(has_text=text).click()


async def test_telegram_fails_in_this_chat_until_that_is_switched_off(world: World, page: Page) -> None:
    await choose(page, "fault", "500")
    await expect(page.get_by_test_id("fault-off")).to_have_text("500")
    for _ in range(2):
        with pytest.raises(TelegramError):
            await world.bot.send_message(ALICE, "x")
    await page.get_by_test_id("fault-off").click()
    await expect(page.get_by_test_id("fault-off")).to_be_hidden()
    assert await world.bot.send_message(ALICE, "x")


async def test_the_last_update_is_delivered_again_from_the_menu(world: World, page: Page) -> None:
    world.say("hello")
    (first,) = await world.bot.get_updates()
    await world.bot.get_updates(first.update_id + 1)
    await choose(page, "redeliver")
    await expect(page.get_by_test_id("toast")).to_contain_text(f"Update {first.update_id} is delivered again")
    (again,) = await world.bot.get_updates()
    assert again.update_id == first.update_id


async def test_a_picture_is_sent_from_the_menu(world: World, page: Page) -> None:
    picture = FilePayload(name="screen.png", mimeType="image/png", buffer=png_of(600, 400))
    await page.get_by_test_id("photo-file").set_input_files(picture)
    await expect(page.get_by_test_id("message").locator("img")).to_be_visible()
    (update,) = await world.bot.get_updates()
    assert update.message is not None
    assert update.message.photo[-1].width == 600


async def test_a_message_is_replied_to_edited_and_pinned(world: World, page: Page) -> None:
    await world.bot.send_message(ALICE, "What is idempotence?")
    question = page.get_by_test_id("message").first
    await question.locator(".bubble").click(button="right")
    await expect(page.get_by_test_id("message-edit")).to_have_count(0)
    await page.get_by_test_id("message-reply").click()
    await expect(page.get_by_test_id("composing")).to_contain_text("What is idempotence?")
    await page.get_by_test_id("composer").fill("the same twise")
    await page.get_by_test_id("composer").press("Enter")
    answer = page.get_by_test_id("message").last
    await expect(answer.locator(".replied")).to_contain_text("What is idempotence?")
    await expect(page.get_by_test_id("composing")).to_be_hidden()

    await answer.locator(".bubble").hover()
    await answer.get_by_test_id("message-more").click()
    await page.get_by_test_id("message-edit").click()
    await expect(page.get_by_test_id("composer")).to_have_value("the same twise")
    await page.get_by_test_id("composer").fill("the same twice")
    await page.get_by_test_id("composer").press("Enter")
    await expect(answer).to_contain_text("the same twice")
    await expect(answer.get_by_test_id("edited")).to_be_visible()

    await question.locator(".bubble").click(button="right")
    await page.get_by_test_id("message-pin").click()
    await expect(page.get_by_test_id("pinned")).to_contain_text("What is idempotence?")
    await expect(page.get_by_test_id("service")).to_contain_text("pinned “What is idempotence?”")
    await page.reload()
    await expect(page.get_by_test_id("pinned")).to_contain_text("What is idempotence?")
    await question.locator(".bubble").click(button="right")
    await page.get_by_test_id("message-pin").filter(has_text="Unpin").click()
    await expect(page.get_by_test_id("pinned")).to_be_hidden()


async def test_the_keys_a_to_d_answer_the_open_question(world: World, page: Page) -> None:
    await world.bot.send_message(ALICE, "?", reply_markup=keys([*"ABCD"]))
    await world.bot.send_message(ALICE, "not a question", reply_markup=keys(["A list", "Back"]))
    await page.get_by_test_id("composer").press("c")
    await expect(page.get_by_test_id("composer")).to_have_value("c")
    await page.get_by_test_id("composer").press("Escape")
    await page.keyboard.press("c")
    (update,) = await world.bot.get_updates(timeout=50)
    assert update.callback_query is not None
    assert update.callback_query.data == "C"


async def test_the_inspector_shows_updates_and_requests_of_one_chat_or_all(world: World, page: Page) -> None:
    await choose(page, "open-inspector")
    await world.bot.send_message(ALICE, "hello")
    entries = page.get_by_test_id("entry")
    await expect(entries).to_have_count(1)
    await expect(entries).to_contain_text("sendMessage")
    await entries.locator("summary").click()
    await expect(entries.locator("pre")).to_contain_text('"text": "hello"')
    world.say("hi")
    await expect(entries.first).to_contain_text("message")
    await expect(entries).to_have_count(2)
    await expect(entries.last.locator("pre")).to_contain_text('"text": "hello"')
    await page.get_by_test_id("inspect-all").check()
    await expect(entries).to_have_count(3)
    await expect(entries.last).to_contain_text("getMe")


async def test_everything_is_forgotten_once_the_bot_has_erased_it(world: World, page: Page) -> None:
    world.say("hello")
    await choose(page, "reset")
    await page.get_by_test_id("confirm-reset").click()
    *_, command = await world.updates(2)
    assert command.message is not None
    assert command.message.text == "/erase"
    question = await command.message.reply_text("Sure?", reply_markup=keys(["Yes, erase", "No"]))
    *_, tap = await world.updates(3)
    assert tap.callback_query is not None
    assert tap.callback_query.data == "Yes, erase"
    await question.edit_text("Erased.")
    await expect(page.get_by_test_id("toast")).to_have_text("Forgotten, here and by the bot")
    await expect(page.get_by_test_id("message")).to_have_count(0)
    await expect(page.get_by_test_id("start")).to_be_visible()
    assert ALICE not in world.here.chats or not world.here.chats[ALICE].started


@pytest.mark.parametrize("width", [412, 1280])
async def test_menu_and_inspector_fit_the_screen(world: World, page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 915})
    await page.get_by_test_id("more").click()
    menu = await page.locator("#header-menu").bounding_box()
    assert menu is not None
    assert menu["x"] >= 0
    assert menu["x"] + menu["width"] <= width
    assert menu["y"] + menu["height"] <= 915
    await page.get_by_test_id("open-inspector").click()
    await expect(page.get_by_test_id("inspector")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    await page.get_by_role("button", name="Close the inspector").click()
    await expect(page.get_by_test_id("inspector")).to_be_hidden()
