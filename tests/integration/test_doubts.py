"""How learners' doubts take a question out, and how an operator brings it back."""

from __future__ import annotations

from datetime import timedelta

from domain.catalog import QuestionState, QuizKind, ReportReason
from domain.ids import QuizId
from domain.models import Learner, NewQuiz, StoredQuestion
from quizzes import reports
from tests.support.classroom import Classroom

KEY = "orchestration-3-1"


async def give(classroom: Classroom, learner: Learner, question: StoredQuestion) -> QuizId:
    """Put one certain question to a learner."""
    order = [0, 1, 2, 3]
    made = await classroom.repository.create_quizzes(
        QuizKind.ON_DEMAND, [NewQuiz(learner.id, question.id, order)], timedelta(hours=1)
    )
    return made[learner.id]


async def test_a_question_that_three_learners_doubt_is_asked_again_only_after_an_operator_said_so(
    classroom: Classroom,
) -> None:
    question = await classroom.repository.get_question(KEY)
    assert question is not None
    states = []
    for reason in ReportReason:  # it does not matter whether they agree on what is wrong
        learner = await classroom.join()
        quiz_id = await give(classroom, learner, question)
        assert not await reports.report_question(classroom.context, quiz_id, learner.id, reason)  # not answered
        assert await classroom.tap(await classroom.quiz(quiz_id), right=False)
        for _ in range(2):  # a learner counts once, however often they say so
            assert await reports.report_question(classroom.context, quiz_id, learner.id, reason)
        [entry] = await classroom.repository.list_questions(keys=[KEY])
        states.append(entry.state)
    assert states == [QuestionState.ACTIVE, QuestionState.ACTIVE, QuestionState.QUARANTINED]

    assert await classroom.repository.restore_question(KEY)
    [entry] = await classroom.repository.list_questions(keys=[KEY])
    assert (entry.state, entry.reports) == (QuestionState.ACTIVE, 0)
