"""The picture of /stats: a PNG that phones show well, whatever the history, and the curves in it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from itertools import pairwise, repeat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from bot.charts import picture as chart
from bot.charts import streak, timeline
from bot.charts.canvas import BLUE, WIDTH, Canvas
from bot.charts.picture import draw_progress
from bot.charts.streak import Day, calendar, month_labels
from bot.charts.topics import ranked
from domain.catalog import Level, Topic
from domain.history import PastAnswer, ProgressHistory
from domain.models import TopicScore
from tests.conftest import ROOT
from tests.support.histories import TODAY, histories, history_of, student

pytestmark = pytest.mark.slow

MAX_BYTES = 300_000
AIM = 0.775
TALLEST = 1500
"""Three to four, about: beyond it Telegram would show the picture smaller than a phone is wide."""

HISTORIES: dict[str, ProgressHistory] = {
    "one right answer": student(1, 1, right=1),
    "one wrong answer": student(1, 1, right=0),
    "five answers": student(1, 5),
    "a week": student(7, 2, diligence=0.7, seed=3),
    "all topics": student(100, 2, diligence=0.9, seed=5),
    "nothing right": student(40, 2, right=0),
    "everything right": student(40, 2, right=1),
    "a long streak": student(1200, 1, seed=1),
    "two thousand answers": student(300, 7, diligence=0.97, seed=2),
    "a level that never rests": student(700, 7, right=0.8, diligence=0.7, seed=2),
    "years ago": replace(student(30, 2), today=TODAY + timedelta(days=1200), streak=0),
    "enormous numbers": replace(
        student(30, 2),
        streak=123_456,
        best_streak=1_234_567,
        freezes=10,
        topics=tuple(TopicScore(topic, 10**6, 10**6 - place) for place, topic in enumerate(Topic)),
    ),
}


def image_of(picture: bytes) -> Image.Image:
    """Return a picture, decoded to its last pixel."""
    image = Image.open(io.BytesIO(picture))
    image.load()
    return image.convert("RGB")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, and everything that is written in it with its place."""

    picture: bytes
    words: list[tuple[str, Bbox]]


@pytest.fixture(scope="module")
def drawn() -> Callable[[str], Drawn]:
    """Return what draws each of the histories once."""
    made: list[Canvas] = []

    class Kept(Canvas):
        def __init__(self, height: int) -> None:
            super().__init__(height)
            made.append(self)

    @cache
    def draw(name: str) -> Drawn:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chart, "Canvas", Kept)
            picture = draw_progress(HISTORIES[name], AIM)
        written = [part for part in made.pop().figure.findobj(Text) if isinstance(part, Text)]
        return Drawn(picture, [(text.get_text(), text.get_window_extent()) for text in written if is_shown(text)])

    return draw


def is_shown(text: Text) -> bool:
    """Say whether there is something to read."""
    return bool(text.get_visible() and text.get_text())


# ---------------------------------------------------------------- the picture


@pytest.mark.parametrize("name", HISTORIES)
def test_a_picture_is_a_png_that_a_phone_shows_well(name: str, drawn: Callable[[str], Drawn]) -> None:
    picture = drawn(name).picture
    image = image_of(picture)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < MAX_BYTES
    assert image.width == WIDTH
    assert 900 < image.height <= TALLEST
    colours = image.getcolors(1 << 24)
    assert colours is not None
    counts = {colour: count for count, colour in colours}
    blue = tuple(bytes.fromhex(BLUE[1:]))
    assert counts[255, 255, 255] > image.width * image.height / 3
    assert counts[blue] > 500


def test_each_topic_makes_it_higher_by_a_row() -> None:
    scores = [TopicScore(topic, 4, 3) for topic in Topic]
    history = student(5, 2)
    counts = (1, 2, 3, 12)
    heights = [image_of(draw_progress(replace(history, topics=tuple(scores[:count])), AIM)).height for count in counts]
    assert [height - heights[0] for height in heights] == [40 * (count - 1) for count in counts]


