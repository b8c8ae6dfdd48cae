"""Nothing unverified reaches a learner: each step refuses what it is for, and the row says why."""

from __future__ import annotations

import sys

import pytest

from domain.catalog import GenerationOutcome, Level, QuestionState, Topic
from domain.errors import GenerationError, SandboxError
from question_bank import checks
from question_sources.llm import verification
from question_sources.llm.breaker import FAILURES
from question_sources.llm.source import Generation
from question_sources.llm.verification import MAX_REASON_LENGTH
from sandbox import sql
from sandbox.results import Limits
from tests.integration.llm.support import LEVEL, TOPIC, Desk, executed_question, fresh_question
from tests.support.factories import make_learner
from tests.support.llm_server import Json, written, written_question

SQL = "SELECT count(*)\nFROM (VALUES (1), (2)) t"
COUNTS = ("2", "3", "1", "0")
TABLE = "CREATE TABLE t (a INT);"


async def refused(desk: Desk, question: Json, reason: str) -> Generation:
    """Have a question made that must end quarantined for a reason, and reach nobody."""
    made = await desk.make(question)
    assert made.outcome is GenerationOutcome.QUARANTINED, made
    assert made.reason
    assert reason in made.reason
    row = (await desk.rows())[-1]
    assert (row["outcome"], row["reason"], row["state"]) == ("quarantined", made.reason, "quarantined")
    assert (row["key"], row["state_reason"]) == (made.key, made.reason)
    assert await desk.reaches_nobody()
    return made


# ---------------------------------------------------------------- what passes


async def test_a_question_that_passes_all_proofs_is_asked(desk: Desk) -> None:
    question = fresh_question(tags=["kafka", "lag"])
    made = await desk.make(question)
    assert (made.outcome, made.reason) == (GenerationOutcome.ACCEPTED, None)
    learner = make_learner(level=LEVEL, topics=(TOPIC,))
    served = (await desk.source.draw([learner], live=False))[learner.id]
    assert (served.key, served.topic, served.level, served.prompt) == (made.key, TOPIC, LEVEL, question["prompt"])
    assert [option.text for option in served.options] == [option["text"] for option in question["options"]]
    assert served.correct_index == 1
    (row,) = await desk.rows()
    assert (row["outcome"], row["reason"], row["state"], row["key"]) == ("accepted", None, "active", made.key)
    assert row["model"] == "gpt-5-mini"
    assert row["ended_at"] >= row["begun_at"]


@pytest.mark.parametrize(
    ("engine", "code", "values", "setup"),
    [
        ("duckdb", SQL, COUNTS, None),
        ("duckdb", "SELECT sum(a) FROM t", ("NULL", "0", "1", "2"), TABLE),
        ("duckdb", "SELECT a FROM t ORDER BY a", ("(no rows)", "0", "1", "NULL"), TABLE),
        (
            "duckdb",
            "SELECT CAST('x' AS INT)",
            ("error: ConversionException", "error: CatalogException", "0", "NULL"),
            None,
        ),
        ("python", "print(len({1, 1, 2}))", COUNTS, None),
        ("python", "print(math.gcd(6, 4))", COUNTS, "import math"),
        ("python", "print({}['a'])", ("error: KeyError", "None", "a", "0"), None),
    ],
)
async def test_code_whose_key_is_what_it_gives_passes(
    desk: Desk, engine: str, code: str, values: tuple[str, ...], setup: str | None
) -> None:
    made = await desk.make(executed_question(engine, code, values, setup=setup))
    assert made.outcome is GenerationOutcome.ACCEPTED, made
    (entry,) = await desk.repository.list_questions(keys=[made.key or ""])
    assert entry.check
    assert (entry.check.engine, entry.check.setup) == (engine, setup or "")


async def test_code_in_another_language_needs_no_check(desk: Desk) -> None:
    made = await desk.make(fresh_question(code="retries: 3", language="yaml"))
    assert made.outcome is GenerationOutcome.ACCEPTED


# ---------------------------------------------------------------- rules, likeness


async def test_a_right_option_that_stands_out_is_refused(desk: Desk) -> None:
    texts = ("no", "never", "one that is much longer than all of the others together, as right ones are", "maybe")
    options = [{"text": text, "why": "So.", "correct": len(text) > 9, "value": None} for text in texts]
    await refused(desk, fresh_question(options=options), "lint: ")
    assert desk.llm.blind_requests == []


