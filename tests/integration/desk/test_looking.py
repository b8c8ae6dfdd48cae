"""Operators list, show and count questions, stop asking one, and ask it again."""

from __future__ import annotations

import json

import pytest

from domain.catalog import CheckEngine, Level, QuestionSource, QuestionState, Topic
from question_bank.format import Check, Option
from question_bank.rows import question_columns
from repository import Repository
from tests.integration.desk.support import KEY, Desk, answer, run_sql
from tests.support.factories import make_bank_question


async def test_a_list_tells_what_there_is_and_how_much_of_it_is_shown(desk: Desk, repository: Repository) -> None:
    await answer(repository, KEY, right=3, wrong=1)
    status, output, _ = await desk(
        "list", "--topic", "streaming", "--level", "beginner", "--state", "active", "--limit", 2
    )
    assert status == 0
    header, _, first, second, *_, last = output.splitlines()
    assert header.split() == ["Question", "Topic,", "level", "Source,", "state", "Asked", "Right", "Reports"]
    assert first.split() == [KEY, "streaming", "static", "4", "75%"]
    assert second.startswith("Which number is ")
    assert second.split()[-3:] == ["1", "Beginner", "active"]
    assert last == "2 of 3 questions; --limit N shows more"
    assert max(map(len, output.splitlines())) <= 100


async def test_the_longest_names_fit_the_table(desk: Desk, repository: Repository) -> None:
    question = make_bank_question(id="k" * 64, prompt="p" * 400)
    columns = question_columns(question, Topic.DATA_WAREHOUSE_LAKEHOUSE, QuestionSource.IMPORTED, doubt="why not")
    await repository.store_question(columns)
    _, output, _ = await desk("list", "--state", "quarantined")
    assert "quarantined" in output
    assert "data_warehouse_lakehouse" in output
    assert output.count("k") - output.count("lakehouse") >= 64  # the whole key, if on two lines
    assert max(map(len, output.splitlines())) <= 100


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (["--topic", "data-quality", "--level", "4", "--state", "active"], {f"data-quality-4-{n}" for n in range(3)}),
        (["--source", "imported"], set()),
        (["--state", "quarantined"], {KEY}),
        (["--search", "STREAMING-4-2"], {"streaming-4-2"}),
        (["--reported"], {KEY, "streaming-2-0"}),
    ],
)
async def test_filters_choose(desk: Desk, repository: Repository, filters: list[str], keys: set[str]) -> None:
    await answer(repository, KEY, right=0, wrong=2, report=True)
    await answer(repository, "streaming-2-0", right=0, wrong=3, report=True)
    await repository.quarantine_question(KEY, "in doubt")
    _, output, _ = await desk("list", "--json", *filters)
    found = json.loads(output)
    assert {entry["key"] for entry in found} == keys
    if filters == ["--reported"]:
        assert [entry["reports"] for entry in found] == [3, 2]


async def test_nothing_found_is_said(desk: Desk) -> None:
    assert await desk("list", "--search", "no question says this") == (0, "no questions like that\n", "")


async def test_a_question_is_shown_with_all_that_is_known(desk: Desk, repository: Repository) -> None:
    question = make_bank_question(
        id="shown",
        code="SELECT [1]",
        language="sql",
        options=[Option(text=f"[b]{n} rows[/b]", why=f"why {n}", value=str(n), correct=n == 2) for n in range(4)],
        check=Check(engine=CheckEngine.DUCKDB, setup="CREATE TABLE t (a INT)", run="SELECT 2"),
    )
    await repository.store_question(question_columns(question, Topic.STREAMING, QuestionSource.IMPORTED))
    await answer(repository, "shown", right=1, wrong=1, report=True)
    await repository.quarantine_question("shown", "two readings")
    _, output, _ = await desk("show", "shown")
    for text in (
        *("shown", "Streaming · Intermediate · practical · imported", "quarantined: two readings", "SELECT [1]"),
        *(question.prompt, "  A  [b]0 rows[/b]  (value: 0)", "✓ C  [b]2 rows[/b]  (value: 2)", "why 3"),
        *(question.explanation, question.reference.url, "Tags: numbers", "Check: duckdb", "CREATE TABLE t (a INT)"),
        *("SELECT 2", "asked 2, answered 2, right 1 (50%), reports 2 (0 wrong, 2 unclear, 0 outdated)"),
    ):
        assert text in output
    document = json.loads((await desk("show", "shown", "--json"))[1])
    assert [option["correct"] for option in document["options"]] == [False, False, True, False]
    assert document["check"] == {"engine": "duckdb", "setup": "CREATE TABLE t (a INT)", "run": "SELECT 2"}
    assert document["report_reasons"] == {"wrong": 0, "unclear": 2, "outdated": 0}
    assert (document["state_reason"], document["right_percent"]) == ("two readings", 50.0)


