"""The state machine of levels: its bounds, its moves, and that nothing else ever moves."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty_adapter import (
    DEFAULT_LIMIT,
    POINTS,
    TRANSITIONS,
    Answer,
    Bound,
    Move,
    Progress,
    calculate_adaptation,
)
from domain.catalog import Level
from tests.strategies import answers, days, levels, limits, progresses

DAY = date(2026, 11, 22)
RIGHT, WRONG = Answer.RIGHT, Answer.WRONG
MIDDLE = (Level.INTERMEDIATE, Level.ADVANCED)

sequences = st.lists(answers, max_size=60)


def play(progress: Progress, given_answers: list[Answer], limit: int = DEFAULT_LIMIT) -> list[Progress]:
    """Return where a learner stands before the first and after each of some answers."""
    path = [progress]
    for answer in given_answers:
        path.append(calculate_adaptation(path[-1], answer, DAY, limit).after)
    return path


def height(progress: Progress, limit: int = DEFAULT_LIMIT) -> int:
    """Return level and points as one number: levels lie further apart than points reach."""
    return progress.level * (2 * limit + 1) + progress.points


def test_every_case_has_its_row() -> None:
    assert set(POINTS) == set(Answer)
    assert set(TRANSITIONS) == set(Bound)
    assert POINTS[RIGHT] * 3 + POINTS[WRONG] == 0


@given(st.data(), limits, sequences)
def test_points_and_level_stay_within_their_bounds(
    data: st.DataObject, limit: int, given_answers: list[Answer]
) -> None:
    for progress in play(data.draw(progresses(limit)), given_answers, limit):
        assert progress.level in set(Level)
        assert -limit <= progress.points <= limit


@given(st.data(), limits, answers)
def test_one_answer_moves_one_step_at_most(data: st.DataObject, limit: int, answer: Answer) -> None:
    before = data.draw(progresses(limit))
    change = calculate_adaptation(before, answer, DAY, limit)
    assert change.before == before
    assert change.after.level - before.level == change.move
    assert abs(change.move) <= 1


@given(st.data(), limits, answers)
def test_a_level_changes_only_by_its_rule(data: st.DataObject, limit: int, answer: Answer) -> None:
    before = data.draw(progresses(limit))
    change = calculate_adaptation(before, answer, DAY, limit)
    reaches_top = answer is RIGHT and before.points + 1 >= limit and before.level is not Level.EXPERT
    reaches_bottom = answer is WRONG and before.points - 3 <= -limit and before.level is not Level.BEGINNER
    expected = Move.RISE if reaches_top else Move.FALL if reaches_bottom else Move.STAY
    assert change.move is expected
    if change.move is not Move.STAY:
        assert change.after.points == 0


@given(st.data(), limits)
def test_a_right_answer_never_lowers_and_a_wrong_one_never_lifts(data: st.DataObject, limit: int) -> None:
    before = data.draw(progresses(limit))
    after_right = calculate_adaptation(before, RIGHT, DAY, limit).after
    after_wrong = calculate_adaptation(before, WRONG, DAY, limit).after
    assert height(after_right, limit) >= height(before, limit) >= height(after_wrong, limit)


@given(st.data(), answers, limits)
def test_who_stands_higher_on_a_level_is_never_overtaken_by_the_same_answer(
    data: st.DataObject, answer: Answer, limit: int
) -> None:
    one, other = data.draw(progresses(limit)), data.draw(progresses(limit))
    lower, higher = sorted((one, other), key=lambda progress: height(progress, limit))
    if lower.level is higher.level:
        after = [calculate_adaptation(progress, answer, DAY, limit).after.level for progress in (lower, higher)]
        assert after[0] <= after[1]


@given(progresses(), sequences)
def test_a_replay_of_the_answers_leads_to_the_same_place(progress: Progress, given_answers: list[Answer]) -> None:
    whole = play(progress, given_answers)
    half = len(given_answers) // 2
    resumed = play(whole[half], given_answers[half:])
    assert play(progress, given_answers) == whole
    assert resumed == whole[half:]


@given(progresses(), answers, days, days)
def test_the_level_does_not_depend_on_the_day(progress: Progress, answer: Answer, one: date, other: date) -> None:
    first = calculate_adaptation(progress, answer, one).after
    second = calculate_adaptation(progress, answer, other).after
    assert (first.level, first.points) == (second.level, second.points)


@given(sequences)
def test_a_level_is_left_only_after_six_right_or_two_wrong_since_it_was_entered(given_answers: list[Answer]) -> None:
    path = play(Progress(Level.INTERMEDIATE), given_answers)
    since = {RIGHT: 0, WRONG: 0}
    for (before, after), answer in zip(pairwise(path), given_answers, strict=True):
        since[answer] += 1
        if after.level > before.level:
            assert since[RIGHT] >= 6
        elif after.level < before.level:
            assert since[WRONG] >= 2
        if after.level is not before.level:
            since = {RIGHT: 0, WRONG: 0}


@pytest.mark.parametrize("level", [Level.BEGINNER, *MIDDLE])
def test_six_right_in_a_row_from_zero_rise(level: Level) -> None:
    path = play(Progress(level), [RIGHT] * 6)
    assert [progress.level for progress in path[:-1]] == [level] * 6
    assert (path[-1].level, path[-1].points) == (level + 1, 0)


@pytest.mark.parametrize("level", [*MIDDLE, Level.EXPERT])
def test_two_wrong_in_a_row_from_zero_fall(level: Level) -> None:
    path = play(Progress(level), [WRONG] * 2)
    assert [progress.level for progress in path] == [level, level, level - 1]
    assert path[-1].points == 0


@given(levels, st.integers(-2, 5), st.permutations([WRONG, RIGHT, RIGHT, RIGHT]))
def test_three_right_make_good_one_wrong(level: Level, points: int, order: list[Answer]) -> None:
    path = play(Progress(level, points), order)
    if all(progress.level is level and abs(progress.points) < DEFAULT_LIMIT for progress in path):
        assert path[-1].points == points


def test_points_rest_at_the_limit_on_the_highest_level() -> None:
    path = play(Progress(Level.EXPERT), [RIGHT] * 10)
    assert [progress.points for progress in path] == [0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6]
    assert {progress.level for progress in path} == {Level.EXPERT}


def test_points_rest_at_the_limit_on_the_lowest_level() -> None:
    path = play(Progress(Level.BEGINNER), [WRONG] * 4)
    assert [progress.points for progress in path] == [0, -3, -6, -6, -6]
    assert {progress.level for progress in path} == {Level.BEGINNER}


def test_a_beginner_at_the_bottom_climbs_out() -> None:
    assert play(Progress(Level.BEGINNER, -6), [RIGHT] * 12)[-1] == Progress(Level.INTERMEDIATE, 0, 1, DAY)


def test_an_expert_at_the_top_falls_after_four_wrong_in_a_row() -> None:
    path = play(Progress(Level.EXPERT, 6), [WRONG] * 4)
    assert [(progress.level, progress.points) for progress in path[1:]] == [
        (Level.EXPERT, 3),
        (Level.EXPERT, 0),
        (Level.EXPERT, -3),
        (Level.ADVANCED, 0),
    ]


@given(levels, st.integers(-20, 20), answers, st.integers(1, 5))
def test_points_from_before_an_operator_lowered_the_limit_do_no_harm(
    level: Level, points: int, answer: Answer, limit: int
) -> None:
    after = calculate_adaptation(Progress(level, points), answer, DAY, limit).after
    assert -limit <= after.points <= limit
    assert abs(after.level - level) <= 1
