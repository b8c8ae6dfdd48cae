"""Questions from a language model: their stock, what they are to be about, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from domain.bank import GenerationSum, Stock
from domain.catalog import GenerationOutcome, Level, Topic
from domain.ids import GenerationId, LearnerId, QuestionId
from domain.models import Question
from sql.database import Database


@dataclass(frozen=True, slots=True)
class Spending:
    """What a generation used."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)
    """US dollars."""


class GenerationStore:
    """The rows that keep a model honest about its stock and its budget."""

    database: Database

    async def count_stock(self) -> list[Stock]:
        """Return the stock of each topic and level, in the catalogue's order."""
        return [Stock.from_row(row) for row in await self.database.fetch("count_stock")]

    async def find_missed_tags(self, learner_id: LearnerId, topic: Topic, limit: int = 5) -> list[str]:
        """Return what a learner got wrong lately within a topic, most often first.

        Args:
            learner_id: who.
            topic: within which.
            limit: how many at most.
        """
        return [row["tag"] for row in await self.database.fetch("find_missed_tags", learner_id, topic, limit)]

    async def find_tags_missed_at(self, topic: Topic, level: Level, limit: int = 5) -> list[str]:
        """Return what learners get wrong most often within a topic and level.

        Args:
            topic: within which.
            level: at which.
            limit: how many at most.
        """
        return [row["tag"] for row in await self.database.fetch("find_tags_missed_at", topic, level, limit)]

    async def pick_examples(self, topic: Topic, level: Level, limit: int) -> list[Question]:
        """Return some questions of the bank, any of them.

        Args:
            topic: within which.
            level: at which.
            limit: how many at most.
        """
        rows = await self.database.fetch("pick_examples", topic, level, limit)
        return [Question.from_row(row) for row in rows]

    async def begin_generation(
        self, topic: Topic, level: Level, model: str, reserve: Decimal, budget: Decimal
    ) -> GenerationId | None:
        """Reserve money for a question, or return None when the day's budget would not hold it.

        Args:
            topic: within which.
            level: at which.
            model: who writes.
            reserve: US dollars that it may cost at most.
            budget: US dollars a day (UTC).
        """
        async with self.database.transaction() as transaction:
            await transaction.execute("lock_budget")
            rows = await transaction.fetch("begin_generation", topic, level, model, reserve, budget)
        return GenerationId(rows[0]["id"]) if rows else None

    async def end_generation(
        self,
        generation_id: GenerationId,
        outcome: GenerationOutcome,
        reason: str | None,
        question_id: QuestionId | None,
        spending: Spending,
    ) -> None:
        """Keep what became of a generation.

        Args:
            generation_id: which.
            outcome: how it ended.
            reason: why, unless it was accepted.
            question_id: the question that it made, if it made one.
            spending: what it used.
        """
        await self.database.execute(
            "end_generation",
            generation_id,
            outcome,
            reason,
            question_id,
            spending.calls,
            spending.prompt_tokens,
            spending.completion_tokens,
            spending.cost,
        )

    async def sum_generations(self, days: int = 1) -> list[GenerationSum]:
        """Return what was generated lately, by outcome and reason.

        Args:
            days: today (UTC) and the days before it, at least 1.
        """
        return [GenerationSum.from_row(row) for row in await self.database.fetch("sum_generations", days)]
