"""What the choice of the next question, grading and reviews read of learners and questions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from domain.catalog import Level, QuestionSource, Topic
from domain.ids import LearnerId, QuestionId, QuizId
from domain.learning import Candidate, DueReview, GradingFacts, History, Rating, WaitingReviews
from domain.models import StoredQuestion
from storage.database import Database
from storage.rows import read, read_candidate, read_due_review, read_grading_facts, read_question


class LearningStore:
    """Ratings, histories and reviews."""

    database: Database

    async def list_candidates(
        self, sources: Collection[QuestionSource], priors: Mapping[Level, float]
    ) -> list[Candidate]:
        """Return every question that can be asked; one that nobody answered is as hard as its level in ``priors``."""
        rows = await self.database.fetch("list_candidates", list(sources), list(priors), list(priors.values()))
        return [read_candidate(row) for row in rows]

    async def count_learners_asked(self) -> dict[Level, int]:
        """Return how many learners were ever asked anything while they stood on a level."""
        return {Level(row["level"]): row["learners"] for row in await self.database.fetch("count_learners_asked")}

    async def get_level_difficulties(self, priors: Mapping[Level, float]) -> dict[Level, float]:
        """Return the mean difficulty of each level's questions in logits.

        Args:
            priors: by level, the difficulty of a question that nobody answered, and of a level without questions.
        """
        rows = await self.database.fetch("get_level_difficulties", list(priors), list(priors.values()))
        return dict(priors) | {Level(row["level"]): row["difficulty"] for row in rows}

    async def get_item_ratings(self, items: Iterable[str]) -> dict[str, Rating]:
        """Return how hard items have proved to be; those that nobody answered are absent."""
        rows = await self.database.fetch("get_item_ratings", list(items))
        return {row["item"]: read(Rating, row) for row in rows}

    async def get_histories(self, learner_ids: Iterable[LearnerId]) -> dict[LearnerId, History]:
        """Return what learners have had, one entry for each."""
        wanted = list(learner_ids)
        seen: dict[LearnerId, frozenset[QuestionId]] = {}
        for row in await self.database.fetch("list_seen_questions", wanted):
            seen[row["learner_id"]] = frozenset(map(QuestionId, row["question_ids"]))
        scores: dict[LearnerId, dict[Topic, tuple[int, int]]] = {}
        for row in await self.database.fetch("list_topic_scores", wanted):
            scores.setdefault(row["learner_id"], {})[Topic(row["topic"])] = (row["answered"], row["correct"])
        return {i: History(seen.get(i, frozenset()), scores.get(i, {})) for i in wanted}

    async def get_questions_by_id(self, question_ids: Iterable[QuestionId]) -> dict[QuestionId, StoredQuestion]:
        """Return questions; those that must not be asked any more are absent."""
        rows = await self.database.fetch("get_questions_by_id", list(question_ids))
        return {question.id: question for question in map(read_question, rows)}

    async def get_grading_facts(self, quiz_ids: Iterable[QuizId]) -> dict[QuizId, GradingFacts]:
        """Return what grading needs to know beyond quizzes and learners."""
        rows = await self.database.fetch("get_grading_facts", list(quiz_ids))
        return {QuizId(row["quiz_id"]): read_grading_facts(row) for row in rows}

    async def find_due_reviews(
        self, learner_ids: Iterable[LearnerId], at: datetime, every: int, *, asked_for: bool
    ) -> dict[LearnerId, DueReview]:
        """Return for each learner the missed question that has been due for longest, if one is.

        Args:
            every: at most one quiz in so many is a review.
            asked_for: True if they want one now, however many they had.
        """
        rows = await self.database.fetch("find_due_reviews", list(learner_ids), at, asked_for, every - 1)
        return {review.learner_id: review for review in map(read_due_review, rows)}

    async def count_reviews(self, learner_id: LearnerId, at: datetime) -> WaitingReviews:
        """Return how many missed questions wait for a learner."""
        row = await self.database.fetchrow("count_reviews", learner_id, at)
        return read(WaitingReviews, row) if row else WaitingReviews(0, 0, None)