async def test_statistics_count_and_name_what_stands_out(desk: Desk, repository: Repository) -> None:
    await answer(repository, "streaming-1-0", right=1, wrong=5, report=True)
    await answer(repository, "streaming-1-1", right=6, wrong=0)
    await answer(repository, "streaming-1-2", right=0, wrong=4)  # too few to say
    status, output, _ = await desk("stats", "--json")
    document = json.loads(output)
    assert status == 0
    retired = len(await repository.list_questions(state=QuestionState.RETIRED))
    assert retired > 0  # the starter bank of schema.sql, which the small bank took the place of
    assert document["by_source"]["static"] == {"active": 144, "retired": retired, "quarantined": 0}
    assert document["active"]["streaming"] == {"1": 3, "2": 3, "3": 3, "4": 3}
    assert document["reported"] == [
        {"key": "streaming-1-0", "state": "active", "reports": 6, "reasons": {"wrong": 0, "unclear": 6, "outdated": 0}}
    ]
    assert [entry["key"] for entry in document["hardest"]] == ["streaming-1-0"]
    assert [entry["key"] for entry in document["easiest"]] == ["streaming-1-1"]
    assert document["llm"] == {"stock": [], "today": [], "today_cost": 0.0}
    _, page, _ = await desk("stats")
    assert "Most reported" in page
    assert "language model" not in page
    assert max(map(len, page.splitlines())) <= 100


async def test_statistics_tell_of_a_language_model_once_there_is_one(
    desk: Desk, repository: Repository, database_url: str
) -> None:
    question = make_bank_question(id="llm-1", level=Level.EXPERT)
    await repository.store_question(question_columns(question, Topic.STREAMING, QuestionSource.LLM))
    await run_sql(
        database_url,
        "INSERT INTO generations (topic, level, model, cost, outcome, reason, calls, ended_at) "
        "VALUES ('streaming', 4, 'm', 0.0125, 'failed', 'timeout', 2, now())",
    )
    document = json.loads((await desk("stats", "--json"))[1])["llm"]
    assert document["stock"] == [{"topic": "streaming", "level": 4, "active": 1, "fresh": 1}]
    assert document["today_cost"] == 0.0125
    _, page, _ = await desk("stats")
    assert "1 of 1" in page
    assert "0.0125" in page


async def test_failures_alike_are_one_row_whatever_the_server_says_of_each(desk: Desk, database_url: str) -> None:
    await run_sql(
        database_url,
        "INSERT INTO generations (topic, level, model, cost, outcome, reason, ended_at) "
        "SELECT 'streaming', 4, 'm', 0, 'failed', reason, now() FROM unnest(ARRAY["
        "'http_400: request a1 failed', 'timeout', 'http_400: request b2 failed', 'http_400', "
        "'http_400: request c3: failed']) WITH ORDINALITY AS given (reason, place) ORDER BY place",
    )
    today = json.loads((await desk("stats", "--json"))[1])["llm"]["today"]
    assert [(one["reason"], one["latest"], one["questions"]) for one in today] == [
        ("http_400", "http_400: request c3: failed", 4),
        ("timeout", "timeout", 1),
    ]
    _, page, _ = await desk("stats")
    assert "request c3" in page
    assert "request a1" not in page


# ---------------------------------------------------------------- doubting


async def test_a_question_is_quarantined_and_restored(desk: Desk, repository: Repository) -> None:
    await answer(repository, KEY, right=0, wrong=2, report=True)
    assert await desk("quarantine", KEY, "--reason", "key in doubt") == (
        0,
        f"{KEY} is quarantined: it is asked no more\n",
        "",
    )
    [entry] = await repository.list_questions(keys=[KEY])
    assert (entry.state, entry.state_reason) == (QuestionState.QUARANTINED, "key in doubt")
    _, again, _ = await desk("quarantine", KEY, "--reason", "still")
    assert again == f"{KEY} was quarantined already (key in doubt); the reason is changed\n"
    _, output, _ = await desk("restore", KEY)
    assert output == f"{KEY} is restored: it is asked again, and its reports (2) are settled (was: still)\n"
    [entry] = await repository.list_questions(keys=[KEY])
    assert (entry.state, entry.reports) == (QuestionState.ACTIVE, 0)
    assert await desk("restore", KEY) == (0, f"{KEY} is active; nothing is changed\n", "")


async def test_a_quarantined_draw_rests_its_template(desk: Desk, repository: Repository) -> None:
    question = make_bank_question(id="computed-sums-7")
    columns = question_columns(question, Topic.STREAMING, QuestionSource.COMPUTED, template="sums", seed=7)
    await repository.store_question(columns)
    _, output, _ = await desk("quarantine", question.id, "--reason", "wrong")
    assert "its template rests as a whole" in output
    assert await repository.list_resting_templates() == {"sums"}


@pytest.mark.parametrize("command", [["show"], ["restore"], ["quarantine", "--reason", "x"]])
async def test_an_unknown_key_is_one_line_with_what_may_be_meant(desk: Desk, command: list[str]) -> None:
    status, output, errors = await desk(*command, "streaming-1-00")
    assert (status, output) == (1, "")
    assert errors.startswith("quiz: There is no such question: 'streaming-1-00'; is it streaming-1-0 or ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("command", [["restore"], ["quarantine", "--reason", "x"]])
async def test_a_retired_question_is_left_alone(desk: Desk, database_url: str, command: list[str]) -> None:
    await run_sql(database_url, f"UPDATE questions SET state = 'retired' WHERE key = '{KEY}'")  # noqa: S608
    status, output, errors = await desk(*command, KEY)
    assert (status, output) == (1, "")
    assert "is gone from the bank's files" in errors
