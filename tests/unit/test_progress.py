"""What /stats says in text: fits under a picture, balances, and says what is true."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import progress
from bot.progress import level_line, progress_caption
from difficulty_adapter import WHOLE_WAY
from domain.catalog import Level, Topic
from domain.history import ProgressHistory
from domain.models import TopicScore
from simulator.formatting import CAPTION_LIMIT, Formatted, read_formatted
from simulator.params import Params
from tests.support.histories import TODAY, Answered, histories, history_of, student
from tests.support.markup import assert_tags_balance
from tests.support.strategies import levels


def as_shown(html: str) -> Formatted:
    """Return what a learner's Telegram shows under a picture, after checking the markup by a count of our own."""
    assert_tags_balance(html)
    params = Params({"caption": html, "parse_mode": "HTML"})
    shown = read_formatted(params, "caption", "caption_entities", may_be_empty=False)
    assert shown.length <= CAPTION_LIMIT
    return shown


def line_of(history: ProgressHistory, mark: str) -> str:
    """Return the line that a mark begins, or nothing."""
    lines = as_shown(progress_caption(history)).text.splitlines()
    return next((line.removeprefix(mark).lstrip("\ufe0f ") for line in lines if line.startswith(mark)), "")


# ---------------------------------------------------------------- whatever the history


@given(histories)
def test_a_caption_fits_and_adds_up(history: ProgressHistory) -> None:
    text = as_shown(progress_caption(history)).text
    assert text.startswith("Your progress\n\n")
    assert history.level.label in text.splitlines()[2]
    total = len(history.answers)
    if not total:
        assert text.endswith("No answers yet: /quiz!")
        return
    right = sum(answer.correct for answer in history.answers)
    assert f"Right: {right} of {total} ({right / total:.0%})" in text
    assert re.search(rf"Streak: {history.streak} days?\b", text)


