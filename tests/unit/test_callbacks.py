"""The data behind buttons: what packing makes is unpacked, and nothing else is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.callbacks import (
    MAX_BYTES,
    AnswerTap,
    Callback,
    ChooseHour,
    ChooseOffset,
    ChooseZone,
    CloseReport,
    NextQuestion,
    OpenReport,
    OpenSettings,
    ReportQuestion,
    ToggleTopic,
    quiz_of,
    read_callback,
    unpack,
)
from domain.errors import ForgedCallbackError
from tests.support import strategies

callbacks = strategies.callbacks
pieces = st.sampled_from(
    [
        "a",
        "n",
        "s",
        "h",
        "o",
        "z",
        "t",
        "ta",
        "d",
        "x",
        "r",
        "rb",
        "rq",
        "wrong",
        ":",
        "0",
        "1",
        "4",
        "23",
        "-",
        "+",
        " ",
        "\n",
        "main",
        "streaming",
        "٣",
    ]
)
almost_data = st.lists(pieces, max_size=10).map("".join)
"""Texts made of the parts of real data."""


@given(callbacks)
def test_what_is_packed_is_unpacked(callback: Callback) -> None:
    assert unpack(callback.pack()) == callback


@given(callbacks)
def test_packed_data_fits_into_telegrams_limit(callback: Callback) -> None:
    assert 1 <= len(callback.pack().encode()) <= MAX_BYTES


@given(callbacks, callbacks)
def test_no_two_buttons_share_their_data(one: Callback, other: Callback) -> None:
    assert (one.pack() == other.pack()) == (one == other)


@given(st.text(max_size=80) | almost_data)
@example("a:1:2\n")
@example("d:1\n")
def test_whatever_is_unpacked_would_be_packed_the_same(data: str) -> None:
    try:
        callback = unpack(data)
    except ForgedCallbackError:
        return
    assert callback.pack() == data


@given(callbacks, st.integers(0, 63), st.characters(codec="utf-8"))
def test_data_changed_in_one_place_is_refused_or_means_just_that(callback: Callback, place: int, new: str) -> None:
    data = callback.pack()
    changed = data[: place % len(data)] + new + data[place % len(data) + 1 :]
    try:
        unpacked = unpack(changed)
    except ForgedCallbackError:
        return
    assert unpacked.pack() == changed


@pytest.mark.parametrize(
    "data",
    [
        "",
        ":",
        "a",
        "a:",
        "a:1",
        "a:1:",
        "a:1:2:3",
        "a:0:1",
        "a:-1:1",
        "a:1:5",
        "a:1:-1",
        "a:01:1",
        "a:+1:1",
        "a: 1:1",
        "a:1.0:1",
        "a:1e3:1",
        "a:0x1:1",
        "a:\u0661:1",
        "a:1_0:1",
        "a:9999999999999999999:1",
        "A:1:1",
        " a:1:1",
        "n:",
        "n:1",
        "nn",
        "s",
        "s:everything",
        "s:MAIN",
        "h:24",
        "h:-1",
        "h:ten",
        "d:2",
        "d:true",
        "d:-1",
        "x:",
        "t:cooking",
        "ta:1",
        "o:",
        "o:1.5",
        "o:-721",
        "o:841",
        "o:99999999999999999",
        "z:",
        "z:Europe/Nowhere",
        "z:../../etc",
        "z:europe/berlin",
        "r:1",
        "r:0:",
        "r:1:boring",
        "r:1:wrong:",
        "r::wrong",
        "rb:1",
        "rb:-1:wrong",
        "rq:1:",
        "rq:1",
        "rq:0:wrong",
        "rq:01:wrong",
        "rq:1:WRONG",
        "rq:1:wrong ",
        "rq:wrong:1",
        "rr:1:wrong",
        "quiz:1:1",
        "__class__",
        "{}",
        "a:1:1;DROP TABLE learners",
        "z:" + "x" * 63,
        "z:" + "é" * 32,
    ],
)
def test_forged_data_is_refused(data: str) -> None:
    with pytest.raises(ForgedCallbackError):
        unpack(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AnswerTap(0, 1),
        lambda: AnswerTap(1, 5),
        lambda: AnswerTap(1, -1),
        lambda: ChooseHour(24),
        lambda: ChooseHour(-1),
        lambda: OpenSettings("other"),
        lambda: ToggleTopic("cooking"),
        lambda: ChooseZone("Mars/Olympus"),
        lambda: ChooseOffset(24 * 60),
        lambda: OpenReport(0, ""),
        lambda: CloseReport(1, "boring"),
        lambda: ReportQuestion(1, ""),
        lambda: ReportQuestion(1, "boring"),
        lambda: ReportQuestion(0, "wrong"),
    ],
)
def test_a_button_that_means_nothing_cannot_be_made(make: object) -> None:
    assert callable(make)
    with pytest.raises(ForgedCallbackError):
        make()


@dataclass(frozen=True, slots=True)
class Wordy(Callback):
    """A button whose data can be of any length."""

    prefix: ClassVar[str] = "w"
    words: str


def test_data_that_does_not_fit_is_never_sent() -> None:
    with pytest.raises(ValueError, match="at most 64 fit"):
        Wordy("x" * 63).pack()
    assert len(Wordy("x" * 62).pack()) == MAX_BYTES


@given(strategies.quiz_ids, st.integers(0, 3))
def test_an_answer_names_its_quiz(quiz_id: int, place: int) -> None:
    assert quiz_of(AnswerTap(quiz_id, place)) == quiz_id


@given(strategies.quiz_ids, strategies.reasons)
def test_a_report_names_its_quiz(quiz_id: int, reason: str) -> None:
    for button in (OpenReport(quiz_id, ""), CloseReport(quiz_id, reason), ReportQuestion(quiz_id, reason)):
        assert quiz_of(button) == quiz_id


@pytest.mark.parametrize("data", [NextQuestion().pack(), ChooseHour(7).pack(), "a:x:1", "", "nonsense"])
def test_other_data_names_no_quiz(data: str) -> None:
    assert quiz_of(read_callback(data)) is None