def test_another_history_is_another_picture() -> None:
    history = student(40, 2)
    first, last = history.topics[0], history.answers[-1]
    others = [
        replace(history, today=TODAY + timedelta(days=1)),
        replace(history, level=Level.EXPERT),
        replace(history, streak=1),
        replace(history, best_streak=1000),
        replace(history, freezes=0),
        replace(history, topics=(*history.topics[1:], replace(first, answered=99))),
        replace(history, answers=(*history.answers[:-1], replace(last, correct=not last.correct))),
    ]
    picture = draw_progress(history, AIM)
    assert [other for other in others if draw_progress(other, AIM) == picture] == []
    assert draw_progress(history, 0.6) != picture


def test_the_same_history_is_the_same_picture_even_when_threads_draw_together() -> None:
    drawn = [student(20, 2, seed=seed) for seed in (1, 2)] * 3
    with ThreadPoolExecutor(3) as pool:
        pictures = list(pool.map(draw_progress, drawn, repeat(AIM)))
    assert len(set(pictures)) == 2
    assert pictures[:2] == [draw_progress(history, AIM) for history in drawn[:2]]


def test_there_is_no_picture_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing was answered"):
        draw_progress(history_of([]), AIM)


@pytest.mark.parametrize("name", HISTORIES)
def test_no_words_overlap_or_leave_the_picture(name: str, drawn: Callable[[str], Drawn]) -> None:
    places = drawn(name).words
    assert len(places) > 20
    for index, (words, place) in enumerate(places):
        assert place.x0 >= 24, words
        assert place.x1 <= WIDTH - 24, words
        for others, other in places[index + 1 :]:
            common = Bbox.intersection(place, other)
            assert common is None or min(common.width, common.height) < 4, (words, others)


@settings(max_examples=5)
@given(histories.filter(lambda history: bool(history.answers)))
def test_whatever_the_history_there_is_a_picture(history: ProgressHistory) -> None:
    assert image_of(draw_progress(history, AIM)).width == WIDTH


# ---------------------------------------------------------------- its curves


@given(histories.filter(lambda history: bool(history.answers)))
def test_time_never_goes_back_and_stays_within_each_day(history: ProgressHistory) -> None:
    times = timeline.positions(history.answers)
    assert times == sorted(times)
    assert [int(time) for time in times] == [answer.day.toordinal() for answer in history.answers]


def test_time_stands_still_for_whoever_lives_a_date_twice() -> None:
    days = [TODAY, TODAY + timedelta(days=1), TODAY]
    times = timeline.positions([PastAnswer(day, True, Level.BEGINNER, 1) for day in days])  # noqa: FBT003
    assert times == sorted(times)


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.integers(2, 40))
def test_a_point_is_the_share_of_the_answers_that_it_sums_up(results: list[bool], window: int) -> None:
    answers = [PastAnswer(TODAY, correct, Level.BEGINNER, 1) for correct in results]
    curve = timeline.rolling_share(answers, timeline.positions(answers), window)
    latest = results[-window:]
    assert curve[-1][1] == pytest.approx(sum(latest) / len(latest))
    assert all(0 <= share <= 1 for _, share in curve)
    assert len(curve) <= len(results)


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 1)), min_size=1, max_size=2000).map(sorted),
    st.integers(2, 300),
)
def test_a_thinner_curve_keeps_its_ends_and_invents_nothing(curve: list[tuple[float, float]], most: int) -> None:
    thin = timeline.thin_out(curve, most)
    assert len(thin) <= most
    assert thin == sorted(thin)
    assert set(thin) <= set(curve)
    assert (thin[0], thin[-1]) == (curve[0], curve[-1])


def test_windows_grow_with_the_history_in_round_numbers() -> None:
    assert [timeline.window_of(count) for count in (1, 20, 500, 2000, 5000)] == [20, 20, 20, 70, 170]