@given(levels, st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**6))
def test_a_caption_fits_whatever_the_numbers(level: Level, answered: int, streak: int, reviews: int) -> None:
    history = replace(
        student(40, 3),
        level=level,
        streak=streak,
        best_streak=streak + 1,
        topics=tuple(TopicScore(topic, answered + 5, answered // place) for place, topic in enumerate(Topic, 1)),
        reviews_due=reviews,
    )
    as_shown(progress_caption(history))


@pytest.mark.parametrize("topic", list(Topic))
def test_topics_are_shown_by_their_names_whatever_these_hold(topic: Topic) -> None:
    other = next(one for one in Topic if one is not topic)
    history = history_of([(TODAY, True, topic)] * 5 + [(TODAY, False, other)] * 6)
    assert line_of(history, "💪") == f"Strongest: {topic.label} (100%)"
    assert line_of(history, "🔍") == f"To work on: {other.label} (0%)"


@given(histories)
def test_no_caption_tells_an_absolute_ability(history: ProgressHistory) -> None:
    """An ability is a number with decimals; all that learners are told is counted, or a share of a hundred."""
    assert not re.search(r"\d\.\d", as_shown(progress_caption(history)).text)


# ---------------------------------------------------------------- level


@given(levels, st.integers(-40, WHOLE_WAY))
def test_a_level_line_names_the_level_and_the_way_to_the_next(level: Level, points: int) -> None:
    text = as_shown(level_line(level, points)).text
    assert level.label in text
    if level is Level.EXPERT:
        assert text.endswith("the top")
    else:
        assert text.count("▰") + text.count("▱") == progress.BAR
        assert text.endswith(f"to {Level(level + 1).label}")


def test_a_learner_who_is_not_placed_yet_is_told_when() -> None:
    assert level_line(Level.INTERMEDIATE, 0, 1).endswith("for now · 1 more answer to find yours")
    assert level_line(Level.INTERMEDIATE, 0, 4).endswith("for now · 4 more answers to find yours")


@pytest.mark.parametrize(("points", "filled"), [(-6, 0), (0, 0), (12, 0), (13, 1), (50, 4), (99, 7), (100, 8)])
def test_a_bar_shows_how_near_the_next_level_is_and_never_a_debt(points: int, filled: int) -> None:
    assert level_line(Level.BEGINNER, points).endswith(f"  {'▰' * filled}{'▱' * (8 - filled)}  to Intermediate")


def test_a_change_of_level_within_a_month_is_told() -> None:
    risen = history_of([(TODAY - timedelta(days=31), False, Topic.STREAMING)] + [(TODAY, True, Topic.STREAMING)] * 16)
    fallen = history_of([(TODAY - timedelta(days=31), False, Topic.STREAMING)] + [(TODAY, False, Topic.STREAMING)] * 9)
    assert line_of(risen, "📈") == "Up from Intermediate in 30 days"
    assert line_of(fallen, "📉") == "Down from Intermediate in 30 days"


def test_a_level_that_stays_is_no_change() -> None:
    history = history_of([(TODAY - timedelta(days=31), False, Topic.STREAMING), (TODAY, True, Topic.STREAMING)])
    assert line_of(history, "📈") == line_of(history, "📉") == ""


# ---------------------------------------------------------------- streak, shares, topics, reviews


def test_a_best_streak_is_told_when_it_is_not_the_present_one() -> None:
    assert line_of(student(5, 1), "🔥") == "Streak: 5 days"
    assert line_of(replace(student(5, 1), best_streak=9), "🔥") == "Streak: 5 days (best: 9 days)"


def test_freezes_are_told_while_there_are_any() -> None:
    assert line_of(student(7, 1), "🔥") == "Streak: 7 days · ❄️ 1 freeze"
    assert line_of(student(20, 1), "🔥") == "Streak: 20 days · ❄️ 2 freezes"


def month(ago: int, right: int, wrong: int) -> list[Answered]:
    """Return answers of one day."""
    day = TODAY - timedelta(days=ago)
    return [(day, True, Topic.STREAMING)] * right + [(day, False, Topic.STREAMING)] * wrong


@pytest.mark.parametrize(
    ("earlier", "latest", "words"),
    [
        ((8, 2), (9, 1), "Last 30 days: 90% right, up from 80%"),
        ((8, 2), (6, 4), "Last 30 days: 60% right, down from 80%"),
        ((8, 2), (8, 2), "Last 30 days: 80% right, as in the 30 before"),
        ((8, 1), (8, 2), "Last 30 days: 80% right"),
        ((8, 2), (8, 1), ""),
        ((0, 0), (8, 2), ""),
    ],
)
def test_two_months_are_compared_if_both_say_something(
    earlier: tuple[int, int], latest: tuple[int, int], words: str
) -> None:
    history = history_of([*month(30, *earlier), *month(29, *latest)])
    assert line_of(history, "📊") == words


def test_the_last_week_is_told() -> None:
    assert line_of(history_of([*month(7, 1, 0), *month(6, 3, 1)]), "🗓") == "Last 7 days: 4 answered, 3 right"
    assert line_of(history_of([*month(7, 1, 0)]), "🗓") == "Last 7 days: 0 answered"


def test_a_topic_is_neither_strong_nor_weak_before_some_answers() -> None:
    few = [(TODAY, True, Topic.STREAMING)] * (progress.TOPIC_ANSWERS - 1)
    many = [(TODAY, False, Topic.ORCHESTRATION)] * progress.TOPIC_ANSWERS
    assert line_of(history_of(few + many), "💪") == ""
    enough = [*few, (TODAY, True, Topic.STREAMING)]
    assert line_of(history_of(enough + many), "💪") == "Strongest: Streaming (100%)"
    assert line_of(history_of(enough + many), "🔍") == "To work on: Orchestration (0%)"


@pytest.mark.parametrize(
    ("due", "later", "words"),
    [
        (0, 0, ""),
        (1, 5, "1 missed question waits for you: /review"),
        (3, 0, "3 missed questions wait for you: /review"),
        (0, 1, "1 missed question will come back when it is time"),
        (0, 2, "2 missed questions will come back when it is time"),
    ],
)
def test_reviews_that_wait_are_told(due: int, later: int, words: str) -> None:
    assert line_of(replace(student(3, 1), reviews_due=due, reviews_later=later), "🔁") == words
