"""How a learner's level follows their answers."""

from __future__ import annotations

from collections import defaultdict

import pytest

from adaptation.ratings import QUESTION_PRIORS, update_ratings
from domain.catalog import Level, Topic
from domain.learning import UNKNOWN_ABILITY, Rating
from domain.models import Quiz
from domain.settings import Settings
from quizzes import grading
from repository import Repository
from tests.support.classroom import ABLE, UNABLE, Classroom


async def test_a_learner_starts_at_the_default_level(classroom: Classroom) -> None:
    learner = await classroom.join()
    assert learner.level is Level.INTERMEDIATE
    assert learner.points == 0


async def test_an_operator_chooses_where_learners_start(classroom: Classroom) -> None:
    learner = await classroom.join(default_difficulty=Level.BEGINNER)
    assert learner.level is Level.BEGINNER


async def test_a_question_is_of_the_learners_level_or_the_next(classroom: Classroom) -> None:
    learner = await classroom.join(ability=UNABLE, default_difficulty=Level.ADVANCED)
    levels = {(await classroom.ask(learner)).question.level for _ in range(5)}
    assert levels <= {Level.INTERMEDIATE, Level.ADVANCED, Level.EXPERT}


async def test_a_question_is_one_that_the_learner_will_probably_get_right(classroom: Classroom) -> None:
    """On the same level, who is able gets the harder questions."""
    for ability, level in ((ABLE, Level.ADVANCED), (UNABLE, Level.BEGINNER)):
        learner = await classroom.join(ability=ability)
        assert (await classroom.ask(learner)).question.level is level


async def test_the_first_six_answers_place_a_learner(classroom: Classroom) -> None:
    learner = await classroom.join(placement_answers=6)
    for left in (5, 4, 3, 2, 1):
        grade = await classroom.answer(learner, right=False)
        assert (grade.after.level, grade.after.points, grade.after.placement_left) == (Level.INTERMEDIATE, 0, left)
    placed = await classroom.answer(learner, right=False)
    assert (placed.after.level, placed.was_placed) == (Level.BEGINNER, True)


async def test_answers_move_the_ratings_of_learner_and_question(classroom: Classroom) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    item = quiz.question.key
    before = (await classroom.repository.get_item_ratings([item])).get(item, QUESTION_PRIORS[quiz.question.level])
    assert await classroom.tap(quiz, right=False)
    await grading.grade_answers(classroom.context, [quiz.id])
    after = (await classroom.repository.get_item_ratings([item]))[item]
    assert (await classroom.state_of(learner)).ability < learner.ability
    assert after.mean > before.mean
    assert after.variance < before.variance


async def test_many_answers_at_once_move_a_new_question_as_they_would_one_by_one(repository: Repository) -> None:
    """Each has the others' steps in its own: forty steps from the same place would lead far too far."""
    classroom = Classroom(repository, Settings(_env_file=None))
    learners = [await classroom.join(preferred_topics=(Topic.STREAMING,)) for _ in range(40)]
    quizzes = [await classroom.ask(learner) for learner in learners]
    for quiz in quizzes:
        assert await classroom.tap(quiz, right=True)
    await grading.grade_answers(classroom.context, [quiz.id for quiz in quizzes])
    asked = defaultdict[str, list[Quiz]](list)
    for quiz in quizzes:
        asked[quiz.question.key].append(quiz)
    assert max(map(len, asked.values())) > 4
    ratings = await repository.get_item_ratings(list(asked))
    for item, those in asked.items():
        expected = QUESTION_PRIORS[those[0].question.level]
        for _ in those:
            expected = update_ratings(UNKNOWN_ABILITY, expected, correct=True)[1]
        assert (ratings[item].mean, ratings[item].variance) == pytest.approx((expected.mean, expected.variance))


async def test_six_right_in_a_row_rise_if_the_ratings_agree(classroom: Classroom) -> None:
    learner = await classroom.join(ability=ABLE)
    for _ in range(5):
        assert (await classroom.answer(learner, right=True)).after.level is Level.INTERMEDIATE
    assert (await classroom.answer(learner, right=True)).after.level is Level.ADVANCED


async def test_a_level_waits_while_the_ratings_are_in_doubt(classroom: Classroom) -> None:
    learner = await classroom.join(ability=Rating(-1.0, 0.01))
    for _ in range(8):
        grade = await classroom.answer(learner, right=True)
    assert (grade.after.level, grade.after.points) == (Level.INTERMEDIATE, 6)


async def test_two_wrong_in_a_row_fall_if_the_ratings_agree(classroom: Classroom) -> None:
    learner = await classroom.join(ability=UNABLE)
    assert (await classroom.answer(learner, right=False)).after.level is Level.INTERMEDIATE
    assert (await classroom.answer(learner, right=False)).after.level is Level.BEGINNER


async def test_three_right_make_good_one_wrong(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.answer(learner, right=False)
    for _ in range(3):
        await classroom.answer(learner, right=True)
    assert (await classroom.state_of(learner)).points == 0


async def test_a_new_level_starts_at_zero_points(classroom: Classroom) -> None:
    learner = await classroom.join(ability=UNABLE)
    for _ in range(2):
        await classroom.answer(learner, right=False)
    state = await classroom.state_of(learner)
    assert (state.level, state.points) == (Level.BEGINNER, 0)


@pytest.mark.parametrize(("level", "right"), [(Level.BEGINNER, False), (Level.EXPERT, True)])
async def test_nobody_leaves_the_scale(classroom: Classroom, level: Level, right: bool) -> None:  # noqa: FBT001 - a parameter
    learner = await classroom.join(ability=ABLE if right else UNABLE, default_difficulty=level)
    for _ in range(8):
        await classroom.answer(learner, right=right)
    assert (await classroom.state_of(learner)).level is level


async def test_an_operator_chooses_how_many_right_answers_lead_up(classroom: Classroom) -> None:
    settings = classroom.context.settings.model_copy(update={"correct_threshold_for_promotion": 2})
    eager = Classroom(classroom.repository, settings)
    learner = await eager.join(ability=ABLE)
    await eager.answer(learner, right=True)
    assert (await eager.answer(learner, right=True)).after.level is Level.ADVANCED
