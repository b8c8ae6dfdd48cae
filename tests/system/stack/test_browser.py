"""A learner in the browser, and an operator beside them: Chromium on the chat page and on the Prefect UI."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.support.waiting import WAIT_MILLISECONDS, wait_for
from tests.system.stack.conftest import RunningStack

pytestmark = [pytest.mark.browser, pytest.mark.stack]

FOREIGN_NAME = "foreign.test"
"""A name that the browser finds at this machine's own address, as a rebound one would be."""

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {FOREIGN_NAME} 127.0.0.1",
]
PICTURES = os.environ.get("PICTURES")
"""The folder that `make pictures` wants screenshots in."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "these tests need Chromium: install Debian's package `chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 860})
    page.set_default_timeout(WAIT_MILLISECONDS)
    yield page
    page.close()


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.wait_for_timeout(600)
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def last_message(page: Page) -> Locator:
    return page.get_by_test_id("message").last


def send(page: Page, text: str) -> None:
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("send").click()


def answer(page: Page, *, right: bool, stack: RunningStack) -> None:
    """Answer the question at the end of the chat, rightly or wrongly."""
    question = last_message(page)
    number = question.get_attribute("data-message-id")
    place = right_place(stack, page, int(number or 0))
    buttons = question.get_by_test_id("keyboard-button")
    expect(buttons).to_have_count(5)
    buttons.nth(place if right else (place + 1) % 4).click()
    expect(page.get_by_test_id("toast")).to_contain_text("checking")
    expect(question).to_contain_text("Right!" if right else "Not quite: it is")
    expect(question.get_by_test_id("keyboard-button")).to_have_text(["Next question ›", "⚑ Report"])


def report(page: Page) -> None:
    """Report the answered question at the end of the chat as outdated, after a look at the way back."""
    button = last_message(page).get_by_test_id("keyboard-button")
    told = last_message(page).inner_text().splitlines()[0]
    button.filter(has_text="⚑ Report").click()
    button.filter(has_text="‹ Back").click()
    button.filter(has_text="⚑ Report").click()
    expect(button).to_have_count(5)
    picture(page, "chat-report")
    button.filter(has_text="It is outdated").click()
    expect(page.get_by_test_id("toast")).to_contain_text("Thank you!")
    expect(button).to_have_text(["Next question ›", "⚑ Reported"])
    expect(last_message(page)).to_contain_text(told)


def right_place(stack: RunningStack, page: Page, message_id: int) -> int:
    """Look the right button up where learners cannot: in the database."""
    import asyncio

    import asyncpg

    async def look() -> int:
        connection = await asyncpg.connect(stack.database)
        try:
            return int(
                await connection.fetchval(
                    "SELECT array_position(z.option_order, q.correct_index) - 1 FROM quizzes z "
                    "JOIN questions q ON q.id = z.question_id WHERE z.message_id = $1",
                    message_id,
                )
            )
        finally:
            await connection.close()

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        return pool.submit(asyncio.run, look()).result()


def test_a_learner_starts_answers_changes_settings_and_opts_out(stack: RunningStack, page: Page) -> None:
    page.goto(stack.chat)
    page.get_by_test_id("learner-1001").click()
    page.get_by_role("button", name=re.compile("^start$", re.IGNORECASE)).click()
    expect(last_message(page)).to_contain_text("Welcome to the daily quiz for data engineers!")
    picture(page, "chat-welcome")
    last_message(page).get_by_test_id("keyboard-button").filter(has_text="3-5 years").click()
    expect(last_message(page)).to_contain_text("Thanks: three to five years.")
    last_message(page).get_by_test_id("keyboard-button").click()
    for right in (True, False, True):
        expect(last_message(page).get_by_test_id("keyboard-button")).to_have_count(5)
        if right:
            picture(page, "chat-question")
        answer(page, right=right, stack=stack)
        streaks = page.get_by_test_id("message").filter(has_text="Streak: 1 day · daily quiz")
        expect(streaks).to_have_count(1)  # with the day's first answer only
        if not right:
            picture(page, "chat-feedback")
        if not right:
            report(page)
        last_message(page).get_by_test_id("keyboard-button").first.click()
    expect(last_message(page).get_by_test_id("keyboard-button")).to_have_count(5)
    send(page, "/stats")
    expect(last_message(page)).to_contain_text("2 of 3")
    drawn = last_message(page).locator("img")
    expect(drawn).to_be_visible()
    assert drawn.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1080
    picture(page, "chat-stats")

    send(page, "/settings")
    expect(last_message(page)).to_contain_text("Hour: 10:00")
    last_message(page).get_by_text("Hour", exact=False).last.click()
    expect(last_message(page)).to_contain_text("In your time zone (UTC), now")
    last_message(page).get_by_test_id("keyboard-button").filter(has_text="18:00").click()
    expect(last_message(page)).to_contain_text("Hour: 18:00")
    picture(page, "chat-settings")

    send(page, "/stop")
    expect(last_message(page)).to_contain_text("Daily quizzes are off")


def test_an_operator_sees_the_runs_of_the_worker(stack: RunningStack, page: Page) -> None:
    wait_for(lambda: stack.runs(name={"like_": "grade_answers from"}, state={"type": {"any_": ["RUNNING"]}}))
    page.set_viewport_size({"width": 1200, "height": 1250})
    page.goto(f"{stack.prefect}/runs")
    expect(page.get_by_text("grade_answers from").first).to_be_visible()
    expect(page.get_by_text("send_requested_questions from").first).to_be_visible()
    picture(page, "prefect-runs")


def test_an_operator_starts_a_distribution_and_reads_its_tables(stack: RunningStack, page: Page) -> None:
    page.goto(stack.chat)
    for learner in ("1003", "1004"):
        page.get_by_test_id(f"learner-{learner}").click()
        page.get_by_role("button", name=re.compile("^start$", re.IGNORECASE)).click()
        expect(last_message(page)).to_contain_text("Welcome to the daily quiz")
    run_id = stack.start_run("distribute_daily_quizzes/daily", {"ignore_hour": True})
    wait_for(lambda: stack.run(run_id)["state_type"] == "COMPLETED", lambda: str(stack.run(run_id)))
    assert re.fullmatch(r"daily \d{4}-\d\d-\d\d \d\d:\d\d · 2 sent", stack.run(run_id)["name"])
    expect(last_message(page)).to_contain_text("Daily quiz")
    page.goto(f"{stack.prefect}/runs/flow-run/{run_id}")
    page.get_by_text("Artifacts", exact=True).first.click()
    expect(page.get_by_text("2 sent, 0 skipped, 0 failed").first).to_be_visible()
    picture(page, "prefect-distribution")


def test_the_chat_page_serves_a_phone_as_well(stack: RunningStack, browser: Browser) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(stack.chat)
    phone.get_by_test_id("learner-1001").click()
    expect(phone.get_by_test_id("composer")).to_be_visible()
    width = phone.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    if PICTURES:
        phone.wait_for_timeout(600)
        phone.screenshot(path=Path(PICTURES) / "chat-phone.png")
    phone.close()
