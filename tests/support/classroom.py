"""A learner's day in a few calls, on the real storage: ask, answer, be graded."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

from domain.announcements import Recipient
from domain.catalog import OPTION_COUNT, Priority, QuizKind
from domain.ids import BotId, LearnerId, QuizId
from domain.learning import UNKNOWN_ABILITY, Rating
from domain.models import Delivery, Grade, Learner, Outcome, Quiz, StaleMessage
from domain.settings import Settings
from domain.updates import Tap
from question_sources.computed import ComputedSource, ReviewSource
from question_sources.picker import QuestionPicker
from question_sources.stored import BANK, SeenSource, StaticSource
from quiz_generator import QuestionGenerator
from quizzes import delivery as quiz_delivery
from quizzes import grading
from quizzes.context import QuizContext
from repository import Repository
from tests.support.factories import BOT_ID, some_id


class RecordingMessenger:
    """Keeps what it is to say, and fails as told."""

    def __init__(self) -> None:
        self.questions: list[tuple[Quiz, Priority]] = []
        self.announcements: list[tuple[LearnerId, str]] = []
        self.feedback: list[tuple[Quiz, Grade]] = []
        self.closed: list[StaleMessage] = []
        self.failures: dict[LearnerId, list[Exception | None]] = defaultdict(list)
        """Errors to raise, each once, in order; None lets one succeed."""
        self.refusals: dict[BotId, str] = {}
        """Bots that Telegram refuses, with its words."""
        self._message_ids: Iterator[int] = iter(range(1000, 10**6))

    def refused(self) -> dict[BotId, str]:
        """Return the bots that are refused."""
        return self.refusals

    async def send_question(self, quiz: Quiz, priority: Priority) -> int:
        """Keep a question and return a message id."""
        self._fail(quiz.learner_id)
        self.questions.append((quiz, priority))
        return next(self._message_ids)

    async def send_announcement(self, recipient: Recipient, text: str) -> None:
        """Keep an announcement."""
        self._fail(recipient.learner_id)
        self.announcements.append((recipient.learner_id, text))

    async def send_feedback(self, quiz: Quiz, grade: Grade) -> None:
        """Keep a feedback."""
        self._fail(quiz.learner_id)
        self.feedback.append((quiz, grade))

    async def close_message(self, message: StaleMessage) -> None:
        """Keep a message that is closed."""
        self._fail(message.learner_id)
        self.closed.append(message)

    def _fail(self, learner_id: LearnerId) -> None:
        if self.failures[learner_id] and (failure := self.failures[learner_id].pop(0)):
            raise failure


ABLE, UNABLE = Rating(4.0, 0.01), Rating(-4.0, 0.01)
"""Learners whose ratings leave no doubt, so that their points alone decide when they rise or fall."""


class Classroom:
    """The use cases on a real database, with a messenger that records."""

    def __init__(self, repository: Repository, settings: Settings) -> None:
        """Take the storage.

        Args:
            repository: with a question bank.
            settings: what new learners start with.
        """
        self.repository = repository
        self.messenger = RecordingMessenger()
        self.context = QuizContext(
            settings=settings,
            repository=repository,
            generator=QuestionGenerator(
                [StaticSource(QuestionPicker(repository, BANK))],
                last=SeenSource(repository),
                reviews=ReviewSource(repository, ComputedSource(repository)),
            ),
            messenger=self.messenger,
            rng=random.Random(20261122),
        )

    async def join(self, ability: Rating = UNKNOWN_ABILITY, **choices: object) -> Learner:
        """Register a learner, who is placed on their level already unless ``placement_answers`` says otherwise.

        Args:
            ability: what is believed of them.
            choices: settings that differ from the defaults, such as ``quiz_timezone``.
        """
        settings = self.context.settings.model_copy(update={"placement_answers": 0} | choices)
        learner, _ = await self.repository.add_learner(LearnerId(some_id()), BOT_ID, settings, ability)
        return learner

    async def state_of(self, learner: Learner) -> Learner:
        """Return how a learner stands now.

        Args:
            learner: as they stood before.
        """
        state = await self.repository.get_user_state(learner.id)
        assert state is not None
        return state

    async def ask(self, learner: Learner, kind: QuizKind = QuizKind.ON_DEMAND) -> Quiz:
        """Put a question to a learner.

        Args:
            learner: who.
            kind: why.
        """
        (delivery,) = await self.serve(learner, kind)
        assert delivery.outcome is Outcome.SENT, delivery
        assert delivery.quiz_id is not None
        return await self.quiz(delivery.quiz_id)

    async def serve(self, learner: Learner, kind: QuizKind) -> list[Delivery]:
        """Try to give a learner a quiz and return what became of it.

        Args:
            learner: who.
            kind: why.
        """
        return await quiz_delivery.serve_quizzes(self.context, [learner.id], kind)

    async def quiz(self, quiz_id: QuizId) -> Quiz:
        """Return a quiz as it stands now.

        Args:
            quiz_id: which.
        """
        (quiz,) = await self.repository.get_quizzes([quiz_id])
        return quiz

    async def tap(self, quiz: Quiz, *, right: bool, at: datetime | None = None) -> bool:
        """Tap the right option's button, or a wrong one's, and return whether it counts.

        Args:
            quiz: which.
            right: which option.
            at: when; now if None.
        """
        place = button_of(quiz, right=right)
        tap = Tap(quiz.id, quiz.learner_id, place, at or datetime.now(UTC), quiz.message_id, quiz.bot_id)
        return await self.repository.record_taps([tap]) == [quiz.id]

    async def answer(self, learner: Learner, *, right: bool, at: datetime | None = None) -> Grade:
        """Let a learner ask for a question and answer it.

        Args:
            learner: who.
            right: how.
            at: when; now if None.
        """
        quiz = await self.ask(learner)
        assert await self.tap(quiz, right=right, at=at)
        return await self.grade(quiz)

    async def grade(self, quiz: Quiz) -> Grade:
        """Grade an answered quiz.

        Args:
            quiz: which.
        """
        await grading.grade_answers(self.context, [quiz.id])
        return (await self.repository.get_grades([quiz.id]))[quiz.id]


def button_of(quiz: Quiz, *, right: bool) -> int:
    """Return the place of the button that shows the right option, or of one that shows a wrong one.

    Args:
        quiz: with the order of its options.
        right: which of the two.
    """
    place = quiz.option_order.index(quiz.question.correct_index)
    return place if right else (place + 1) % OPTION_COUNT
