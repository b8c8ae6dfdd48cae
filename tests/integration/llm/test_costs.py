"""Money: each question's tokens and price are in its row, and a day never costs more than its budget."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from decimal import Decimal

import pytest

from domain.catalog import GenerationOutcome
from domain.errors import ModelUnavailableError
from question_sources.llm.client import MAX_ANSWERING_TOKENS, MAX_WRITING_TOKENS, PROMPT_TOKENS
from question_sources.llm.source import Generation
from tests.conftest import ROOT
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import Desk, content, fresh_question, keep_writing
from tests.support.llm_server import LlmServer, Reply, as_json, blind_answer, completion, failure, written
from tests.support.waiting import WAIT_SECONDS, until

MILLION = Decimal(1_000_000)
LISTED = Decimal("0.25") / MILLION, Decimal("2.00") / MILLION
RESERVED = 4 * PROMPT_TOKENS * LISTED[0] + (MAX_WRITING_TOKENS + 3 * MAX_ANSWERING_TOKENS) * LISTED[1]


def price(prompt_tokens: int, completion_tokens: int) -> Decimal:
    """Return what tokens cost by the default model's list."""
    return prompt_tokens * LISTED[0] + completion_tokens * LISTED[1]


async def test_an_accepted_question_costs_what_its_requests_used(desk: Desk) -> None:
    made = await desk.make(fresh_question())
    (row,) = await desk.rows()
    assert (row["calls"], row["prompt_tokens"], row["completion_tokens"]) == (4, 4 * 300, 4 * 400)
    assert row["cost"] == made.spending.cost == price(1200, 1600) == Decimal("0.0035")


async def test_a_question_that_needs_no_blind_answer_costs_one_request(desk: Desk) -> None:
    made = await desk.make(fresh_question(code="SELECT 1", language="sql"))
    assert made.outcome is GenerationOutcome.QUARANTINED
    (row,) = await desk.rows()
    assert (row["calls"], row["cost"]) == (1, price(300, 400))


async def test_prices_are_exact(new_desk: NewDesk) -> None:
    desk = new_desk(
        openai_blind_answers=1,
        openai_input_usd_per_million=Decimal("0.07"),
        openai_output_usd_per_million=Decimal("0.31"),
    )
    await desk.make(fresh_question())
    assert (await desk.rows())[0]["cost"] == Decimal("0.000290")  # 600 at 0.07 and 800 at 0.31 a million
    assert desk.source._client.highest_cost == (2 * PROMPT_TOKENS * Decimal("0.07") + 12000 * Decimal("0.31")) / MILLION  # noqa: SLF001


@pytest.mark.parametrize(
    ("reply", "prompt", "written_"),
    [
        (failure(500), 0, 0),
        (failure(429), 0, 0),
        (completion("no JSON"), 300, 400),
        (completion('{"pro', finish="length"), 300, 400),
        (completion(None, refusal="No."), 300, 400),
        (content(fresh_question(tags=[])), 300, 400),
        (Reply(b"", delay=30), PROMPT_TOKENS, MAX_WRITING_TOKENS),
    ],
)
async def test_a_request_that_fails_costs_what_it_may_have_used(
    new_desk: NewDesk, reply: Reply, prompt: int, written_: int
) -> None:
    desk = new_desk(openai_timeout_seconds=0.4 if reply.delay else WAIT_SECONDS)
    desk.llm.answer(reply)
    made = await desk.make()
    (row,) = await desk.rows()
    assert (row["outcome"], row["calls"]) == ("failed", 1)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (prompt, written_)
    assert row["cost"] == made.spending.cost == price(prompt, written_)


async def test_blind_answers_that_fail_never_cost_more_than_was_reserved(desk: Desk) -> None:
    silent = json.loads(completion("no JSON").body)
    del silent["usage"]
    desk.llm.answer_blind(as_json(silent))
    await desk.make(fresh_question())
    (row,) = await desk.rows()
    assert row["cost"] == price(300 + 3 * PROMPT_TOKENS, 400 + 3 * MAX_ANSWERING_TOKENS) < RESERVED


# ---------------------------------------------------------------- the budget


async def test_while_a_question_is_made_its_highest_cost_is_reserved(desk: Desk) -> None:
    desk.llm.answer(written(fresh_question()))
    desk.llm.may_answer.clear()
    generating = asyncio.create_task(desk.make())
    while not desk.llm.requests:
        await asyncio.sleep(0.01)
    (row,) = await desk.rows()
    assert (row["outcome"], row["cost"], row["ended_at"]) == ("begun", RESERVED, None)
    desk.llm.may_answer.set()
    await generating
    (row,) = await desk.rows()
    assert (row["outcome"], row["cost"]) == ("accepted", price(1200, 1600))


def attempt(desk: Desk, times: int) -> list[asyncio.Task[Generation]]:
    """Begin to make questions all at once."""
    return [asyncio.create_task(desk.make()) for _ in range(times)]


