"""Finishing what was left: by one of several workers, and ever later if Telegram stays away."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

import quiz_session
import quiz_upkeep
from domain.catalog import QuizKind
from domain.ids import QuizId
from domain.settings import Settings
from repository import Repository
from tests.factories import BOT_ID
from tests.fundamentals.classroom import Classroom

pytestmark = pytest.mark.pooler

_AGE = "UPDATE quizzes SET attempts = $2, touched_at = now() - $3::interval WHERE id = $1"


@pytest.fixture
def classroom(repository: Repository) -> Classroom:
    """Return a classroom with a database of its own, since recovery looks at everybody's quizzes."""
    return Classroom(repository, Settings(_env_file=None))


async def unsent_quiz(classroom: Classroom) -> QuizId:
    """Return a quiz that is made and that nobody has sent."""
    learner = await classroom.join()
    prepared = await quiz_session.prepare_quizzes(classroom.services, [learner.id], QuizKind.DAILY)
    return prepared.quiz_ids[0]


async def age(classroom: Classroom, quiz_id: QuizId, by: timedelta, attempts: int = 0) -> None:
    """Let some time go by since a quiz was touched."""
    await classroom.repository.database._pool.execute(_AGE, quiz_id, attempts, by)  # noqa: SLF001


@pytest.mark.parametrize(("attempts", "minutes"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 16), (40, 16)])
async def test_a_quiz_that_does_not_get_through_is_tried_ever_later(
    classroom: Classroom, attempts: int, minutes: int
) -> None:
    quiz_id = await unsent_quiz(classroom)
    for seconds, found in ((-5, []), (5, [quiz_id])):
        await age(classroom, quiz_id, timedelta(minutes=minutes, seconds=seconds), attempts)
        stalled = await classroom.repository.find_stalled_quizzes(quiz_upkeep.STALLED_AFTER, 10)
        assert [one for one, _ in stalled] == found


async def test_of_several_workers_who_find_a_stalled_quiz_one_sends_it(classroom: Classroom) -> None:
    quiz_ids = [await unsent_quiz(classroom) for _ in range(20)]
    for quiz_id in quiz_ids:
        await age(classroom, quiz_id, timedelta(minutes=5))
    await asyncio.gather(*(quiz_upkeep.recover(classroom.services) for _ in range(4)))
    assert sorted(quiz.id for quiz, _ in classroom.messenger.questions) == quiz_ids


async def test_a_stalled_quiz_whose_sender_finished_meanwhile_is_not_sent_again(classroom: Classroom) -> None:
    quiz_id = await unsent_quiz(classroom)
    await classroom.repository.begin_sending(quiz_id)
    await classroom.repository.mark_sent(quiz_id, 7, BOT_ID)
    await age(classroom, quiz_id, timedelta(minutes=5), attempts=1)
    assert not await classroom.repository.begin_sending(quiz_id, stalled_for=quiz_upkeep.STALLED_AFTER)
