"""How much of a phone's screen a feedback takes, as the chat page lays it out, over a sample of the bank."""

import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
from playwright.async_api import Page

from bot import keyboards, texts
from domain.catalog import Level, QuizKind
from domain.models import Progress, Quiz, Streak
from tests.support.factories import make_grade, make_quiz
from tests.support.shown import as_shown, bank, stored

pytestmark = pytest.mark.browser

MEDIAN, LONGEST = 700, 1000
"""CSS pixels, of the 767 in which a screen of 412 x 915 shows messages."""

LAY_OUT = """async (messages) => {
  const { messageNode } = await import("/render.js");
  const place = document.getElementById("messages");
  place.replaceChildren(...messages.map((message) => messageNode(message, false)));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [...place.children].map((one) => one.getBoundingClientRect().height);
}"""


@pytest.fixture
async def phone(page: Page) -> Page:
    """The chat page on a phone."""
    await page.set_viewport_size({"width": 412, "height": 915})
    await page.locator(".notice").wait_for()  # it has asked for the chat's messages, and replaces none from now on
    return page


def answered(number: int) -> list[Quiz]:
    """Return one question in thirteen of the bank as answered quizzes.

    Args:
        number: 0 if all are answered rightly, else which of the wrong options is chosen.
    """
    return [
        make_quiz(
            kind=QuizKind.DAILY,
            question=(question := stored(located)),
            option_order=(3, 1, 0, 2),
            chosen=(question.correct_index + number) % 4,
        )
        for located in bank()[::13]
    ]


def as_message(quiz: Quiz) -> dict[str, Any]:
    """Return a quiz's message as the page gets it: the feedback on a day's first answer, with its buttons."""
    grade = make_grade(
        before=Progress(Level.INTERMEDIATE, 2, streak=Streak(6)),
        after=Progress(Level.INTERMEDIATE, 3, streak=Streak(7)),
        local_day=date(2026, 11, 22),
        opens_day=True,
        next_daily_at=datetime(2026, 11, 23, 10, tzinfo=UTC),
    )
    shown = as_shown(texts.feedback_text(quiz, grade))
    keyboard = keyboards.feedback_keyboard(quiz.id).to_dict()
    return {
        "message_id": quiz.message_id,
        "date": 0,
        "edited": True,
        "from": {"first_name": "Quiz"},
        "text": shown.text,
        "entities": shown.entities,
        "reply_markup": keyboard,
    }


async def heights(page: Page, quizzes: Sequence[Quiz]) -> list[float]:
    """Return how high each quiz's feedback is with its buttons, in CSS pixels."""
    return list(await page.evaluate(LAY_OUT, [as_message(quiz) for quiz in quizzes]))


@pytest.mark.parametrize("number", [0, 1], ids=["right", "wrong"])
async def test_a_feedback_fits_on_a_phones_screen(phone: Page, number: int) -> None:
    quizzes = answered(number)
    measured = dict(zip((quiz.question.key for quiz in quizzes), await heights(phone, quizzes), strict=True))
    longest = max(measured, key=lambda key: measured[key])
    assert statistics.median(measured.values()) <= MEDIAN
    assert measured[longest] <= LONGEST, longest