@given(histories.filter(lambda history: bool(history.answers)))
def test_levels_go_from_the_first_to_the_present_one(history: ProgressHistory) -> None:
    span = (history.answers[0].day.toordinal(), TODAY.toordinal() + 1)
    steps = timeline.level_steps(history.answers, timeline.positions(history.answers), span)
    assert steps == sorted(steps, key=lambda step: step[0])
    assert (steps[0][0], steps[-1]) == (span[0], (span[1], history.level))
    assert len(steps) <= timeline.MAX_STEPS + 1
    assert {level for _, level in steps} <= {answer.level for answer in history.answers}


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0, ["today"]),
        (1, ["24 Nov", "today"]),
        (6, ["19 Nov", "22 Nov", "today"]),
        (100, ["17 Aug", "6 Oct", "today"]),
        (800, ["Sep 2024", "Oct 2025", "today"]),
    ],
)
def test_time_has_words_that_fit_its_length(days: int, words: list[str]) -> None:
    end = TODAY.toordinal() + 1
    assert [name for _, name, _ in timeline.time_labels(end - 1 - days, end)] == words


# ---------------------------------------------------------------- topics and calendar


def test_the_strongest_topic_comes_first_and_one_without_answers_never() -> None:
    scores = [
        TopicScore(Topic.STREAMING, 10, 5),
        TopicScore(Topic.ORCHESTRATION, 0, 0),
        TopicScore(Topic.DATA_QUALITY, 2, 2),
        TopicScore(Topic.ETL_VS_ELT, 20, 10),
    ]
    assert [score.topic for score in ranked(scores)] == [Topic.DATA_QUALITY, Topic.ETL_VS_ELT, Topic.STREAMING]


@given(histories.filter(lambda history: bool(history.answers)))
def test_a_calendar_is_sixteen_weeks_until_today(history: ProgressHistory) -> None:
    days = calendar(history)
    first, last = min(days), max(days)
    assert first.weekday() == 0
    assert last == TODAY
    assert (last - first).days == 15 * 7 + TODAY.weekday()
    for day, kind in days.items():
        assert (kind is Day.ANSWERED) == (day in history.answered_days)
        assert (kind is Day.SAVED) == (day in history.saved_days)
        assert (kind is Day.BEFORE) == (day < history.answers[0].day)


def test_today_is_open_until_it_is_answered() -> None:
    yesterday = history_of([(TODAY - timedelta(days=1), True, Topic.STREAMING)])
    assert calendar(yesterday)[TODAY] is Day.OPEN
    assert calendar(student(1, 1))[TODAY] is Day.ANSWERED


@given(st.dates(date(2020, 1, 1), date(2040, 1, 1)))
def test_names_of_months_never_touch(day: date) -> None:
    labels = month_labels(day - timedelta(days=day.weekday()))
    assert len(labels) >= 3
    assert all(after - before >= 3 for (before, _), (after, _) in pairwise(labels))
    assert labels[-1][0] <= streak.WEEKS - 3


# ---------------------------------------------------------------- what matplotlib leaves behind

_DRAW = """
import os, sys
from tests.support.histories import student
from bot.charts.picture import draw_progress
print(len(draw_progress(student(3, 1), 0.8)), os.environ["MPLCONFIGDIR"])
"""


def test_a_process_that_draws_needs_no_home_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """As in a container that is read-only but for its folder of temporary files."""
    environment = {"HOME": "/proc/no-home", "TMPDIR": str(tmp_path), "PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", _DRAW], env=environment, capture_output=True, text=True, check=True)
    size, folder = done.stdout.split()
    assert int(size) > 10_000
    assert Path(folder).parent == tmp_path
    told = [line for line in done.stderr.splitlines() if "font cache" not in line]  # which is told after five seconds
    assert told == []
    assert list(tmp_path.iterdir()) == []
