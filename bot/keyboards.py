"""The buttons under the bot's messages: pure functions from domain types to keyboards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from bot.texts import EXPERIENCES, LETTERS, REASONS
from bot.zones import city, offsets, zones_at
from domain.callbacks import (
    AllTopics,
    AnswerTap,
    Callback,
    ChooseExperience,
    ChooseHour,
    ChooseOffset,
    ChooseZone,
    CloseReport,
    ConfirmErase,
    MoveHere,
    NextQuestion,
    NextReview,
    OpenReport,
    OpenSettings,
    ReportQuestion,
    SwitchAnnouncements,
    SwitchDaily,
    ToggleTopic,
)
from domain.catalog import UNKNOWN_CHOICE, ReportReason, Topic
from domain.ids import QuizId
from domain.models import Learner
from domain.time_zones import ZONES


def _button(text: str, callback: Callback) -> InlineKeyboardButton:
    return InlineKeyboardButton(text, callback_data=callback.pack())


def _grid(buttons: Iterable[InlineKeyboardButton], columns: int) -> list[list[InlineKeyboardButton]]:
    row = list(buttons)
    return [row[start : start + columns] for start in range(0, len(row), columns)]


def _keyboard(*rows: Sequence[InlineKeyboardButton]) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(rows)


NEXT = "Next question ›"
_BACK = _button("‹ Back", OpenSettings("main"))


def move_keyboard() -> InlineKeyboardMarkup:
    """Return the button that lets questions come through another bot."""
    return _keyboard([_button("Bring them here", MoveHere())])


def question_keyboard(quiz_id: QuizId) -> InlineKeyboardMarkup:
    """Return a button for each option, and one for who does not know."""
    letters = [_button(letter, AnswerTap(quiz_id, place)) for place, letter in enumerate(LETTERS)]
    return _keyboard(letters, [_button("I don't know", AnswerTap(quiz_id, UNKNOWN_CHOICE))])


def next_keyboard(text: str = NEXT) -> InlineKeyboardMarkup:
    """Return the button that asks for a question."""
    return _keyboard([_button(text, NextQuestion())])


def welcome_keyboard() -> InlineKeyboardMarkup:
    """Return how experienced a new learner may be, and the way past that question."""
    answers = (_button(text, ChooseExperience(experience)) for experience, text in EXPERIENCES.items())
    return _keyboard(*_grid(answers, 2), [_button("Skip: give me a question ›", NextQuestion())])


def return_keyboard(learner: Learner) -> InlineKeyboardMarkup:
    """Return the buttons for a learner who comes back: a question, and the daily quiz if they had switched it off."""
    daily = [] if learner.daily_enabled else [[_button("Turn the daily quiz back on", SwitchDaily(enabled=True))]]
    return _keyboard([_button(NEXT, NextQuestion())], *daily)


def stats_keyboard(due: int) -> InlineKeyboardMarkup:
    """Return the buttons under a learner's progress."""
    review = [[_button(f"🔁 Review what you missed ({due})", NextReview())]] if due else []
    return _keyboard([_button(NEXT, NextQuestion())], *review)


def feedback_keyboard(quiz_id: QuizId, reported: ReportReason | None = None) -> InlineKeyboardMarkup:
    """Return the buttons under an answered question: the next one, and a quiet one that doubts this one."""
    label = "⚑ Reported" if reported else "⚑ Report"
    return _keyboard([_button(NEXT, NextQuestion()), _button(label, OpenReport(quiz_id, reported or ""))])


def report_keyboard(quiz_id: QuizId, reported: ReportReason | None = None) -> InlineKeyboardMarkup:
    """Return the reasons for which a question can be reported, the one given before marked.

    The way back stands last: a chat keeps its lower end in view, so a hasty second tap on "Report" falls on it.
    """
    reasons = (
        [_button(f"{'• ' if reason is reported else ''}{text}", ReportQuestion(quiz_id, reason))]
        for reason, text in REASONS.items()
    )
    back = _button("‹ Back", CloseReport(quiz_id, reported or ""))
    return _keyboard([_button(NEXT, NextQuestion())], *reasons, [back])


def announcement_keyboard(*, enabled: bool = True) -> InlineKeyboardMarkup:
    """Return the button under an announcement, by which a learner gets no more of them, or does again."""
    label = "🔕 No more announcements" if enabled else "🔔 Announcements are off: switch on"
    return _keyboard([_button(label, SwitchAnnouncements(enabled=not enabled))])


def erase_keyboard() -> InlineKeyboardMarkup:
    """Return the buttons that answer whether to erase everything."""
    return _keyboard(
        [_button("Yes, erase everything", ConfirmErase(confirmed=True))],
        [_button("No, keep it", ConfirmErase(confirmed=False))],
    )


def settings_keyboard(learner: Learner) -> InlineKeyboardMarkup:
    """Return the settings' main page."""
    daily = "Daily quiz: on ✓" if learner.daily_enabled else "Daily quiz: off"
    return _keyboard(
        [_button(daily, SwitchDaily(enabled=not learner.daily_enabled))],
        [_button("🕙 Hour", OpenSettings("hour")), _button("🌍 Time zone", OpenSettings("zone"))],
        [_button("📚 Topics", OpenSettings("topics")), _button("Done", OpenSettings("done"))],
    )


def hour_keyboard(learner: Learner) -> InlineKeyboardMarkup:
    """Return the hours of a day, the learner's marked."""
    chosen = learner.daily_at.hour
    hours = (_button(f"{'• ' if hour == chosen else ''}{hour:02}:00", ChooseHour(hour)) for hour in range(24))
    return _keyboard(*_grid(hours, 4), [_BACK])


def offset_keyboard(now: datetime, zones: Sequence[str] = ZONES) -> InlineKeyboardMarkup:
    """Return what the world's clocks show, so that a learner finds theirs."""
    utc = now.astimezone(UTC)
    shown = ((minutes, utc + timedelta(minutes=minutes)) for minutes in offsets(now, zones))
    times = (_button(f"{clock:%a %H:%M}", ChooseOffset(minutes)) for minutes, clock in shown)
    return _keyboard(*_grid(times, 4), [_BACK])


def zone_keyboard(minutes: int, now: datetime, zones: Sequence[str] = ZONES) -> InlineKeyboardMarkup:
    """Return the cities whose clocks show the time that the learner picked, in minutes from UTC."""
    cities = (_button(city(zone), ChooseZone(zone)) for zone in zones_at(minutes, now, zones))
    return _keyboard(*_grid(cities, 3), [_button("‹ Back", OpenSettings("zone"))])


def topics_keyboard(learner: Learner) -> InlineKeyboardMarkup:
    """Return the topics, the chosen ones marked."""
    chosen = set(learner.topics)
    topics = (_button(f"{'✅ ' if topic in chosen else ''}{topic.label}", ToggleTopic(topic)) for topic in Topic)
    return _keyboard(*_grid(topics, 2), [_button("All topics" if chosen else "✅ All topics", AllTopics()), _BACK])
