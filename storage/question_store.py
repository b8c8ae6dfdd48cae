"""The stored questions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from domain.bank import BankEntry, ItemAnswers, QuestionText, ReportedQuestion, TemplateUse
from domain.catalog import Level, QuestionSource, QuestionState, ReportReason, Topic
from domain.ids import LearnerId, QuestionId, QuizId
from domain.models import Learner, StoredQuestion
from storage.database import Database
from storage.rows import read, read_bank_entry, read_question, read_question_text, read_rating


class QuestionStore:
    """Questions: loading the bank, picking from it, doubting it."""

    database: Database

    async def pick_questions(
        self, learners: Sequence[Learner], sources: Collection[QuestionSource]
    ) -> dict[LearnerId, StoredQuestion]:
        """Pick for each learner a question of their level and topics that they have seen least often."""
        rows = await self.database.fetch(
            "pick_questions",
            [learner.id for learner in learners],
            [learner.level for learner in learners],
            [",".join(learner.topics) for learner in learners],
            list(sources),
        )
        return {LearnerId(row["learner_id"]): read_question(row) for row in rows}

    async def get_question(self, key: str) -> StoredQuestion | None:
        """Return a question, or None."""
        return (await self.get_questions([key])).get(key)

    async def get_questions(self, keys: Iterable[str]) -> dict[str, StoredQuestion]:
        """Return questions by their keys; unknown ones are absent."""
        rows = await self.database.fetch("get_questions", list(keys))
        return {question.key: question for question in map(read_question, rows)}

    async def store_question(self, columns: Sequence[object]) -> QuestionId | None:
        """Load one question and return its id, or None if the same content is there already.

        Args:
            columns: the parameters of the query ``upsert_question``, in its order.
        """
        value = await self.database.fetchval("upsert_question", *columns)
        return None if value is None else QuestionId(value)

    async def store_questions(self, rows: Iterable[Sequence[object]]) -> None:
        """Load several questions, all or none; each row has the parameters of the query ``upsert_question``."""
        async with self.database.transaction() as transaction:
            await transaction.executemany("upsert_question", [tuple(columns) for columns in rows])

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

    async def count_questions_by_state(self) -> dict[tuple[QuestionSource, QuestionState], int]:
        """Return how many questions there are of each source in each state."""
        rows = await self.database.fetch("count_questions_by_state")
        return {(QuestionSource(row["source"]), QuestionState(row["state"])): row["questions"] for row in rows}

    # ------------------------------------------------------------ computed questions

    async def count_template_uses(self, learner_ids: Iterable[LearnerId]) -> dict[LearnerId, dict[str, TemplateUse]]:
        """Return how often learners had each template."""
        uses: dict[LearnerId, dict[str, TemplateUse]] = {}
        for row in await self.database.fetch("count_template_uses", list(learner_ids)):
            uses.setdefault(LearnerId(row["learner_id"]), {})[row["template"]] = read(TemplateUse, row)
        return uses

    async def list_resting_templates(self) -> set[str]:
        """Return the templates of which an instance is quarantined."""
        return {row["template"] for row in await self.database.fetch("list_resting_templates")}

    # ------------------------------------------------------------ looking through the bank

    async def list_question_texts(self) -> list[QuestionText]:
        """Return what a new question must not repeat."""
        return [read_question_text(row) for row in await self.database.fetch("list_question_texts")]

    async def list_questions(
        self,
        *,
        keys: Sequence[str] | None = None,
        topic: Topic | None = None,
        level: Level | None = None,
        source: QuestionSource | None = None,
        state: QuestionState | None = None,
    ) -> list[BankEntry]:
        """Return questions with what learners made of them; a filter that is None lets all through."""
        wanted = None if keys is None else list(keys)
        rows = await self.database.fetch("list_questions", wanted, topic, level, source, state)
        return [read_bank_entry(row) for row in rows]

    async def list_item_answers(self, at_least: int) -> list[ItemAnswers]:
        """Return the questions and templates that are asked and have so many first answers since they last changed."""
        rows = await self.database.fetch("list_item_answers", at_least)
        return [read(ItemAnswers, row, difficulty=read_rating(row, "difficulty", "variance")) for row in rows]

    # ------------------------------------------------------------ doubts

    async def quarantine_question(self, key: str, reason: str) -> bool:
        """Stop asking a question, and return whether there is one to stop."""
        return await self.database.fetchval("quarantine_question", key, reason) is not None

    async def restore_question(self, key: str) -> bool:
        """Ask a quarantined question again and forget its reports, and return whether there was one."""
        async with self.database.transaction() as transaction:
            rows = await transaction.fetch("restore_question", key)
            for row in rows:
                await transaction.execute("delete_reports", row["id"])
        return bool(rows)

    async def report_question(self, quiz_id: QuizId, learner_id: LearnerId, reason: ReportReason) -> bool:
        """Keep a learner's doubt about a question, and return whether they may: they answered this quiz."""
        return await self.database.fetchval("report_question", quiz_id, learner_id, reason) is not None

    async def quarantine_reported(self, threshold: int) -> list[str]:
        """Stop asking what enough learners reported.

        Returns:
            The keys of what was stopped now.
        """
        return [row["key"] for row in await self.database.fetch("quarantine_reported", threshold)]

    async def list_reported(self, limit: int) -> list[ReportedQuestion]:
        """Return what learners reported and nobody has settled."""
        return [read(ReportedQuestion, row) for row in await self.database.fetch("list_reported", limit)]