@pytest.mark.parametrize(("old", "new"), [("", ""), ("Which", "What"), ("number", "numeral"), ("?", ", please?")])
async def test_a_question_of_the_bank_in_slightly_other_words_is_refused(desk: Desk, old: str, new: str) -> None:
    text = "of the partitions of a topic does a group of six consumers read at once after a rebalance that nobody saw"
    first = await desk.make(written_question(prompt=f"Which number {text}?"))
    assert first.outcome is GenerationOutcome.ACCEPTED
    pool = desk.repository.database._pool  # noqa: SLF001 - as if it had always been in the bank
    await pool.execute("UPDATE questions SET source = 'static', key = 'of-the-bank' WHERE key = $1", first.key)
    asked = len(desk.llm.blind_requests)
    again = written_question(prompt=f"Which number {text}?".replace(old, new), explanation="Told otherwise.")
    await refused(desk, again, "duplicate: asks the same as of-the-bank")
    assert len(desk.llm.blind_requests) == asked


async def test_a_doubted_question_is_not_written_anew(desk: Desk) -> None:
    question = fresh_question()
    first = await desk.make(question)
    await desk.repository.quarantine_question(first.key or "", "learners doubt it")
    await desk.make(question | {"explanation": "Told otherwise."})
    assert [row["reason"] for row in await desk.rows()] == [None, f"duplicate: asks the same as {first.key}"]
    assert await desk.reaches_nobody()


async def test_the_same_question_for_another_level_leaves_the_first_where_it_stands(desk: Desk) -> None:
    question = fresh_question()
    first = await desk.make(question, level=Level.EXPERT)
    second = await desk.make(question, level=Level.BEGINNER, topic=Topic.DATA_QUALITY)
    assert second.reason == f"duplicate: asks the same as {first.key}"
    entries = {entry.question.key: entry for entry in await desk.repository.list_questions(keys=[first.key or ""])}
    kept = entries[first.key or ""]
    assert (kept.question.topic, kept.question.level, kept.state) == (TOPIC, Level.EXPERT, QuestionState.ACTIVE)
    assert second.key != first.key


async def test_the_very_same_question_again_leaves_the_first_asked(desk: Desk) -> None:
    question = fresh_question()
    first, second = await desk.make(question), await desk.make(question)
    assert (second.outcome, second.reason) == (
        GenerationOutcome.QUARANTINED,
        f"duplicate: asks the same as {first.key}",
    )
    assert await desk.stock() == [first.key]


# ---------------------------------------------------------------- code

WRONG: dict[str, tuple[Json, str]] = {
    "a wrong key, SQL": (executed_question("duckdb", SQL, ("3", "2", "1", "0")), "but running it gives '2'"),
    "a wrong key, Python": (
        executed_question("python", "print(sum([1, 1]))", ("3", "2", "1", "0")),
        "but running it gives '2'",
    ),
    "an error, SQL": (executed_question("duckdb", "SELECT a FROM nowhere", COUNTS), "'error: CatalogException'"),
    "an error, Python": (executed_question("python", "print(nowhere)", COUNTS), "'error: NameError'"),
    "no Python at all": (executed_question("python", "print(", COUNTS), "'error: SyntaxError'"),
    "an error in the setup": (executed_question("duckdb", SQL, COUNTS, setup="CREATE TABEL t"), "error in the setup"),
    "a key that is an error in the setup": (
        executed_question(
            "duckdb", "SELECT 1", ("error in the setup: x", "error in the table", "2", "3"), setup="CREATE TABEL t"
        ),
        "error in the setup",
    ),
    "a timeout, SQL": (
        executed_question("duckdb", "SELECT sum(sin(range))\nFROM range(9999999999)", COUNTS),
        "running it takes too long",
    ),
    "a timeout, Python": (executed_question("python", "while True:\n    pass", COUNTS), "running it takes too long"),
    "a key that is a timeout": (
        executed_question("python", "while True:\n    pass", ("error: timeout", "error: KeyError", "2", "3")),
        "running it takes too long",
    ),
    "a key that is our limit of memory": (
        executed_question("python", "print(len([0] * 10**10))", ("error: MemoryError", "error: KeyError", "2", "3")),
        "running it takes too much memory",
    ),
    "a key that is our wall": (
        executed_question(
            "duckdb",
            "FROM read_csv('/etc/passwd')",
            ("error: PermissionException", "error: CatalogException", "2", "3"),
        ),
        "the sandbox refuses it: PermissionException",
    ),
    "a file, SQL": (executed_question("duckdb", "SELECT count(*) FROM '/etc/passwd'", COUNTS), "error: "),
    "SQL without a check": (fresh_question(code="SELECT 1", language="sql"), "without a check"),
    "Python without a check": (fresh_question(code="print(1)", language="python"), "without a check"),
    "SQL by another name without a check": (fresh_question(code="SELECT 1", language=" PostgreSQL"), "without a check"),
    "Python by another name without a check": (fresh_question(code="print(1)", language="py"), "without a check"),
    "SQL for Python's engine": (
        executed_question("python", "SELECT 1", COUNTS, language="sql"),
        "its language is 'sql', but its engine python",
    ),
    "Python for the engine of SQL": (
        executed_question("duckdb", "SELECT 2", COUNTS, language="python"),
        "its language is 'python', but its engine duckdb",
    ),
    "another language for an engine": (
        executed_question("duckdb", "SELECT 3", COUNTS, language="yaml"),
        "its language is 'yaml', but its engine duckdb",
    ),
    "Python that needs a module that the sandbox lacks": (
        executed_question("python", "import socket\nprint(2)", COUNTS),
        "the sandbox cannot run it: No module named 'socket'",
    ),
    "Python that needs a function that the sandbox lacks": (
        executed_question("python", "print(os.getpid() * 0 + 2)", COUNTS, setup="import os"),
        "the sandbox cannot run it: module 'os' has no attribute 'getpid'",
    ),
    "Python that opens a file": (
        executed_question("python", "open('a', 'w')\nprint(2)", COUNTS),
        "the sandbox cannot run it: Permission denied",
    ),
}


