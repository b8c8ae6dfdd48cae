"""Questions from a language model: their stock, what they are to be about, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from domain.bank import GenerationSum, Stock
from domain.catalog import GenerationOutcome, Level, Topic
from domain.ids import GenerationId, LearnerId, QuestionId
from domain.models import StoredQuestion
from storage.database import Database
from storage.rows import read, read_question

MAX_TAGS = 5
"""Tags that learners got wrong and a new question may take up."""


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
        return [read(Stock, row) for row in await self.database.fetch("count_stock")]

    async def find_missed_tags(self, learner_id: LearnerId, topic: Topic) -> list[str]:
        """Return what a learner got wrong lately within a topic, most often first."""
        return [row["tag"] for row in await self.database.fetch("find_missed_tags", learner_id, topic, MAX_TAGS)]

    async def find_tags_missed_at(self, topic: Topic, level: Level) -> list[str]:
        """Return what learners get wrong most often within a topic and level."""
        return [row["tag"] for row in await self.database.fetch("find_tags_missed_at", topic, level, MAX_TAGS)]

    async def pick_examples(self, topic: Topic, level: Level, limit: int) -> list[StoredQuestion]:
        """Return some questions of the bank, any of them."""
        rows = await self.database.fetch("pick_examples", topic, level, limit)
        return [read_question(row) for row in rows]

    async def begin_generation(
        self, topic: Topic, level: Level, model: str, reserve: Decimal, budget: Decimal
    ) -> GenerationId | None:
        """Reserve money for a question, or return None when the day's budget would not hold it.

        Args:
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
        """Keep what became of a generation."""
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
        """Return what was generated today (UTC) and on the days before it, by outcome and reason."""
        return [read(GenerationSum, row) for row in await self.database.fetch("sum_generations", days)]
