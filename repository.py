"""Postgres: every read and write of the service goes through here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, time, timedelta
from typing import Self

import asyncpg

from domain.catalog import Level, QuizKind, QuizState, Topic
from domain.history import PastAnswer, ProgressHistory
from domain.ids import BotId, LearnerId, QuizId
from domain.learning import UNKNOWN_ABILITY, Rating, RatingUpdate
from domain.models import DailyResult, Grade, Learner, NewQuiz, Quiz, SentQuestion, StaleMessage, TopicScore
from domain.settings import Settings
from domain.updates import Tap
from storage.database import Database
from storage.generation_store import GenerationStore
from storage.learning_store import LearningStore
from storage.question_store import QuestionStore
from storage.rows import read, read_grade, read_learner, read_quiz, write_grade, write_sent
from storage.service_store import ServiceStore
from storage.update_store import UpdateStore

UPDATES_CHANNEL = "quiz_updates"
MAX_ANSWERS = 5000
"""Latest answers that /stats is drawn from: thirteen years of one a day."""


class Repository(UpdateStore, QuestionStore, LearningStore, GenerationStore, ServiceStore):
    """The service's storage, in its own words."""

    def __init__(self, database: Database, replica: Database | None = None) -> None:
        """Take the database, and the replica that statistics are read from, if there is one."""
        self.database = database
        self._reader = replica or database

    @classmethod
    async def open(cls, settings: Settings) -> Repository:
        """Connect as the settings say.

        Raises:
            StorageUnavailableError: nobody answers there.
        """
        size, pooler = settings.database_pool_size, settings.database_pooler
        if settings.database_url is None:
            msg = "database_url is not set"
            raise ValueError(msg)
        database = await Database.connect(settings.database_url.get_secret_value(), size=size, pooler=pooler)
        replica = None
        if settings.database_replica_url:
            replica = await Database.connect(settings.database_replica_url.get_secret_value(), size=size, pooler=pooler)
        return cls(database, replica)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pools."""
        await self.database.close()
        if self._reader is not self.database:
            await self._reader.close()

    async def add_learner(
        self, learner_id: LearnerId, bot_id: BotId, settings: Settings, ability: Rating = UNKNOWN_ABILITY
    ) -> tuple[Learner, bool]:
        """Register a learner, or wake one who comes back.

        Returns:
            The learner, and whether they are new.
        """
        row = await self.database.fetchrow(
            "add_learner",
            learner_id,
            bot_id,
            settings.default_difficulty,
            settings.quiz_schedule_time,
            settings.quiz_timezone,
            list(settings.preferred_topics),
            settings.placement_answers,
            ability.mean,
            ability.variance,
            list(settings.bots),
        )
        return _learner(row), bool(row and row["is_new"])

    async def move_learner(self, learner_id: LearnerId, bot_id: BotId) -> Learner | None:
        """Let a learner go on with another bot, or return None if they are not known."""
        row = await self.database.fetchrow("move_learner", learner_id, bot_id)
        return read_learner(row) if row else None

    async def group_by_bot(self, learner_ids: Sequence[LearnerId]) -> dict[BotId, list[LearnerId]]:
        """Return the learners of each bot, in the order given."""
        rows = await self.database.fetch("group_by_bot", list(learner_ids))
        return {BotId(row["bot_id"]): [LearnerId(i) for i in row["learner_ids"]] for row in rows}

    async def get_user_state(self, learner_id: LearnerId) -> Learner | None:
        """Return a learner's state, or None if they are not known."""
        states = await self.get_user_states([learner_id])
        return states.get(learner_id)

    async def get_user_states(self, learner_ids: Iterable[LearnerId]) -> dict[LearnerId, Learner]:
        """Return the states of those learners who are known, in one query."""
        rows = await self.database.fetch("get_learners", list(learner_ids))
        return {learner.id: learner for learner in map(read_learner, rows)}

    async def set_experience(self, learner_id: LearnerId, level: Level, ability: Rating) -> Learner | None:
        """Keep what a new learner said about themselves, or return None if they have answered a question already."""
        row = await self.database.fetchrow("set_experience", learner_id, level, ability.mean, ability.variance)
        return read_learner(row) if row else None

    async def set_daily_enabled(self, learner_id: LearnerId, *, enabled: bool) -> Learner:
        """Switch daily quizzes on or off."""
        return _learner(await self.database.fetchrow("set_daily_enabled", learner_id, enabled))

    async def set_blocked(self, learner_id: LearnerId, bot_id: BotId, *, blocked: bool) -> None:
        """Note whether messages reach a learner; of a bot that they do not belong to, nothing is noted."""
        await self.database.execute("set_blocked", learner_id, blocked, bot_id)

    async def set_daily_at(self, learner_id: LearnerId, daily_at: time) -> Learner:
        """Choose the local time of the daily quiz."""
        return _learner(await self.database.fetchrow("set_daily_at", learner_id, daily_at))

    async def set_timezone(self, learner_id: LearnerId, timezone: str) -> Learner:
        """Choose the time zone."""
        return _learner(await self.database.fetchrow("set_timezone", learner_id, timezone))

    async def set_topics(self, learner_id: LearnerId, topics: Iterable[Topic]) -> Learner:
        """Choose topics; empty means all."""
        return _learner(await self.database.fetchrow("set_topics", learner_id, list(topics)))

    async def find_due_learners(
        self,
        at: datetime,
        among: Sequence[LearnerId] | None,
        limit: int | None,
        bot_ids: Iterable[BotId] | None = None,
    ) -> list[LearnerId]:
        """Return who is to get the daily quiz.

        Args:
            among: only these; everybody when None.
            bot_ids: whose learners; everybody's when None.
        """
        learners, bots = (None if ids is None else list(ids) for ids in (among, bot_ids))
        rows = await self.database.fetch("find_due_learners", at, learners, limit, bots)
        return [LearnerId(row["id"]) for row in rows]

    async def erase_learner(self, learner_id: LearnerId) -> None:
        """Erase everything that is stored about a learner."""
        async with self.database.transaction() as transaction:
            await transaction.execute("delete_learner", learner_id)
            await transaction.execute("anonymize_updates", learner_id)

    async def export_learner(self, learner_id: LearnerId) -> str | None:
        """Return everything that is stored about a learner as a JSON document, or None."""
        document: str | None = await self._reader.fetchval("export_learner", learner_id)
        return document

    async def get_progress(self, learner: Learner, now: datetime) -> ProgressHistory:
        """Return everything that /stats tells."""
        source = self._reader
        answers = await source.fetch("list_recent_answers", learner.id, MAX_ANSWERS)
        if len(answers) < min(learner.version, MAX_ANSWERS):  # the replica lags behind what the learner has seen
            source = self.database
            answers = await source.fetch("list_recent_answers", learner.id, MAX_ANSWERS)
        topics = await source.fetch("list_topic_scores", [learner.id])
        best = await source.fetchval("get_best_streak", learner.id)
        waiting = await self.count_reviews(learner.id, now)
        today = learner.local_day(now)
        return ProgressHistory(
            today=today,
            level=learner.level,
            points=learner.level_progress,
            streak=learner.current_streak(today),
            best_streak=best or 0,
            freezes=learner.freezes,
            answers=tuple(read(PastAnswer, row) for row in answers),
            topics=tuple(read(TopicScore, row) for row in topics),
            placement_left=learner.placement_left,
            reviews_due=waiting.due,
            reviews_later=waiting.later,
        )

    # ------------------------------------------------------------ quizzes

    async def create_quizzes(
        self,
        kind: QuizKind,
        made: Sequence[NewQuiz],
        expires_after: timedelta,
    ) -> dict[LearnerId, QuizId]:
        """Make quizzes; daily ones also move the learner's next daily quiz on, in the same transaction.

        Returns:
            The new quizzes; a learner who has theirs already is absent.
        """
        async with self.database.transaction() as transaction:
            rows = await transaction.fetch(
                "create_quizzes",
                [quiz.learner_id for quiz in made],
                [quiz.question_id for quiz in made],
                [",".join(map(str, quiz.option_order)) for quiz in made],
                kind,
                expires_after,
                [quiz.is_review for quiz in made],
            )
            if kind is QuizKind.DAILY:
                await transaction.execute("advance_daily", [quiz.learner_id for quiz in made])
        return {LearnerId(row["learner_id"]): QuizId(row["id"]) for row in rows}

    async def find_open_quizzes(self, learner_ids: Sequence[LearnerId]) -> dict[LearnerId, Quiz]:
        """Return the latest unanswered quiz of each learner who has one."""
        rows = await self.database.fetch("find_open_quizzes", list(learner_ids))
        return {quiz.learner_id: quiz for quiz in map(read_quiz, rows)}

    async def get_quizzes(self, quiz_ids: Iterable[QuizId]) -> list[Quiz]:
        """Return quizzes with their questions."""
        return [read_quiz(row) for row in await self.database.fetch("get_quizzes", list(quiz_ids))]

    async def count_awaiting_daily(self, learner_ids: Sequence[LearnerId], due_at: datetime) -> int:
        """Return how many learners wait for a daily quiz that is not made yet, or not sent."""
        return int(await self.database.fetchval("count_awaiting_daily", list(learner_ids), due_at))

    async def list_daily_results(self, learner_ids: Sequence[LearnerId], since: datetime) -> list[DailyResult]:
        """Return what has become of learners' daily quizzes.

        Args:
            since: the moment at which they were due; what was sent before belongs to an earlier distribution.
        """
        rows = await self.database.fetch("list_daily_results", list(learner_ids), since)
        return [read(DailyResult, row) for row in rows]

    async def begin_sending(
        self, quiz_ids: Sequence[QuizId], *, again: bool = False, stalled_for: timedelta | None = None
    ) -> set[QuizId]:
        """Take quizzes for sending and return those that the caller is to send.

        Args:
            again: True to also take those whose sending began before, or that the learner asked to see again.
            stalled_for: take only those that are unsent and that nobody has touched for so long.
        """
        rows = await self.database.fetch("begin_sending", list(quiz_ids), again, stalled_for)
        return {QuizId(row["id"]) for row in rows}

    async def mark_sent(self, sent: Sequence[SentQuestion]) -> None:
        """Note that quizzes are in their learners' chats; a daily one that had to wait becomes the present day's.

        Noting one again changes only the moment at which it was sent.
        """
        await self.database.execute("mark_sent", write_sent(sent))

    async def mark_send_failed(self, quiz_id: QuizId, reason: str, *, for_good: bool) -> None:
        """Note that a quiz could not be sent, for good or until the next try."""
        await self.database.execute("mark_send_failed", quiz_id, reason, for_good)

    async def return_quizzes(self, quiz_ids: Sequence[QuizId], reason: str | None, state: QuizState) -> None:
        """Let quizzes wait as if their sending had not begun.

        Args:
            reason: why they wait; None if nothing is wrong with them.
            state: only those that are in it: pending or sending.
        """
        await self.database.execute("return_quizzes", quiz_ids, reason, state)

    async def withdraw_quizzes(self, quiz_ids: Sequence[QuizId], reason: str) -> set[QuizId]:
        """Take back those of the quizzes that are pending, so that nobody sends them.

        Whoever gets no daily quiz by it is due again, unless Telegram may have taken theirs already.

        Args:
            reason: why, for those that Telegram may have taken.

        Returns:
            Those that were taken back.
        """
        return {QuizId(row["id"]) for row in await self.database.fetch("withdraw_quizzes", list(quiz_ids), reason)}

    async def find_stalled_quizzes(
        self, older_than: timedelta, limit: int, bot_ids: Sequence[BotId] | None = None
    ) -> list[tuple[QuizId, BotId]]:
        """Return quizzes whose sending nobody finished, each with the bot that is to send it; the oldest first.

        Args:
            bot_ids: whose learners'; everybody's when None, which is much faster if many wait for other bots.
        """
        rows = await self.database.fetch("find_stalled_quizzes", older_than, limit, bot_ids)
        return [(QuizId(row["id"]), BotId(row["bot_id"])) for row in rows]

    async def expire_quizzes(self) -> int:
        """Close quizzes that nobody answered in time, or that were not sent for seven days, and return how many."""
        return await self.database.execute("expire_quizzes")

    async def record_taps(self, taps: Sequence[Tap]) -> list[QuizId]:
        """Take learners' answers: of each open quiz, its learner's first tap that came in time.

        Args:
            taps: in the order of their updates.

        Returns:
            The quizzes whose answer was taken.
        """
        columns = [[getattr(tap, field.name) for tap in taps] for field in fields(Tap)]
        return [QuizId(row["id"]) for row in await self.database.fetch("record_taps", *columns)]

    async def close_other_topics(self, learner_ids: Sequence[LearnerId]) -> None:
        """Close what is open on other topics than its learner's."""
        await self.database.execute("close_other_topics", learner_ids)

    async def claim_stale_messages(
        self, learner_ids: Sequence[LearnerId] | None, bot_ids: Sequence[BotId] | None, limit: int
    ) -> list[StaleMessage]:
        """Take messages that are to be closed, those that wait longest, so that nobody else does for a minute.

        Args:
            learner_ids: whose; everybody's when None.
            bot_ids: the bots that would close them; any when None.
        """
        rows = await self.database.fetch("claim_stale_messages", learner_ids, bot_ids, limit)
        return [read(StaleMessage, row) for row in rows]

    async def delete_stale_message(self, message: StaleMessage) -> None:
        """Note that a message is closed, or never can be.

        If its question was answered meanwhile, the edit may have covered the feedback, which is then due again.
        """
        await self.database.execute("delete_stale_message", message.learner_id, message.bot_id, message.message_id)

    async def delete_old_stale_messages(self) -> int:
        """Forget the messages that could not be closed for a week."""
        return await self.database.execute("delete_old_stale_messages")

    async def find_ungraded_quizzes(self, older_than: timedelta, limit: int) -> list[QuizId]:
        """Return answered quizzes that nobody graded."""
        return [QuizId(row["id"]) for row in await self.database.fetch("find_ungraded_quizzes", older_than, limit)]

    async def find_missing_feedback(
        self, older_than: timedelta, limit: int, bot_ids: Sequence[BotId] | None = None
    ) -> list[QuizId]:
        """Return graded quizzes whose feedback was not sent.

        Args:
            bot_ids: the bots that would send it; any when None.
        """
        rows = await self.database.fetch("find_missing_feedback", older_than, limit, bot_ids)
        return [QuizId(row["id"]) for row in rows]

    async def persist_answer(
        self,
        grade: Grade,
        rating_update: RatingUpdate,
        difficulties: Mapping[Level, float],
        version: int,
    ) -> bool:
        """Keep one grade, whole or not at all.

        Args:
            difficulties: mean difficulty of each level's questions that it went by, in logits.

        Returns:
            False if the learner or the quiz was graded meanwhile: read again and decide anew.
        """
        document = write_grade(grade, rating_update, difficulties, version)
        return await self.database.fetchval("persist_answer", document) is not None

    async def get_grades(self, quiz_ids: Iterable[QuizId]) -> dict[QuizId, Grade]:
        """Return what answers changed."""
        rows = await self.database.fetch("get_grades", list(quiz_ids))
        return {grade.quiz_id: grade for grade in map(read_grade, rows)}

    async def mark_feedback_sent(self, quiz_ids: Iterable[QuizId]) -> None:
        """Note that feedback was sent, or never can be."""
        await self.database.execute("mark_feedback_sent", list(quiz_ids))


def _learner(row: asyncpg.Record | None) -> Learner:
    if row is None:
        msg = "no such learner"
        raise LookupError(msg)
    return read_learner(row)