@pytest.mark.parametrize("what", sorted(WRONG))
async def test_code_that_does_not_bear_out_its_key_is_refused(
    what: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LIMITS", Limits(seconds=1))
    question, reason = WRONG[what]
    made = await refused(desk, question, reason)
    assert made.reason
    assert made.reason.startswith("execution: ")
    assert desk.llm.blind_requests == []  # the cheapest step comes first


@pytest.mark.parametrize(
    "question",
    [
        executed_question("python", "print('x' * 10**4)", COUNTS),
        executed_question("duckdb", "SELECT repeat('x', 10000)", COUNTS),
    ],
)
async def test_a_reason_stays_short_however_much_is_printed(desk: Desk, question: Json) -> None:
    made = await refused(desk, question, "but running it gives 'xxx")
    assert len(made.reason or "") == MAX_REASON_LENGTH


async def test_whatever_breaks_a_proof_leaves_a_doubted_question_and_no_reservation(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "wrong_answer", None)
    await refused(desk, executed_question("duckdb", "SELECT 2", COUNTS), "unverified: TypeError")
    assert (await desk.rows())[0]["cost"] < desk.source._client.highest_cost  # noqa: SLF001 - what was reserved


@pytest.fixture
def _no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    sql.close()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # no process can be started


@pytest.mark.usefixtures("_no_sandbox")
async def test_a_broken_sandbox_is_no_fault_of_the_model_or_the_question(desk: Desk) -> None:
    for _ in range(FAILURES + 1):
        with pytest.raises(SandboxError, match=r"The sandbox failed.*/nowhere/python"):
            await desk.make(executed_question("duckdb", "SELECT 2", COUNTS))
    rows = await desk.rows()
    assert {(row["outcome"], row["key"]) for row in rows} == {("failed", None)}
    assert all(row["reason"].startswith("sandbox: ") and "/nowhere/python" in row["reason"] for row in rows)
    assert 0 < rows[0]["cost"] < desk.source._client.highest_cost  # noqa: SLF001 - what was reserved
    await desk.source.breaker.check()


@pytest.mark.usefixtures("_no_sandbox")
async def test_with_a_broken_sandbox_whoever_waits_gets_another_question_and_costs_one_making(desk: Desk) -> None:
    desk.llm.answer(written(executed_question("duckdb", "SELECT 2", COUNTS)))
    learner = make_learner(version=list(Topic).index(TOPIC), level=LEVEL)
    with pytest.raises(GenerationError, match="The sandbox failed"):
        await desk.source.draw([learner], live=True)
    for _ in range(2):
        assert await desk.source.draw([learner], live=True) == {}
    assert len(await desk.rows()) == 1
