"""What a drill asks of a distribution, beyond what a replay finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from domain.catalog import QuizKind, QuizState
from domain.ids import LearnerId
from roles.replay.records import Records

DELIVERED = {QuizState.SENT, QuizState.ANSWERED, QuizState.GRADED, QuizState.EXPIRED}


def check_distribution(records: Records, due: Sequence[LearnerId]) -> Iterator[str]:
    """Yield learners who were due and have not exactly one daily quiz in their chats."""
    counts = Counter(
        quiz.learner_id for quiz in records.quizzes.values() if quiz.kind is QuizKind.DAILY and quiz.state in DELIVERED
    )
    for learner_id in due:
        if counts[learner_id] != 1:
            yield f"learner {learner_id} was due and has {counts[learner_id]} daily quizzes"
