"""How Postgres finds rows once there are many: no statement of a learner's way reads a large table whole."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from dev.benchmarks.population import populate
from storage.loader import load_queries

LEARNERS = 4_000
LARGE = {"learners", "quizzes", "answers", "updates", "reviews"}

QUERIES = load_queries()

OFTEN = [
    "store_update",
    "count_waiting_of_learner",
    "claim_updates",
    "extend_claims",
    "finish_updates",
    "get_learners",
    "group_by_bot",
    "set_daily_at",
    "set_blocked",
    "find_due_learners",
    "advance_daily",
    "delete_learner",
    "anonymize_updates",
    "list_seen_questions",
    "list_topic_scores",
    "list_recent_answers",
    "count_template_uses",
    "find_due_reviews",
    "count_reviews",
    "get_grading_facts",
    "create_quizzes",
    "find_open_quizzes",
    "get_quizzes",
    "begin_sending",
    "mark_sent",
    "count_awaiting_daily",
    "list_daily_results",
    "find_stalled_quizzes",
    "record_taps",
    "is_first_text",
    "close_other_topics",
    "claim_stale_messages",
    "delete_stale_message",
    "find_ungraded_quizzes",
    "find_missing_feedback",
    "persist_answer",
    "get_grades",
    "mark_feedback_sent",
    "get_best_streak",
    "find_missed_tags",
    "report_question",
    "export_learner",
    "list_daily_backlogs",
    "count_failed_today",
]
"""Statements that run for each update, quiz or answer, or every few seconds."""


@pytest.fixture(scope="module")
async def many_url(copy_template: Callable[[str], Awaitable[str]]) -> str:
    """Return the URL of a database with thousands of learners, enough for an index to pay."""
    url = await copy_template("test_plans")
    await populate(url, LEARNERS, 5, lambda _: None)
    return url


SAMPLES: dict[str, str] = {
    "bigint": "10000001",
    "int8": "10000001",
    "int4": "1",
    "int2": "1",
    "text": "'x'",
    "bool": "true",
    "float8": "0.5",
    "numeric": "1",
    "timestamptz": "now()",
    "date": "current_date",
    "time": "'10:00'",
    "interval": "'1 minute'",
    "jsonb": '\'{"quiz_id": 1, "learner_id": 10000001, "version": 5}\'',
    "int8[]": "'{10000001,10000002,10000003}'",
    "int4[]": "'{1}'",
    "int2[]": "'{1}'",
    "text[]": "'{x}'",
    "bool[]": "'{true}'",
    "timestamptz[]": "array[now()]",
    "float8[]": "'{0.5}'",
}


async def plan_of(connection: asyncpg.Connection[asyncpg.Record], name: str) -> dict[str, Any]:
    """Return the plan of a query for ordinary values."""
    kinds = [kind.name for kind in (await connection.prepare(QUERIES[name])).get_parameters()]
    text = re.sub(r"\$(\d+)", lambda match: f"({sample(kinds[int(match[1]) - 1])})", QUERIES[name])
    (row,) = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {text}"))
    return dict(row["Plan"])


def sample(kind: str) -> str:
    """Return an ordinary value of a type as SQL."""
    return f"{SAMPLES[kind]}::{kind}"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's nodes."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize("name", OFTEN)
async def test_a_statement_that_runs_often_reads_no_large_table_whole(name: str, many_url: str) -> None:
    connection = await asyncpg.connect(many_url)
    try:
        plan = await plan_of(connection, name)
    finally:
        await connection.close()
    whole = [node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"]
    assert LARGE.isdisjoint(whole), json.dumps(plan, indent=1)


WAITING = """
INSERT INTO quizzes (learner_id, question_id, kind, local_day, state, option_order, touched_at, expires_at)
SELECT id, (SELECT min(id) FROM questions), 'daily', current_date + 1, 'pending', '{0,1,2,3}',
       now() - interval '1 hour', now() + interval '1 day'
FROM learners
"""


async def test_the_look_for_stalled_quizzes_reads_as_many_as_it_returns_however_many_wait(many_url: str) -> None:
    connection = await asyncpg.connect(many_url)
    text = (
        QUERIES["find_stalled_quizzes"].replace("$1", "interval '1 minute'").replace("$2", "100").replace("$3", "NULL")
    )
    async with rolled_back(connection):
        await connection.execute(f"{WAITING}; ANALYZE quizzes")
        (row,) = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}"))
    await connection.close()
    [read] = [node for node in nodes(row["Plan"]) if node.get("Relation Name") == "quizzes"]
    assert read["Actual Rows"] * read["Actual Loops"] == row["Plan"]["Actual Rows"] == 100
    assert read["Rows Removed by Filter"] == 0


@contextlib.asynccontextmanager
async def rolled_back(connection: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[None]:
    """Undo what is done within."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def test_a_plan_that_reads_a_table_whole_would_be_noticed(many_url: str) -> None:
    connection = await asyncpg.connect(many_url)
    (row,) = json.loads(
        await connection.fetchval("EXPLAIN (FORMAT JSON) SELECT count(*) FROM answers WHERE NOT correct")
    )
    await connection.close()
    assert "Seq Scan" in {node["Node Type"] for node in nodes(row["Plan"])}
