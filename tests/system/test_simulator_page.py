"""The chat page, in a real browser."""

import re

import pytest
from playwright.async_api import FloatRect, Locator, Page, expect
from telegram import BotCommand
from telegram.constants import ParseMode

from tests.conftest import ROOT
from tests.integration.simulator.support import ALICE, BOB, World
from tests.integration.simulator.test_refusals import keys, png_of

STATIC = ROOT / "simulator" / "static"
pytestmark = pytest.mark.browser


async def place_of(element: Locator) -> FloatRect:
    """Return where something is seen on the page."""
    box = await element.bounding_box()
    assert box is not None
    return box


async def test_what_a_learner_writes_reaches_the_bot(world: World, page: Page) -> None:
    await page.get_by_test_id("composer").fill("hello there")
    await page.get_by_test_id("composer").press("Enter")
    await expect(page.get_by_test_id("message")).to_contain_text("hello there")
    (update,) = await world.bot.get_updates()
    assert update.message is not None
    assert update.message.text == "hello there"


async def test_a_new_chat_begins_with_start(world: World, page: Page) -> None:
    await page.get_by_test_id(f"learner-{BOB}").click()
    await page.get_by_test_id("start").click()
    await expect(page.get_by_test_id("message")).to_contain_text("/start")
    await expect(page.get_by_test_id("composer")).to_be_visible()


async def test_a_button_waits_until_its_tap_is_answered(world: World, page: Page) -> None:
    await world.bot.send_message(ALICE, "?", reply_markup=keys(["a", "b"]))
    button = page.get_by_test_id("keyboard-button").first
    await button.click()
    await expect(button).to_have_attribute("aria-busy", "true")
    (update,) = await world.bot.get_updates()
    assert update.callback_query is not None
    await update.callback_query.answer("Right!")
    await expect(page.get_by_test_id("toast")).to_have_text("Right!")
    await expect(button).to_have_attribute("aria-busy", "false")


async def test_an_alert_is_a_dialog(world: World, page: Page) -> None:
    await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    await page.get_by_test_id("keyboard-button").click()
    (update,) = await world.bot.get_updates(timeout=50)
    assert update.callback_query is not None
    await update.callback_query.answer("Read this", show_alert=True)
    await expect(page.get_by_test_id("alert")).to_contain_text("Read this")


async def test_an_edit_replaces_the_message_in_place(world: World, page: Page) -> None:
    message = await world.bot.send_message(ALICE, "question")
    await message.edit_text("feedback")
    shown = page.locator(f'[data-message-id="{message.message_id}"]')
    await expect(shown).to_contain_text("feedback")
    await expect(shown.get_by_test_id("edited")).to_be_visible()


async def test_code_is_shown_with_its_language(world: World, page: Page) -> None:
    source = '<pre><code class="language-sql">SELECT 1</code></pre>'
    await world.bot.send_message(ALICE, source, parse_mode=ParseMode.HTML)
    await expect(page.get_by_test_id("message").locator(".code-head")).to_contain_text("sql")
    await expect(page.get_by_test_id("message").locator("pre")).to_have_text("SELECT 1")


@pytest.mark.parametrize("width", [390, 1200])
async def test_a_picture_fills_its_bubble_above_caption_and_buttons(world: World, page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 1000})
    await world.bot.send_photo(
        ALICE, png_of(1080, 1440), caption="<b>How</b> you do", parse_mode=ParseMode.HTML, reply_markup=keys(["a"])
    )
    message = page.get_by_test_id("message")
    await expect(message.locator(".text b")).to_have_text("How")
    picture, bubble, words, button = [
        await place_of(message.locator(part)) for part in ("img", ".bubble", ".text", ".key")
    ]
    assert picture["width"] == pytest.approx(bubble["width"], abs=1)
    assert picture["height"] == pytest.approx(picture["width"] * 4 / 3, abs=1)
    assert picture["y"] + picture["height"] <= words["y"] < button["y"]


async def test_a_picture_is_enlarged_by_a_click_and_made_small_by_another(world: World, page: Page) -> None:
    message = await world.bot.send_photo(ALICE, png_of(1080, 1440))
    await page.get_by_role("button", name="Enlarge the picture").click()
    large = page.get_by_role("dialog", name="Picture").locator("img")
    await expect(large).to_be_visible()
    assert message.photo[-1].file_id in (await large.get_attribute("src") or "")
    assert await large.evaluate("image => image.naturalWidth") == 1080
    await page.get_by_role("button", name="Close the picture").click()
    await expect(large).to_be_hidden()


async def test_what_anybody_writes_is_never_taken_as_html(world: World, page: Page) -> None:
    attack = "<img src=x onerror='document.title=1'>"
    world.say(attack)
    await world.bot.send_message(ALICE, attack, reply_markup=keys(["<b>"]))
    await expect(page.get_by_test_id("message").last).to_contain_text(attack)
    assert await page.locator(".messages img").count() == 0
    assert await page.title() == "Local Telegram"


async def test_commands_are_offered_when_a_slash_is_typed(world: World, page: Page) -> None:
    await world.bot.set_my_commands([BotCommand("quiz", "A quiz now"), BotCommand("stats", "How you do")])
    await expect(page.get_by_test_id("menu")).to_be_visible()
    await page.get_by_test_id("composer").press_sequentially("/st")
    await expect(page.get_by_test_id("command")).to_have_count(1)
    await page.get_by_test_id("composer").press("Enter")
    await expect(page.get_by_test_id("message")).to_contain_text("/stats")


async def test_messages_in_another_chat_are_counted_as_unread(world: World, page: Page) -> None:
    world.open_chat(BOB)
    await world.bot.send_message(BOB, "one")
    await world.bot.send_message(BOB, "two")
    badge = page.get_by_test_id(f"learner-{BOB}").get_by_test_id("unread")
    await expect(badge).to_have_text("2")
    await page.get_by_test_id(f"learner-{BOB}").click()
    await expect(badge).to_have_count(0)


async def test_blocking_offers_to_restart_the_bot(world: World, page: Page) -> None:
    await page.get_by_test_id("more").click()
    await page.get_by_test_id("block").click()
    await expect(page.get_by_test_id("start")).to_have_text("RESTART BOT")
    assert world.here.chats[ALICE].blocked
    await page.get_by_test_id("start").click()
    await expect(page.get_by_test_id("message")).to_contain_text("/start")


async def test_on_a_phone_the_list_leads_to_the_chat_and_back(world: World, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await expect(page.get_by_test_id("learner-list")).to_be_hidden()
    await page.get_by_test_id("back").click()
    await expect(page.get_by_test_id("chat")).to_be_hidden()
    await page.get_by_test_id(f"learner-{BOB}").click()
    await expect(page.get_by_test_id("chat")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390


async def test_a_chat_can_be_used_with_the_keyboard_alone(world: World, page: Page) -> None:
    await world.bot.send_message(ALICE, "?", reply_markup=keys(["a"]))
    await page.get_by_test_id("keyboard-button").focus()
    await page.keyboard.press("Enter")
    (update,) = await world.bot.get_updates(timeout=50)
    assert update.callback_query is not None


def test_the_page_needs_nothing_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        addresses = re.findall(r"https?://[^\s'\"`)$]+", file.read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file.name
