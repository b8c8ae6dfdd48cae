"""How a learner's level follows their answers."""

from __future__ import annotations

from collections import defaultdict

import pytest

from adaptation.ratings import QUESTION_PRIORS, update_ratings
from difficulty_adapter import LEVEL_RULES, WHOLE_WAY
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
    assert learner.level_progress == 0


async def test_an_operator_chooses_where_learners_start(classroom: Classroom) -> None:
    learner = await classroom.join(default_difficulty=Level.BEGINNER)
    assert learner.level is Level.BEGINNER


async def test_a_question_is_of_the_learners_level_or_the_next(classroom: Classroom) -> None:
    learners = [await classroom.join(ability=UNABLE, default_difficulty=Level.ADVANCED) for _ in range(5)]
    levels = {(await classroom.ask(learner)).question.level for learner in learners}
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
        assert (grade.after.level, grade.after.placement_left) == (Level.INTERMEDIATE, left)
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


async def test_a_right_answer_raises_the_level_of_who_is_able_enough(classroom: Classroom) -> None:
    learner = await classroom.join(ability=ABLE)
    grade = await classroom.answer(learner, right=True)
    assert (grade.before.level, grade.after.level) == (Level.INTERMEDIATE, Level.ADVANCED)
    assert grade.level_rules == LEVEL_RULES


async def test_a_right_answer_raises_no_level_that_is_not_earned(classroom: Classroom) -> None:
    learner = await classroom.join(ability=Rating(-1.0, 0.01))
    for _ in range(8):
        grade = await classroom.answer(learner, right=True)
    assert (grade.after.level, grade.after.points) == (Level.INTERMEDIATE, 0)


async def test_a_wrong_answer_lowers_the_level_only_without_a_doubt(classroom: Classroom) -> None:
    unable, unsure = await classroom.join(ability=UNABLE), await classroom.join(ability=Rating(-0.5, 0.5))
    assert (await classroom.answer(unable, right=False)).after.level is Level.BEGINNER
    assert (await classroom.answer(unsure, right=False)).after.level is Level.INTERMEDIATE


async def test_the_bar_moves_with_the_answers_and_starts_where_the_estimate_is(classroom: Classroom) -> None:
    learner = await classroom.join(ability=Rating(0.5, 0.5))
    right = await classroom.answer(learner, right=True)
    wrong = await classroom.answer(learner, right=False)
    assert 0 < wrong.after.points < right.after.points < WHOLE_WAY
    assert (await classroom.state_of(learner)).level_progress == wrong.after.points


async def test_an_earlier_release_finds_its_points_as_it_left_them(classroom: Classroom) -> None:
    learner, pool = await classroom.join(ability=Rating(0.5, 0.5)), classroom.repository.database._pool  # noqa: SLF001
    await pool.execute("UPDATE learners SET points = 4 WHERE id = $1", learner.id)
    grade = await classroom.answer(learner, right=True)
    assert grade.after.points > 6  # which it would take for a level that is earned
    assert await pool.fetchval("SELECT points FROM learners WHERE id = $1", learner.id) == 4
    assert (await classroom.state_of(learner)).level_progress == grade.after.points


@pytest.mark.parametrize(("level", "right"), [(Level.BEGINNER, False), (Level.EXPERT, True)])
async def test_nobody_leaves_the_scale(classroom: Classroom, level: Level, right: bool) -> None:  # noqa: FBT001 - a parameter
    learner = await classroom.join(ability=ABLE if right else UNABLE, default_difficulty=level)
    for _ in range(8):
        await classroom.answer(learner, right=right)
    assert (await classroom.state_of(learner)).level is level


async def test_an_operator_chooses_how_sure_a_fall_is(classroom: Classroom) -> None:
    settings = classroom.context.settings.model_copy(update={"gate_confidence": 0.0})
    hasty = Classroom(classroom.repository, settings)
    learner = await hasty.join(ability=Rating(-0.5, 0.5))
    assert (await hasty.answer(learner, right=False)).after.level is Level.BEGINNER