async def results_of(attempts: list[asyncio.Task[Generation]]) -> tuple[list[Generation], list[ModelUnavailableError]]:
    """Return what was made, and the refusals."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    refusals = [result for result in results if isinstance(result, ModelUnavailableError)]
    made = [result for result in results if isinstance(result, Generation)]
    assert len(made) + len(refusals) == len(attempts), results
    return made, refusals


async def test_twenty_at_once_never_reserve_more_than_the_budget(new_desk: NewDesk) -> None:
    budget = 3 * RESERVED + RESERVED / 2
    desk = new_desk(openai_daily_budget_usd=budget)
    keep_writing(desk.llm)
    desk.llm.may_answer.clear()
    attempts = attempt(desk, 20)
    await until(lambda: sum(one.done() for one in attempts) == 17)
    assert await desk.spent() == 3 * RESERVED <= budget
    desk.llm.may_answer.set()
    made, refusals = await results_of(attempts)
    assert (len(made), len(refusals)) == (3, 17)
    assert "today's budget of $" in str(refusals[0])
    assert len(desk.llm.requests) == len(await desk.rows()) == 3
    assert await desk.spent() == 3 * price(1200, 1600)


async def test_what_was_reserved_and_not_used_serves_the_next(new_desk: NewDesk) -> None:
    budget = RESERVED + 3 * price(1200, 1600)
    desk = new_desk(openai_daily_budget_usd=budget)
    keep_writing(desk.llm)
    for _ in range(4):
        assert (await desk.make()).outcome is GenerationOutcome.ACCEPTED
        assert await desk.spent() <= budget
    with pytest.raises(ModelUnavailableError, match="today's budget"):
        await desk.make()
    assert len(desk.llm.requests) == 4


async def test_yesterday_has_its_own_budget(new_desk: NewDesk) -> None:
    desk = new_desk(openai_daily_budget_usd=RESERVED)
    keep_writing(desk.llm)
    await desk.make()
    with pytest.raises(ModelUnavailableError):
        await desk.make()
    pool = desk.repository.database._pool  # noqa: SLF001 - a day cannot be waited for
    await pool.execute("UPDATE generations SET begun_at = begun_at - interval '1 day'")
    assert (await desk.make()).outcome is GenerationOutcome.ACCEPTED


@pytest.mark.parametrize("prices", [{}, {"openai_input_usd_per_million": 0, "openai_output_usd_per_million": 0}])
async def test_a_budget_of_nothing_stops_everything(new_desk: NewDesk, prices: dict[str, object]) -> None:
    desk = new_desk(openai_daily_budget_usd=Decimal(0), **{name: Decimal(0) for name in prices})
    keep_writing(desk.llm)
    with pytest.raises(ModelUnavailableError, match="budget"):
        await desk.make()
    assert desk.llm.requests == []
    assert await desk.rows() == []


async def test_a_model_that_costs_nothing_is_never_too_dear(new_desk: NewDesk) -> None:
    free = {"openai_input_usd_per_million": Decimal(0), "openai_output_usd_per_million": Decimal(0)}
    desk = new_desk(openai_daily_budget_usd=Decimal("0.01"), **free)
    keep_writing(desk.llm)
    made, refusals = await results_of(attempt(desk, 3))
    assert (len(made), refusals) == (3, [])
    assert await desk.spent() == 0


# ---------------------------------------------------------------- a process that is killed

KILLED = """
import asyncio, sys
from pydantic import SecretStr
from redis.asyncio import Redis
from domain.catalog import Level, Topic
from domain.settings import Settings
from question_sources.llm.source import LlmSource
from repository import Repository
from tests.support.pooler import connect

async def main():
    settings = Settings(_env_file=None, openai_api_key=SecretStr("sk-test"), openai_base_url=sys.argv[1])
    repository = Repository(await connect(sys.argv[2]))
    source = LlmSource.connect(repository, settings, Redis.from_url(sys.argv[3]))
    await source.generate(Topic.STREAMING, Level.EXPERT)

asyncio.run(main())
"""


async def test_a_killed_process_leaves_its_reservation(
    llm: LlmServer, repository_url: str, redis_url: str, new_desk: NewDesk
) -> None:
    llm.answer(Reply(b"", delay=60))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, llm.url, repository_url, redis_url, cwd=ROOT, env=dict(os.environ)
    )
    async with asyncio.timeout(WAIT_SECONDS):
        while not llm.requests:
            assert process.returncode is None
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    desk = new_desk(openai_daily_budget_usd=RESERVED + RESERVED / 2)
    (row,) = await desk.rows()
    assert (row["outcome"], row["cost"], row["ended_at"]) == ("begun", RESERVED, None)
    with pytest.raises(ModelUnavailableError, match="today's budget"):
        await desk.make(fresh_question())


async def test_what_is_made_after_a_wrong_answer_is_paid_for_as_well(desk: Desk) -> None:
    desk.llm.answer_blind(blind_answer("A"))
    await desk.make(fresh_question())
    await desk.make(fresh_question())
    assert [row["cost"] for row in await desk.rows()] == [price(1200, 1600)] * 2
