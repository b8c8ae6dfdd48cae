"""How a learner's level follows their answers."""

from __future__ import annotations

import pytest

from domain.catalog import Level
from tests.fundamentals.classroom import Classroom


async def test_a_learner_starts_at_the_default_level(classroom: Classroom) -> None:
    learner = await classroom.join()
    assert learner.level is Level.INTERMEDIATE
    assert learner.points == 0


async def test_an_operator_chooses_where_learners_start(classroom: Classroom) -> None:
    learner = await classroom.join(default_difficulty=Level.BEGINNER)
    assert learner.level is Level.BEGINNER


async def test_a_question_is_of_the_learners_level(classroom: Classroom) -> None:
    learner = await classroom.join(default_difficulty=Level.ADVANCED)
    quiz = await classroom.ask(learner)
    assert quiz.question.level is Level.ADVANCED


async def test_six_right_in_a_row_rise(classroom: Classroom) -> None:
    learner = await classroom.join()
    for _ in range(5):
        assert (await classroom.answer(learner, right=True)).level_after is Level.INTERMEDIATE
    assert (await classroom.answer(learner, right=True)).level_after is Level.ADVANCED


async def test_two_wrong_in_a_row_fall(classroom: Classroom) -> None:
    learner = await classroom.join()
    assert (await classroom.answer(learner, right=False)).level_after is Level.INTERMEDIATE
    assert (await classroom.answer(learner, right=False)).level_after is Level.BEGINNER


async def test_three_right_make_good_one_wrong(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.answer(learner, right=False)
    for _ in range(3):
        await classroom.answer(learner, right=True)
    assert (await classroom.state_of(learner)).points == 0


async def test_a_new_level_starts_at_zero_points(classroom: Classroom) -> None:
    learner = await classroom.join()
    for _ in range(2):
        await classroom.answer(learner, right=False)
    state = await classroom.state_of(learner)
    assert (state.level, state.points) == (Level.BEGINNER, 0)


@pytest.mark.parametrize(("level", "right"), [(Level.BEGINNER, False), (Level.EXPERT, True)])
async def test_nobody_leaves_the_scale(classroom: Classroom, level: Level, right: bool) -> None:  # noqa: FBT001 - a parameter
    learner = await classroom.join(default_difficulty=level)
    for _ in range(8):
        await classroom.answer(learner, right=right)
    assert (await classroom.state_of(learner)).level is level


async def test_an_operator_chooses_how_many_right_answers_lead_up(classroom: Classroom) -> None:
    settings = classroom.services.settings.model_copy(update={"correct_threshold_for_promotion": 2})
    eager = Classroom(classroom.repository, settings)
    learner = await eager.join()
    await eager.answer(learner, right=True)
    assert (await eager.answer(learner, right=True)).level_after is Level.ADVANCED
