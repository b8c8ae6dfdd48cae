"""Shows in the metrics what all processes together have of the language model's questions, as the rows tell."""

from __future__ import annotations

from domain.catalog import GenerationOutcome
from domain.settings import Settings
from observability import metrics
from repository import Repository


async def show_generations(repository: Repository, settings: Settings) -> None:
    """Set the gauges of stock, outcomes, tokens and money.

    A refill runs in a process that ends with it, so its own counters would be lost; the rows stay.

    Args:
        repository: with the rows.
        settings: with the budget.

    Raises:
        StorageUnavailableError: the database is away.
    """
    sums = await repository.sum_generations()
    for outcome in GenerationOutcome:
        count = sum(one.questions for one in sums if one.outcome is outcome)
        metrics.LLM_QUESTIONS_TODAY.labels(outcome).set(count)
    metrics.LLM_TOKENS_TODAY.labels("prompt").set(sum(one.prompt_tokens for one in sums))
    metrics.LLM_TOKENS_TODAY.labels("completion").set(sum(one.completion_tokens for one in sums))
    metrics.LLM_COST_TODAY.set(float(sum(one.cost for one in sums)))
    metrics.LLM_BUDGET.set(float(settings.openai_daily_budget_usd))
    for stock in await repository.count_stock():
        metrics.LLM_STOCK.labels(stock.topic, int(stock.level)).set(stock.fresh)
