"""The refill: what is short gets written, on a real Prefect server, until the stock, the money or the model ends."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from domain.bank import Stock
from domain.catalog import Level, QuizKind, Topic
from domain.errors import StorageUnavailableError
from domain.settings import Settings
from flows import refill
from flows.context import use_context
from question_sources.picker import QuestionPicker
from question_sources.stored import BANK, StaticSource
from quiz_generator import QuestionGenerator, QuestionSourceStrategy
from quizzes.context import QuizContext
from sandbox import sql
from tests.integration.llm.conftest import NewDesk
from tests.integration.llm.support import KEY, Desk, content, executed_question, fresh_question, keep_writing
from tests.support.classroom import Classroom, RecordingMessenger
from tests.support.llm_server import failure, written

pytestmark = pytest.mark.prefect

CELLS = len(Topic) * len(Level)
NOTHING = {"accepted": 0, "quarantined": 0, "failed": 0, "not_begun": 0}


def services_of(desk: Desk, *, keyless: bool = False) -> QuizContext:
    """Return a context whose generator has the written source."""
    sources: list[QuestionSourceStrategy] = [StaticSource(QuestionPicker(desk.repository, BANK))]
    if not keyless:
        sources.append(desk.source)
    return QuizContext(desk.settings, desk.repository, QuestionGenerator(sources), RecordingMessenger())


@pytest.fixture
def _flow(desk: Desk, prefect_url: str) -> Iterator[None]:
    """Let the flow work with the context."""
    with use_context(services_of(desk)):
        yield


Table = Callable[[], Awaitable[tuple[str, str]]]


@pytest.fixture
def table(prefect_url: str) -> Table:
    """Return what reads the latest table: its description and its text."""

    async def latest() -> tuple[str, str]:
        async with get_client() as client:
            key = ArtifactFilter(key=ArtifactFilterKey(any_=["refilled-questions"]))
            (artifact,) = await client.read_artifacts(artifact_filter=key, sort=ArtifactSort.CREATED_DESC, limit=1)
        return str(artifact.description), str(artifact.data)

    return latest


async def stocks(desk: Desk) -> dict[tuple[Topic, Level], Stock]:
    """Return the stock by topic and level."""
    return {(stock.topic, stock.level): stock for stock in await desk.repository.count_stock()}


# ---------------------------------------------------------------- what is short


async def test_the_stock_is_counted_for_every_topic_and_level(desk: Desk) -> None:
    assert len(await stocks(desk)) == CELLS
    await desk.make(fresh_question(), topic=Topic.DATA_QUALITY, level=Level.EXPERT)
    counted = await stocks(desk)
    assert counted.pop((Topic.DATA_QUALITY, Level.EXPERT)) == Stock(Topic.DATA_QUALITY, Level.EXPERT, 1, 1)
    assert {(stock.active, stock.fresh) for stock in counted.values()} == {(0, 0)}


async def test_a_question_is_fresh_until_the_learner_who_had_the_most_has_had_it(desk: Desk) -> None:
    for _ in range(3):
        await desk.make(fresh_question(), topic=Topic.STREAMING, level=Level.EXPERT)
    classroom = Classroom(desk.repository, Settings(_env_file=None))
    classroom.context = replace(classroom.context, generator=QuestionGenerator([desk.source]))
    one, other = [
        await classroom.join(preferred_topics=(Topic.STREAMING,), default_difficulty=Level.EXPERT) for _ in range(2)
    ]
    fresh = []
    for learner in (one, one, other, one):
        await classroom.answer(learner, right=True)
        stock = (await stocks(desk))[Topic.STREAMING, Level.EXPERT]
        fresh.append((stock.active, stock.fresh))
    assert fresh == [(3, 2), (3, 1), (3, 1), (3, 0)]
    await desk.repository.quarantine_question((await desk.stock())[0], "doubted")
    stock = (await stocks(desk))[Topic.STREAMING, Level.EXPERT]
    assert (stock.active, stock.fresh) == (2, 0)
    (delivery,) = await classroom.serve(one, QuizKind.DAILY)
    assert delivery.quiz_id is None


def test_the_emptiest_are_dealt_first_and_all_in_turns() -> None:
    def short(topic: Topic, fresh: int) -> Stock:
        return Stock(topic, Level.EXPERT, fresh, fresh)

    dealt = refill._deal([short(Topic.STREAMING, 0), short(Topic.DATA_QUALITY, 1)], 3)  # noqa: SLF001 - the order
    assert [topic for topic, _ in dealt] == [
        Topic.STREAMING,
        Topic.DATA_QUALITY,
        Topic.STREAMING,
        Topic.DATA_QUALITY,
        Topic.STREAMING,
    ]


# ---------------------------------------------------------------- the flow


@pytest.mark.usefixtures("_flow")
async def test_it_fills_what_is_wanted_and_then_has_nothing_to_do(desk: Desk, table: Table) -> None:
    keep_writing(desk.llm)
    wanted: dict[str, Any] = {
        "topics": [Topic.STREAMING, Topic.DATA_QUALITY],
        "levels": [Level.EXPERT],
        "stock_per_cell": 2,
    }
    assert await refill.refill_question_bank(**wanted) == NOTHING | {"accepted": 4}
    filled = {cell: stock.fresh for cell, stock in (await stocks(desk)).items() if stock.fresh}
    assert filled == {(Topic.STREAMING, Level.EXPERT): 2, (Topic.DATA_QUALITY, Level.EXPERT): 2}
    description, text = await table()
    assert description == "4 questions for US$ 0.0140; every wanted question was begun."
    for shown in ("Streaming", "Data quality", "Expert", "accepted", "0.0035", *(await desk.stock())):
        assert shown in text
    assert await refill.refill_question_bank(**wanted) == NOTHING
    assert "0 questions for US$ 0.0000; every wanted question was begun." in (await table())[0]
    assert len(desk.llm.requests) == 4


@pytest.mark.usefixtures("_flow")
async def test_it_begins_with_the_emptiest_and_stops_at_so_many(desk: Desk) -> None:
    keep_writing(desk.llm)
    for topic in Topic:
        if topic not in {Topic.ORCHESTRATION, Topic.GOVERNANCE_SECURITY}:
            await desk.make(topic=topic, level=Level.BEGINNER)
    before = len(desk.llm.requests)
    counts = await refill.refill_question_bank(levels=[Level.BEGINNER], at_most=3)
    assert counts == NOTHING | {"accepted": 3}
    asked = [request["messages"][-1]["content"].split(".")[0] for request in desk.llm.requests[before:]]
    empty = {f"Topic: {topic.label}" for topic in (Topic.ORCHESTRATION, Topic.GOVERNANCE_SECURITY)}
    assert set(asked[:2]) == empty
    assert len(asked) == 3


@pytest.mark.usefixtures("_flow")
async def test_the_settings_say_how_many_to_keep(new_desk: NewDesk) -> None:
    desk = new_desk(llm_stock_per_cell=1)
    keep_writing(desk.llm)
    with use_context(services_of(desk)):
        counts = await refill.refill_question_bank(topics=[Topic.STREAMING])
        assert counts == NOTHING | {"accepted": len(Level)}
        assert await refill.refill_question_bank(topics=[Topic.STREAMING], stock_per_cell=0) == NOTHING


@pytest.mark.usefixtures("_flow")
async def test_what_is_refused_or_fails_is_told_with_its_reason(desk: Desk, table: Table) -> None:
    bad_key = fresh_question()
    desk.llm.answer(
        written(bad_key, right_option=bad_key["options"][0]["text"]),
        written(fresh_question(code="SELECT 1", language="sql")),
        failure(401, f"Incorrect API key provided: {KEY}"),
        content(fresh_question(tags=[])),
    )
    counts = await refill.refill_question_bank(topics=[Topic.STREAMING], stock_per_cell=1)
    assert counts == NOTHING | {"quarantined": 2, "failed": 2}
    _, text = await table()
    for reason in ("agreed with the key", "without a check", "http_401: Incorrect API key provided: ", "schema: tags"):
        assert reason in text
    assert KEY not in text
    assert await desk.reaches_nobody()


@pytest.mark.usefixtures("_flow")
async def test_it_stops_when_the_budget_is_spent_and_says_so(new_desk: NewDesk, table: Table) -> None:
    desk = new_desk(openai_daily_budget_usd=Decimal("0.053"))  # one reservation of 0.044 and three questions of 0.0035
    keep_writing(desk.llm)
    with use_context(services_of(desk)):
        counts = await refill.refill_question_bank(topics=[Topic.STREAMING], stock_per_cell=3)
    begun = sum(counts.values()) - counts["not_begun"]
    assert 1 <= begun <= 3
    assert counts == NOTHING | {"accepted": begun, "not_begun": 12 - begun}
    description, _ = await table()
    assert (
        f"{12 - begun} not begun: The language model is not called at the moment: today's budget of $0.053"
        in description
    )
    assert await desk.spent() <= desk.settings.openai_daily_budget_usd


@pytest.mark.usefixtures("_flow")
async def test_it_stops_when_the_gate_closes_and_says_so(desk: Desk, table: Table) -> None:
    desk.llm.answer(failure(500))
    counts = await refill.refill_question_bank(stock_per_cell=1, at_most=20)
    assert 5 <= counts["failed"] <= 6  # one more may be under way when the fifth fails
    assert counts == NOTHING | {"failed": counts["failed"], "not_begun": 20 - counts["failed"]}
    description, cells = await table()
    assert any(f"{n} failures in a row, the last: http_500: it failed" in description for n in (5, counts["failed"]))
    assert '"why": "http_500: it failed"' in cells
    assert len(desk.llm.requests) == counts["failed"]


@pytest.mark.usefixtures("_flow")
async def test_a_provider_that_asks_to_wait_ends_it(desk: Desk, table: Table) -> None:
    desk.llm.answer(failure(429, retry_after="30"))
    counts = await refill.refill_question_bank(stock_per_cell=1, at_most=10)
    assert 1 <= counts["failed"] <= 2
    assert counts["failed"] + counts["not_begun"] == 10
    assert "the provider asks to wait (rate_limited: it failed)" in (await table())[0]


@pytest.mark.usefixtures("_flow")
async def test_a_database_that_goes_away_in_the_middle_ends_it_and_keeps_what_is_made(
    desk: Desk, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_writing(desk.llm)
    begin = desk.repository.begin_generation
    begun = 0

    async def begin_twice(*arguments: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun > 2:
            raise StorageUnavailableError("connection refused")
        return await begin(*arguments)

    monkeypatch.setattr(desk.repository, "begin_generation", begin_twice)
    counts = await refill.refill_question_bank(stock_per_cell=1, at_most=6)
    assert counts == NOTHING | {"accepted": 2, "not_begun": 4}
    assert "The database cannot be reached: connection refused" in (await table())[0]


@pytest.mark.usefixtures("_flow")
async def test_a_broken_sandbox_ends_it_with_one_line(
    desk: Desk, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql.close()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # no process can be started
    desk.llm.answer(written(executed_question("duckdb", "SELECT 2", ("2", "3", "1", "0"))))
    counts = await refill.refill_question_bank(stock_per_cell=1, at_most=8)
    assert counts == NOTHING | {"not_begun": 8}
    assert len(await desk.rows()) <= 2
    assert "The sandbox failed" in (await table())[0]


async def test_without_a_key_it_ends_with_one_line(desk: Desk, table: Table) -> None:
    with use_context(services_of(desk, keyless=True)):
        assert await refill.refill_question_bank() == NOTHING
    description, text = await table()
    assert description == "0 questions for US$ 0.0000; no questions are written: OPENAI_API_KEY is not set."
    assert "nothing was written" in text
    assert desk.llm.requests == []
