"""How the daily streak counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from tests.support.classroom import Classroom

MORNING = datetime(2026, 3, 2, 9, tzinfo=UTC)
A_DAY = timedelta(days=1)


async def test_each_day_with_an_answer_adds_one(classroom: Classroom) -> None:
    learner = await classroom.join()
    streaks = [
        (await classroom.answer(learner, right=True, at=MORNING + n * A_DAY)).after.streak.days for n in range(4)
    ]
    assert streaks == [1, 2, 3, 4]


async def test_a_second_answer_on_the_same_day_adds_nothing(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.answer(learner, right=True, at=MORNING)
    assert (await classroom.answer(learner, right=True, at=MORNING + timedelta(hours=9))).after.streak.days == 1


async def test_a_wrong_answer_keeps_the_streak(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.answer(learner, right=True, at=MORNING)
    assert (await classroom.answer(learner, right=False, at=MORNING + A_DAY)).after.streak.days == 2


async def test_a_day_without_an_answer_begins_anew(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.answer(learner, right=True, at=MORNING)
    await classroom.answer(learner, right=True, at=MORNING + A_DAY)
    assert (await classroom.answer(learner, right=True, at=MORNING + 3 * A_DAY)).after.streak.days == 1


async def test_the_streak_counts_local_days(classroom: Classroom) -> None:
    """Half past three in the afternoon and half past four, in London: in Tokyo midnight lies between them."""
    before, after = datetime(2026, 3, 2, 14, 30, tzinfo=UTC), datetime(2026, 3, 2, 15, 30, tzinfo=UTC)
    in_tokyo, in_london = (
        await classroom.join(quiz_timezone="Asia/Tokyo"),
        await classroom.join(quiz_timezone="Europe/London"),
    )
    for learner, streak in ((in_tokyo, 2), (in_london, 1)):
        await classroom.answer(learner, right=True, at=before)
        assert (await classroom.answer(learner, right=True, at=after)).after.streak.days == streak


async def test_the_streak_shows_zero_once_a_whole_day_went_by(classroom: Classroom) -> None:
    learner = await classroom.join()
    await classroom.answer(learner, right=True, at=MORNING)
    state = await classroom.state_of(learner)
    assert state.current_streak(date(2026, 3, 2)) == 1
    assert state.current_streak(date(2026, 3, 3)) == 1
    assert state.current_streak(date(2026, 3, 4)) == 0


async def test_the_best_streak_stays_when_the_present_one_ends(classroom: Classroom) -> None:
    learner = await classroom.join()
    for day in (0, 1, 2, 5):
        await classroom.answer(learner, right=True, at=MORNING + day * A_DAY)
    assert (await classroom.state_of(learner)).streak_days == 1
    assert (await classroom.repository.get_progress(learner, MORNING)).best_streak == 3
