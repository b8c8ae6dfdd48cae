"""The stored questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from domain.catalog import Level, Topic
from domain.ids import LearnerId, QuestionId
from domain.models import Learner, Question
from sql.database import Database


class QuestionStore:
    """Questions: loading the bank, picking from it."""

    database: Database

    async def pick_questions(self, learners: Sequence[Learner]) -> dict[LearnerId, Question]:
        """Pick for each learner a question of their level and topics that they have seen least often.

        Args:
            learners: their states; one for whom nothing fits is absent from the result.
        """
        rows = await self.database.fetch(
            "pick_questions",
            [learner.id for learner in learners],
            [learner.level for learner in learners],
            [",".join(learner.topics) for learner in learners],
        )
        return {LearnerId(row["learner_id"]): Question.from_row(row) for row in rows}

    async def get_question(self, key: str) -> Question | None:
        """Return a question, or None.

        Args:
            key: its id in the bank.
        """
        row = await self.database.fetchrow("get_question", key)
        return Question.from_row(row) if row else None

    async def store_question(self, columns: Sequence[object]) -> QuestionId | None:
        """Load one question and return its id, or None if the same content is there already.

        Args:
            columns: the parameters of the query ``upsert_question``, in its order.
        """
        value = await self.database.fetchval("upsert_question", *columns)
        return None if value is None else QuestionId(value)

    async def sync_static_questions(
        self, questions: Mapping[str, Sequence[object]], keep_topics: Iterable[Topic]
    ) -> tuple[int, int]:
        """Bring the stored static bank to what the files say.

        Args:
            questions: by key, the parameters of ``upsert_question`` in its order.
            keep_topics: topics with a file that could not be read, whose stored questions stay as they are.

        Returns:
            How many questions were added or changed, and how many retired.
        """
        kept = set(keep_topics)
        async with self.database.transaction() as transaction:
            await transaction.execute("lock_schema")
            stored = {row["key"]: row for row in await transaction.fetch("list_question_hashes")}
            changed = [
                tuple(columns)
                for key, columns in questions.items()
                if key not in stored or stored[key]["content_hash"] != columns[1] or stored[key]["state"] == "retired"
            ]
            gone = [
                key
                for key, row in stored.items()
                if key not in questions and row["state"] == "active" and row["topic"] not in kept
            ]
            if changed:
                await transaction.executemany("upsert_question", changed)
            if gone:
                await transaction.execute("retire_questions", gone)
        return len(changed), len(gone)

    async def count_questions(self) -> dict[tuple[Topic, Level], int]:
        """Return how many questions can be asked, by topic and level."""
        rows = await self.database.fetch("count_questions")
        return {(Topic(row["topic"]), Level(row["level"])): row["questions"] for row in rows}
