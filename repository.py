"""Postgres: every read and write of the service goes through here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from typing import Any

from domain.catalog import Level, QuizKind, Topic
from domain.history import PastAnswer, ProgressHistory
from domain.ids import BotId, LearnerId, QuizId
from domain.learning import UNKNOWN_ABILITY, Lesson, Rating
from domain.models import DailyResult, Grade, Learner, NewQuiz, Quiz, Tap, TopicScore
from domain.settings import Settings
from sql.database import Database
from sql.generation_store import GenerationStore
from sql.learning_store import LearningStore
from sql.question_store import QuestionStore
from sql.update_store import UpdateStore

UPDATES_CHANNEL = "quiz_updates"
MOST_ANSWERS = 5000
"""Latest answers that /stats is drawn from: thirteen years of one a day."""


class Repository(UpdateStore, QuestionStore, LearningStore, GenerationStore):
    """The service's storage, in its own words."""

    def __init__(self, database: Database, replica: Database | None = None) -> None:
        """Take where to read and write.

        Args:
            database: the primary.
            replica: where statistics are read; the primary when None.
        """
        self.database = database
        self._reader = replica or database

    @classmethod
    async def open(cls, settings: Settings) -> Repository:
        """Connect as the settings say.

        Args:
            settings: with ``database_url`` resolved.

        Raises:
            StorageUnavailableError: nobody answers there.
        """
        size, pooler = settings.database_pool_size, settings.database_pooler
        if settings.database_url is None:
            msg = "database_url must be resolved before the repository opens"
            raise ValueError(msg)
        database = await Database.connect(settings.database_url.get_secret_value(), size=size, pooler=pooler)
        replica = None
        if settings.database_replica_url:
            replica = await Database.connect(settings.database_replica_url.get_secret_value(), size=size, pooler=pooler)
        return cls(database, replica)

    async def close(self) -> None:
        """Close the pools."""
        await self.database.close()
        if self._reader is not self.database:
            await self._reader.close()

    # ------------------------------------------------------------ learners

    async def add_learner(
        self, learner_id: LearnerId, bot_id: BotId, settings: Settings, ability: Rating = UNKNOWN_ABILITY
    ) -> tuple[Learner, bool]:
        """Register a learner, or wake one who comes back.

        Args:
            learner_id: the Telegram user id.
            bot_id: the bot they talk to.
            settings: what a new learner starts with.
            ability: what is believed of a new learner.

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
        """Let a learner go on with another bot, or return None if they are not known.

        Args:
            learner_id: who.
            bot_id: the bot that serves them from now on.
        """
        row = await self.database.fetchrow("move_learner", learner_id, bot_id)
        return Learner.from_row(row) if row else None

    async def group_by_bot(self, learner_ids: Sequence[LearnerId]) -> dict[BotId, list[LearnerId]]:
        """Return the learners of each bot, in the order given.

        Args:
            learner_ids: who; unknown ones are absent from the result.
        """
        rows = await self.database.fetch("group_by_bot", list(learner_ids))
        return {BotId(row["bot_id"]): [LearnerId(i) for i in row["learner_ids"]] for row in rows}

    async def get_user_state(self, learner_id: LearnerId) -> Learner | None:
        """Return a learner's state, or None if they are not known.

        Args:
            learner_id: the Telegram user id.
        """
        states = await self.get_user_states([learner_id])
        return states.get(learner_id)

    async def get_user_states(self, learner_ids: Iterable[LearnerId]) -> dict[LearnerId, Learner]:
        """Return the states of those learners who are known, in one query.

        Args:
            learner_ids: Telegram user ids.
        """
        rows = await self.database.fetch("get_learners", list(learner_ids))
        return {learner.id: learner for learner in map(Learner.from_row, rows)}

    async def set_experience(self, learner_id: LearnerId, level: Level, ability: Rating) -> Learner | None:
        """Keep what a new learner said about themselves, or return None if they have answered a question already.

        Args:
            learner_id: who.
            level: where they start.
            ability: what is believed of them.
        """
        row = await self.database.fetchrow("set_experience", learner_id, level, ability.mean, ability.variance)
        return Learner.from_row(row) if row else None

    async def set_daily_enabled(self, learner_id: LearnerId, *, enabled: bool) -> Learner:
        """Switch daily quizzes on or off.

        Args:
            learner_id: who.
            enabled: whether they want them.
        """
        return _learner(await self.database.fetchrow("set_daily_enabled", learner_id, enabled))

    async def set_blocked(self, learner_id: LearnerId, bot_id: BotId, *, blocked: bool) -> None:
        """Note whether messages reach a learner; of a bot that they do not belong to, nothing is noted.

        Args:
            learner_id: who.
            bot_id: whose messages.
            blocked: True when Telegram says they do not.
        """
        await self.database.execute("set_blocked", learner_id, blocked, bot_id)

    async def set_daily_at(self, learner_id: LearnerId, daily_at: time) -> Learner:
        """Choose the local time of the daily quiz.

        Args:
            learner_id: who.
            daily_at: a time on their own clock.
        """
        return _learner(await self.database.fetchrow("set_daily_at", learner_id, daily_at))

    async def set_timezone(self, learner_id: LearnerId, timezone: str) -> Learner:
        """Choose the time zone.

        Args:
            learner_id: who.
            timezone: an IANA name.
        """
        return _learner(await self.database.fetchrow("set_timezone", learner_id, timezone))

    async def set_topics(self, learner_id: LearnerId, topics: Iterable[Topic]) -> Learner:
        """Choose topics.

        Args:
            learner_id: who.
            topics: those they want; empty means all.
        """
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
            at: the moment up to which a learner is due.
            among: only these; everybody when None.
            limit: how many at most; no bound when None.
            bot_ids: whose learners; everybody's when None.
        """
        learners, bots = (None if ids is None else list(ids) for ids in (among, bot_ids))
        rows = await self.database.fetch("find_due_learners", at, learners, limit, bots)
        return [LearnerId(row["id"]) for row in rows]

    async def forget_learner(self, learner_id: LearnerId) -> None:
        """Erase everything that is stored about a learner.

        Args:
            learner_id: who.
        """
        async with self.database.transaction() as transaction:
            await transaction.execute("forget_learner", learner_id)
            await transaction.execute("forget_updates", learner_id)

    async def export_learner(self, learner_id: LearnerId) -> str | None:
        """Return everything that is stored about a learner as a JSON document, or None.

        Args:
            learner_id: who.
        """
        document: str | None = await self._reader.fetchval("export_learner", learner_id)
        return document

    async def read_progress(self, learner: Learner, now: datetime) -> ProgressHistory:
        """Return everything that /stats tells.

        Args:
            learner: their state.
            now: an aware moment.
        """
        source = self._reader
        answers = await source.fetch("list_recent_answers", learner.id, MOST_ANSWERS)
        if len(answers) < min(learner.version, MOST_ANSWERS):  # the replica lags behind what the learner has seen
            source = self.database
            answers = await source.fetch("list_recent_answers", learner.id, MOST_ANSWERS)
        topics = await source.fetch("list_topic_scores", [learner.id])
        best = await source.fetchval("read_best_streak", learner.id)
        waiting = await self.count_reviews(learner.id, now)
        today = learner.local_day(now)
        return ProgressHistory(
            today=today,
            level=learner.level,
            points=learner.points,
            streak=learner.current_streak(today),
            best_streak=best or 0,
            freezes=learner.freezes,
            answers=tuple(map(PastAnswer.from_row, answers)),
            topics=tuple(TopicScore(Topic(row["topic"]), row["answered"], row["correct"]) for row in topics),
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

        Args:
            kind: why they are made.
            made: one a learner.
            expires_after: how long they can be answered.

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
        """Return the latest unanswered quiz of each learner who has one.

        Args:
            learner_ids: who.
        """
        rows = await self.database.fetch("find_open_quizzes", list(learner_ids))
        return {quiz.learner_id: quiz for quiz in map(Quiz.from_row, rows)}

    async def get_quizzes(self, quiz_ids: Iterable[QuizId]) -> list[Quiz]:
        """Return quizzes with their questions.

        Args:
            quiz_ids: which; unknown ones are absent from the result.
        """
        return [Quiz.from_row(row) for row in await self.database.fetch("get_quizzes", list(quiz_ids))]

    async def count_awaiting_daily(self, learner_ids: Sequence[LearnerId], due_at: datetime) -> int:
        """Return how many learners wait for a daily quiz that is not made yet, or not sent.

        Args:
            learner_ids: who.
            due_at: the moment at which it was due.
        """
        return int(await self.database.fetchval("count_awaiting_daily", list(learner_ids), due_at))

    async def list_daily_results(self, learner_ids: Sequence[LearnerId], since: datetime) -> list[DailyResult]:
        """Return what has become of learners' daily quizzes.

        Args:
            learner_ids: who.
            since: the moment at which they were due; what was sent before belongs to an earlier distribution.
        """
        rows = await self.database.fetch("list_daily_results", list(learner_ids), since)
        return [DailyResult.from_row(row) for row in rows]

    async def begin_sending(
        self, quiz_id: QuizId, *, again: bool = False, stalled_for: timedelta | None = None
    ) -> bool:
        """Take a quiz for sending and return whether it is ours to send.

        Args:
            quiz_id: which.
            again: True to also take one whose sending began before, or that the learner asked to see again.
            stalled_for: take it only if it is unsent and nobody has touched it for so long.
        """
        return await self.database.fetchval("begin_sending", quiz_id, again, stalled_for) is not None

    async def mark_sent(self, quiz_id: QuizId, message_id: int, bot_id: BotId) -> None:
        """Note that a quiz is in the learner's chat.

        Args:
            quiz_id: which.
            message_id: the message that shows it.
            bot_id: the bot that sent it.
        """
        await self.database.execute("mark_sent", quiz_id, message_id, bot_id)

    async def mark_send_failed(self, quiz_id: QuizId, reason: str, *, for_good: bool) -> None:
        """Note that a quiz could not be sent.

        Args:
            quiz_id: which.
            reason: one line for the operator.
            for_good: False if it may be tried again.
        """
        await self.database.execute("mark_send_failed", quiz_id, reason, for_good)

    async def find_stalled_quizzes(self, older_than: timedelta, limit: int) -> list[tuple[QuizId, LearnerId]]:
        """Return quizzes whose sending nobody finished.

        Args:
            older_than: since when nothing happened to them.
            limit: how many at most.
        """
        rows = await self.database.fetch("find_stalled_quizzes", older_than, limit)
        return [(QuizId(row["id"]), LearnerId(row["learner_id"])) for row in rows]

    async def expire_quizzes(self) -> int:
        """Close quizzes that nobody answered in time and return how many."""
        return await self.database.execute("expire_quizzes")

    async def record_tap(self, tap: Tap) -> bool:
        """Take a learner's answer, if it is the first to an open quiz of theirs.

        Args:
            tap: who tapped which button when.

        Returns:
            Whether this tap is the one that counts.
        """
        return (
            await self.database.fetchval(
                "record_tap", tap.quiz_id, tap.learner_id, tap.place, tap.at, tap.message_id, tap.bot_id
            )
            is not None
        )

    async def find_ungraded_quizzes(self, older_than: timedelta, limit: int) -> list[QuizId]:
        """Return answered quizzes that nobody graded.

        Args:
            older_than: since when they are answered.
            limit: how many at most.
        """
        return [QuizId(row["id"]) for row in await self.database.fetch("find_ungraded_quizzes", older_than, limit)]

    async def find_untold_grades(self, older_than: timedelta, limit: int) -> list[QuizId]:
        """Return graded quizzes whose learner was not told.

        Args:
            older_than: since when they are graded.
            limit: how many at most.
        """
        return [QuizId(row["id"]) for row in await self.database.fetch("find_untold_grades", older_than, limit)]

    async def persist_answer(
        self, grade: Grade, lesson: Lesson, difficulties: Mapping[Level, float], version: int, last_day: date
    ) -> bool:
        """Keep one grade, whole or not at all.

        Args:
            grade: what the answer changed.
            lesson: what it teaches about learner and question.
            difficulties: mean difficulty of each level's questions that it went by, in logits.
            version: the learner's version that the grade was computed from.
            last_day: the date to keep as the learner's latest day with an answer.

        Returns:
            False if the learner moved on meanwhile or the quiz is graded already: read again and decide anew.
        """
        rest = {
            "level_difficulties": [difficulties[level] for level in Level],
            "version": version,
            "last_day": str(last_day),
        }
        document = json.dumps(_columns(grade) | _lesson_columns(lesson) | rest)
        return await self.database.fetchval("persist_answer", document) is not None

    async def get_grades(self, quiz_ids: Iterable[QuizId]) -> dict[QuizId, Grade]:
        """Return what answers changed.

        Args:
            quiz_ids: which quizzes; ungraded ones are absent from the result.
        """
        rows = await self.database.fetch("get_grades", list(quiz_ids))
        return {grade.quiz_id: grade for grade in map(Grade.from_row, rows)}

    async def mark_told(self, quiz_ids: Iterable[QuizId]) -> None:
        """Note that feedback was given, or never can be.

        Args:
            quiz_ids: which quizzes.
        """
        await self.database.execute("mark_told", list(quiz_ids))


def _learner(row: Any) -> Learner:  # noqa: ANN401 - asyncpg.Record or None
    if row is None:
        msg = "no such learner"
        raise LookupError(msg)
    return Learner.from_row(row)


def _columns(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass of plain values
    """Return a dataclass's fields as JSON can hold them."""
    return {
        field.name: str(content) if isinstance(content := getattr(value, field.name), date) else content
        for field in fields(value)
    }


def _lesson_columns(lesson: Lesson) -> dict[str, Any]:
    """Return a lesson as the columns that the query ``persist_answer`` takes."""
    ratings = {
        "ability_before": lesson.ability_before.mean,
        "ability_variance_before": lesson.ability_before.variance,
        "ability_after": lesson.ability_after.mean,
        "ability_variance_after": lesson.ability_after.variance,
        "difficulty": lesson.question_before.mean,
        "difficulty_variance": lesson.question_before.variance,
        "difficulty_after": lesson.question_after.mean,
        "difficulty_variance_after": lesson.question_after.variance,
    }
    memory = lesson.memory and {
        "stability": lesson.memory.stability,
        "memory_difficulty": lesson.memory.difficulty,
        "reviewed_at": lesson.memory.reviewed_at.isoformat(),
        "due_at": lesson.memory.due_at.isoformat(),
    }
    return {"rated": lesson.rated, "success": lesson.success} | ratings | (memory or {})
