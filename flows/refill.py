"""The flow that keeps a stock of verified questions from a language model, so that no learner ever waits for one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

from prefect import flow, runtime, task
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact
from pydantic import Field

from domain.bank import Stock
from domain.catalog import GenerationOutcome, Level, Topic
from domain.errors import ModelUnavailableError, SandboxError, StorageUnavailableError
from flows.context import RETRIES, current_context, run_context
from flows.progress import move_bar
from observability.logs import redact
from question_sources.llm.source import Generation

MAX_CONCURRENT = 2
"""Questions being generated at once: enough to keep busy, few enough to notice a failing model early."""


def _run_name() -> str:
    wanted = runtime.flow_run.parameters.get("topics") or []
    return f"refill · {', '.join(str(topic) for topic in wanted)}" if wanted else "refill · all topics"


@task(name="find shortages", **RETRIES)
async def find_shortages(topics: Sequence[Topic], levels: Sequence[Level], target: int) -> list[Stock]:
    """Return the topics and levels whose stock is short, the emptiest first."""
    stocks = await current_context().repository.count_stock()
    short = [s for s in stocks if s.topic in topics and s.level in levels and s.fresh < target]
    return sorted(short, key=lambda stock: stock.fresh)


@task(name="write and verify a question", task_run_name="write {topic} {level}")
async def write(topic: Topic, level: Level) -> Generation:
    """Generate one question; see `LlmSource.generate`. No retries: each would cost money."""
    llm = current_context().generator.llm
    if llm is None:
        raise ModelUnavailableError("OPENAI_API_KEY is not set")
    return await llm.generate(topic, level)


@flow(name="refill_question_bank", flow_run_name=_run_name)
async def refill_question_bank(
    topics: list[Topic] | None = None,
    levels: list[Level] | None = None,
    stock_per_cell: Annotated[int, Field(ge=0, le=100)] | None = None,
    at_most: Annotated[int, Field(ge=1, le=1000)] = 24,
) -> dict[str, int]:
    """Write questions with the language model until each topic and level has its stock, and verify each of them.

    Args:
        topics: only these; all when empty.
        levels: only these (1 to 4); all when empty.
        stock_per_cell: fresh questions to keep for each topic and level; as the service's settings say when empty.
        at_most: questions to begin in this run.

    Returns:
        How many questions were accepted, quarantined and failed, and how many were not begun.
    """
    async with run_context() as context:
        if context.generator.llm is None:
            await _publish([], "no questions are written: OPENAI_API_KEY is not set")
            return _count([], 0)
        target = context.settings.llm_stock_per_cell if stock_per_cell is None else stock_per_cell
        short = await find_shortages(topics or list(Topic), levels or list(Level), target)
        wanted = _deal(short, target)[:at_most]
        made, reason = await _write_all(wanted)
        missing = len(wanted) - len(made)
        await _publish(made, f"{missing} not begun: {reason}" if missing else "every wanted question was begun")
        return _count(made, missing)


def _deal(short: Sequence[Stock], target: int) -> list[tuple[Topic, Level]]:
    """Return what to write, one round over all shortages after the other."""
    rounds = range(target)
    return [(stock.topic, stock.level) for done in rounds for stock in short if stock.fresh + done < target]


async def _write_all(wanted: Sequence[tuple[Topic, Level]]) -> tuple[list[Generation], str]:
    """Write questions until all are begun or the model is not to be asked any more; return also why it stopped."""
    cells = iter(wanted)
    made: list[Generation] = []
    reasons: list[str] = []
    progress_id = await acreate_progress_artifact(0.0, key="refill-progress", description=f"{len(wanted)} questions")

    async def writer() -> None:
        for topic, level in cells:
            if reasons:
                return
            try:
                made.append(await write(topic, level))
            except (ModelUnavailableError, SandboxError, StorageUnavailableError) as error:
                reasons.append(redact(str(error)))
                return
            await move_bar(progress_id, 100 * len(made) / len(wanted))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(MAX_CONCURRENT, len(wanted))):
            group.create_task(writer())
    await move_bar(progress_id, 100.0)
    return made, reasons[0] if reasons else ""


def _count(made: Sequence[Generation], not_begun: int) -> dict[str, int]:
    counts = Counter(one.outcome.value for one in made)
    ended = (GenerationOutcome.ACCEPTED, GenerationOutcome.QUARANTINED, GenerationOutcome.FAILED)
    return {outcome.value: counts[outcome.value] for outcome in ended} | {"not_begun": not_begun}


async def _publish(made: Sequence[Generation], note: str) -> None:
    """Keep a table of what was written, what became of it and what it cost."""
    rows: list[dict[str, Any]] = [
        {
            "topic": one.topic.label,
            "level": one.level.label,
            "outcome": one.outcome.value,
            "why": redact(one.reason or ""),
            "question": one.key or "",
            "requests": one.spending.calls,
            "tokens": one.spending.prompt_tokens + one.spending.completion_tokens,
            "US$": f"{one.spending.cost:.4f}",
        }
        for one in sorted(made, key=lambda one: one.outcome.value, reverse=True)
    ]
    total = sum((one.spending.cost for one in made), start=Decimal(0))
    with contextlib.suppress(Exception):  # what is written is kept, with or without its table
        await acreate_table_artifact(
            rows or [{"outcome": "nothing was written"}],
            key="refilled-questions",
            description=f"{len(made)} questions for US$ {total:.4f}; {note}.",
        )
