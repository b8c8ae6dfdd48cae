"""Shows in the metrics how all processes together stand with their questions, as the rows tell."""

from __future__ import annotations

import contextlib

from domain.catalog import GenerationOutcome, QuestionState
from domain.errors import ModelUnavailableError
from domain.settings import Settings
from observability import metrics
from question_sources.llm.breaker import LlmBreaker
from repository import Repository

_OF_GENERATIONS = (
    metrics.LLM_QUESTIONS_TODAY,
    metrics.LLM_TOKENS_TODAY,
    metrics.LLM_COST_TODAY,
    metrics.LLM_BUDGET,
    metrics.LLM_STOCK,
)


async def show_questions(repository: Repository) -> None:
    """Set the gauge of questions in doubt.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    with metrics.known(metrics.QUESTIONS_QUARANTINED):
        counts = await repository.count_questions_by_state()
        doubted = sum(count for (_, state), count in counts.items() if state is QuestionState.QUARANTINED)
        metrics.QUESTIONS_QUARANTINED.set(doubted)


async def show_generations(repository: Repository, breaker: LlmBreaker, settings: Settings) -> None:
    """Set the gauges of stock, outcomes, tokens, money and the breaker.

    A refill runs in a process that ends with it, so its own counters would be lost; the rows stay.

    Raises:
        StorageUnavailableError: the database is unavailable.
    """
    with contextlib.suppress(ModelUnavailableError):
        await breaker.check()  # sets the gauge of an open breaker
    with metrics.known(*_OF_GENERATIONS):
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
