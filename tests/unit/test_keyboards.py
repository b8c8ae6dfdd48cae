"""Keyboards: within Telegram's limits, and leading everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telegram import InlineKeyboardMarkup

from bot import keyboards
from bot.texts import REASONS
from bot.zones import city
from domain.callbacks import (
    AnswerTap,
    ChooseHour,
    ChooseOffset,
    ChooseZone,
    CloseReport,
    NextQuestion,
    OpenReport,
    OpenSettings,
    ReportQuestion,
    ToggleTopic,
    unpack,
)
from domain.catalog import ReportReason, Topic
from domain.ids import QuizId
from domain.time_zones import ZONES
from simulator.markup import read_markup
from simulator.params import Params
from tests.support.factories import make_learner
from tests.support.strategies import moments

MAX_BUTTONS, MAX_IN_ROW, MAX_BYTES = 100, 8, 64
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

_KEPT = [ZoneInfo(zone) for zone in ZONES]  # else ZoneInfo, which keeps eight, reads them again and again


def data_of(keyboard: InlineKeyboardMarkup) -> list[str]:
    """Return the data of all buttons, after checking Telegram's limits."""
    rows = keyboard.inline_keyboard
    data = [str(button.callback_data) for row in rows for button in row]
    assert 1 <= len(data) <= MAX_BUTTONS
    assert all(1 <= len(row) <= MAX_IN_ROW for row in rows)
    assert all(1 <= len(text.encode()) <= MAX_BYTES for text in data)
    assert len(set(data)) == len(data)
    labels = [button.text for row in rows for button in row]
    assert all(label.strip() for label in labels)
    assert len(set(labels)) == len(labels)
    assert read_markup(Params({"reply_markup": keyboard.to_dict()}), inline_only=True) is not None
    for text in data:
        unpack(text)
    return data


@given(st.integers(1, 10**18 - 1))
def test_a_question_has_a_button_for_each_letter_in_one_row_and_one_for_who_does_not_know(quiz_id: int) -> None:
    keyboard = keyboards.question_keyboard(QuizId(quiz_id))
    assert [unpack(data) for data in data_of(keyboard)] == [AnswerTap(quiz_id, place) for place in range(5)]
    assert [button.text for button in keyboard.inline_keyboard[0]] == ["A", "B", "C", "D"]
    assert [button.text for button in keyboard.inline_keyboard[1]] == ["I don't know"]


def test_fixed_keyboards_keep_the_limits() -> None:
    assert len(data_of(keyboards.next_keyboard())) == 1
    assert len(data_of(keyboards.erase_keyboard())) == 2


@given(st.integers(1, 10**18 - 1), st.none() | st.sampled_from(list(ReportReason)))
def test_under_feedback_the_next_question_comes_first_and_a_report_second(
    quiz_id: int, reported: ReportReason | None
) -> None:
    keyboard = keyboards.feedback_keyboard(QuizId(quiz_id), reported)
    assert [unpack(data) for data in data_of(keyboard)] == [NextQuestion(), OpenReport(quiz_id, reported or "")]
    assert ("Reported" in keyboard.inline_keyboard[0][1].text) == (reported is not None)


@given(st.integers(1, 10**18 - 1), st.none() | st.sampled_from(list(ReportReason)))
def test_every_reason_can_be_given_and_the_one_given_before_is_marked(
    quiz_id: int, reported: ReportReason | None
) -> None:
    keyboard = keyboards.report_keyboard(QuizId(quiz_id), reported)
    assert [unpack(data) for data in data_of(keyboard)] == [
        NextQuestion(),
        *(ReportQuestion(quiz_id, reason) for reason in ReportReason),
        CloseReport(quiz_id, reported or ""),
    ]
    marked = [button.text for row in keyboard.inline_keyboard for button in row if "•" in button.text]
    assert marked == ([f"• {REASONS[reported]}"] if reported else [])


@pytest.mark.parametrize("reported", [None, *ReportReason])
def test_buttons_of_a_report_fit_on_a_narrow_phone(reported: ReportReason | None) -> None:
    """Telegram cuts a label off where its button ends; at 320 points a row shows about thirty letters."""
    for make in (keyboards.feedback_keyboard, keyboards.report_keyboard):
        for row in make(QuizId(1), reported).inline_keyboard:
            assert max(len(button.text) for button in row) * len(row) <= 30


@pytest.mark.parametrize("enabled", [True, False])
def test_settings_lead_to_every_page(enabled: bool) -> None:  # noqa: FBT001 - a parameter
    data = data_of(keyboards.settings_keyboard(make_learner(daily_enabled=enabled)))
    pages = {callback.page for callback in map(unpack, data) if isinstance(callback, OpenSettings)}
    assert pages == {"hour", "zone", "topics", "done"}


@pytest.mark.parametrize("hour", range(24))
def test_every_hour_can_be_chosen_and_the_present_one_is_marked(hour: int) -> None:
    keyboard = keyboards.hour_keyboard(make_learner(daily_at=time(hour)))
    hours = [callback.hour for callback in map(unpack, data_of(keyboard)) if isinstance(callback, ChooseHour)]
    assert hours == list(range(24))
    marked = [button.text for row in keyboard.inline_keyboard for button in row if "•" in button.text]
    assert marked == [f"• {hour:02}:00"]


@given(st.sets(st.sampled_from(list(Topic))))
def test_every_topic_can_be_chosen_and_the_chosen_ones_are_marked(chosen: set[Topic]) -> None:
    keyboard = keyboards.topics_keyboard(make_learner(topics=tuple(chosen)))
    topics = [callback.topic for callback in map(unpack, data_of(keyboard)) if isinstance(callback, ToggleTopic)]
    assert topics == [topic.value for topic in Topic]
    marked = {button.text for row in keyboard.inline_keyboard for button in row if "✅" in button.text}
    assert marked == ({f"✅ {topic.label}" for topic in chosen} or {"✅ All topics"})


@settings(max_examples=20)
@given(moments)
def test_every_zone_can_be_reached_through_what_its_clock_shows(now: datetime) -> None:
    offsets = [
        callback.minutes
        for callback in map(unpack, data_of(keyboards.offset_keyboard(now)))
        if isinstance(callback, ChooseOffset)
    ]
    reached = [
        callback.zone
        for minutes in offsets
        for callback in map(unpack, data_of(keyboards.zone_keyboard(minutes, now)))
        if isinstance(callback, ChooseZone)
    ]
    assert sorted(reached) == sorted(ZONES)


def test_the_clock_page_shows_weekday_and_time_of_each_offset() -> None:
    labels = {button.text for row in keyboards.offset_keyboard(NOW).inline_keyboard for button in row}
    assert {"Sun 12:00", "Sun 17:30", "Mon 02:00", "Sun 02:00"} <= labels


def test_a_made_up_offset_shows_a_way_back() -> None:
    assert [unpack(data) for data in data_of(keyboards.zone_keyboard(7, NOW))] == [OpenSettings("zone")]


def test_a_city_is_read_as_written_on_maps() -> None:
    assert city("America/Argentina/Buenos_Aires") == "Buenos Aires"
    assert city("UTC") == "UTC"
