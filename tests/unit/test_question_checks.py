"""Executing what a question shows, and the rules over many questions."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.bank import QuestionText
from domain.catalog import CheckEngine, Topic
from question_bank import __main__ as command
from question_bank import checks
from question_bank.checks import (
    OWN_RUNNERS,
    REFUSALS,
    UNTRUSTED_RUNNERS,
    Result,
    Runner,
    render_rows,
    run_cpython,
    run_untrusted_python,
    wrong_answer,
)
from question_bank.format import BankQuestion, Check, Option, Reference
from question_bank.lint import MIN_LENGTH_THAT_SPREADS, lint, near_duplicates, nearest_duplicate
from question_bank.loader import BANK_FOLDER, Located, load_bank
from question_bank.verification import BankPython
from sandbox.results import Failed, OutOfMemory, Printed, TimedOut, Unsupported
from tests.support.factories import make_bank_question


def make_checked(engine: CheckEngine, run: str, right: str, setup: str = "") -> BankQuestion:
    """Return a question whose marked option is `right`."""
    texts = [right, f"{right} and one", f"{right} and two", f"{right} and three"]
    return make_bank_question(
        options=[Option(text=text, why="So it is.", correct=place == 0) for place, text in enumerate(texts)],
        check=Check(engine=engine, setup=setup, run=run),
    )


def verdict(question: BankQuestion, runners: Mapping[CheckEngine, Runner] = OWN_RUNNERS) -> str | None:
    """Return what executing a question's check finds wrong."""
    assert question.check
    return wrong_answer(question, question.check, runners[question.check.engine])


# ---------------------------------------------------------------- results as text


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "(no rows)"),
        ([(None,)], "NULL"),
        ([(True, False)], "true, false"),
        ([(1, "a"), (2, "b")], "1, a / 2, b"),
        ([(1.0,), (2.5,), (0.1,)], "1 / 2.5 / 0.1"),
        ([(Decimal("10.50"),), (Decimal(100),)], "10.5 / 100"),
        ([("",)], ""),
    ],
)
def test_rows_are_written_as_options_are(rows: list[tuple[object, ...]], text: str) -> None:
    assert render_rows(rows) == text


# ---------------------------------------------------------------- the bank's Python


def test_the_banks_python_is_proved_in_the_sandbox_or_else_in_cpython() -> None:
    verify = BankPython()
    (simple,) = locate(make_checked(CheckEngine.PYTHON, "print(sorted([3, 1]))", "[1, 3]"))
    assert verify(simple) is None
    assert (verify.sandboxed, verify.in_cpython) == (1, 0)
    lazy = "late = (print(n) for n in 'ab')\nprint('c')"  # the sandbox has no lazy generators
    for number, (run, right) in enumerate([("import zlib\nprint(zlib.crc32(b''))", "0"), (lazy, "c")], 1):
        (located,) = locate(make_checked(CheckEngine.PYTHON, run, right))
        assert verify(located) is None
        assert (verify.sandboxed, verify.in_cpython) == (1, number)
    (wrong,) = locate(make_checked(CheckEngine.PYTHON, "print(1)", "2"))
    assert verify(wrong) == f"{wrong.question.id}: marked '2', but running it gives '1'"


def test_every_check_of_the_bank_that_the_sandbox_runs_gives_its_key() -> None:
    """What CPython gives is the key as well, which `questions verify` shows for all of them."""
    ran = given = 0
    for located in load_bank(BANK_FOLDER).questions:
        question, check = located.question, located.question.check
        if not check or check.engine is not CheckEngine.PYTHON:
            continue
        given += 1
        if isinstance(run_untrusted_python(check.setup, check.run or question.code or ""), Printed):
            assert wrong_answer(question, check, run_untrusted_python) is None
            ran += 1
    assert ran > given / 2


def test_cpython_gives_what_is_printed() -> None:
    assert run_cpython("", "print(sorted([3, 1]))") == Printed("[1, 3]\n")


def test_cpython_names_the_class_of_an_error() -> None:
    assert run_cpython("", "print('before')\n{}['key']") == Failed("KeyError", "'key'")
    assert isinstance(failed := run_cpython("", "print("), Failed)
    assert failed.error == "SyntaxError"
    assert run_cpython("", "import json; json.loads('')") == Failed(
        "json.decoder.JSONDecodeError", "Expecting value: line 1 column 1 (char 0)"
    )
    assert run_cpython("", "raise SystemExit(3)") == Failed("exit status 3", "")
    assert run_cpython("", "raise KeyError") == Failed("KeyError", "")


@pytest.mark.parametrize("run", ["while True: pass", "import time; time.sleep(60)"], ids=["busy", "asleep"])
def test_cpython_without_an_end_is_ended(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PYTHON_SECONDS", 1)
    assert run_cpython("", run) == TimedOut()


def test_cpython_gets_so_much_memory_and_no_more() -> None:
    assert run_cpython("", f"x = bytearray({checks.PYTHON_BYTES})\nprint(len(x))") == OutOfMemory()
    assert run_cpython("", f"x = bytearray({checks.PYTHON_BYTES // 4})\nprint('fits')") == Printed("fits\n")


def test_cpython_writes_small_files_and_only_for_the_moment() -> None:
    run = textwrap.dedent("""\
        import os, pathlib
        pathlib.Path("small").write_bytes(b"x" * 1000)
        print(os.path.getsize("small"), os.listdir())
        print(os.getcwd())
    """)
    result = run_cpython("", run)
    assert isinstance(result, Printed)
    sizes, folder = result.text.splitlines()
    assert sizes == "1000 ['small']"
    assert not Path(folder).exists()
    assert run_cpython("", "open('big', 'wb').write(b'x' * (2 << 20))") == Failed(
        "OSError", "[Errno 27] File too large"
    )
    assert isinstance(run_cpython("", "for _ in range(100): print('x' * 10**6)"), Failed)


def test_cpython_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "424242:secret")
    assert run_cpython("", "import os; print(os.environ.get('TELEGRAM_BOT_TOKEN'))") == Printed("None\n")
    assert isinstance(run_cpython("", "import question_bank"), Failed)
    assert os.environ["TELEGRAM_BOT_TOKEN"] == "424242:secret"


def test_what_is_printed_may_be_any_bytes() -> None:
    code = r"import sys; sys.stdout.buffer.write(b'\xff')"
    assert run_cpython("", code) == Printed("\N{REPLACEMENT CHARACTER}")


# ---------------------------------------------------------------- wrong keys


@pytest.mark.parametrize(
    ("engine", "run", "right"),
    [(CheckEngine.DUCKDB, "SELECT 40 + 2", "42"), (CheckEngine.PYTHON, "print(40 + 2)", "42")],
)
def test_a_right_key_passes_and_a_wrong_one_is_caught(engine: CheckEngine, run: str, right: str) -> None:
    assert verdict(make_checked(engine, run, right)) is None
    wrong = make_checked(engine, run, "43")
    assert verdict(wrong) == f"{wrong.id}: marked '43', but running it gives '42'"


def test_the_value_counts_where_the_text_is_for_readers() -> None:
    options = [
        Option(text=f"{number} rows", value=str(number), why="Counted.", correct=number == 2) for number in range(4)
    ]
    question = make_bank_question(
        options=options, code="SELECT count(*) FROM range(2)", language="sql", check=Check(engine=CheckEngine.DUCKDB)
    )
    assert verdict(question) is None


@pytest.mark.parametrize("runners", [OWN_RUNNERS, UNTRUSTED_RUNNERS], ids=["own", "strangers"])
@pytest.mark.parametrize(
    ("engine", "run", "right"),
    [
        (CheckEngine.PYTHON, "[][0]", "error: IndexError"),
        (CheckEngine.PYTHON, "print(", "error: SyntaxError"),
        (CheckEngine.PYTHON, "1 / 0", "error: ZeroDivisionError"),
        (CheckEngine.PYTHON, "import json\njson.loads('')", "error: json.decoder.JSONDecodeError"),
        (CheckEngine.PYTHON, "x = 1", "(nothing)"),
        (CheckEngine.DUCKDB, "SELECT CAST('x' AS INT)", "error: ConversionException"),
        (CheckEngine.DUCKDB, "SELECT * FROM nowhere", "error: CatalogException"),
        (CheckEngine.DUCKDB, "SELECT current_setting('TimeZone')", "UTC"),
    ],
)
def test_an_error_or_nothing_can_be_the_answer(
    engine: CheckEngine, run: str, right: str, runners: Mapping[CheckEngine, Runner]
) -> None:
    assert verdict(make_checked(engine, run, right), runners) is None


@pytest.mark.parametrize(
    ("result", "key", "reason"),
    [
        (TimedOut(), "error: timeout", "running it takes too long"),
        (OutOfMemory(), "error: MemoryError", "running it takes too much memory"),
        (Unsupported("module 'zlib'"), "error: ModuleNotFoundError", "the sandbox cannot run it: module 'zlib'"),
        (
            Failed("ParserException", "no table", in_setup=True),
            "error: ParserException",
            "error in the setup: no table",
        ),
        *((Failed(name, "no"), f"error: {name}", f"the sandbox refuses it: {name}: no") for name in sorted(REFUSALS)),
    ],
)
def test_what_tells_of_the_sandbox_is_no_answer(result: Result, key: str, reason: str) -> None:
    question = make_checked(CheckEngine.PYTHON, "print(1)", key)
    assert question.check
    assert wrong_answer(question, question.check, lambda _, __: result) == f"{question.id}: {reason}"


def test_duckdb_runs_the_question_after_its_setup_and_starts_empty_each_time() -> None:
    setup = "CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (NULL);"
    assert verdict(make_checked(CheckEngine.DUCKDB, "SELECT count(a), count(*) FROM t", "1, 2", setup)) is None
    assert verdict(make_checked(CheckEngine.DUCKDB, "FROM t", "error: CatalogException")) is None


# ---------------------------------------------------------------- the command


FILE = """\
topic: streaming
questions:
  - id: stream-sum
    level: 1
    form: practical
    prompt: What is 40 + 2?
    options:
      - {{text: "42", why: Yes., correct: {first}}}
      - {{text: "43", why: No., correct: {second}}}
      - {{text: "44", why: No.}}
      - {{text: "45", why: No.}}
    explanation: It is 42.
    reference: {{title: "Arithmetic, first chapter", url: "https://example.org/numbers"}}
    tags: [numbers]
    check: {{engine: duckdb, setup: "{setup}", run: "SELECT 40 + 2"}}
"""


def run_command(folder: Path, **parts: str) -> int:
    """Run the command on one file."""
    path = folder / "1-beginner.yaml"
    path.write_text(FILE.format(**{"first": "true", "second": "false", "setup": ""} | parts), encoding="utf-8")
    return command.main([str(path)])


def test_the_command_is_content_with_a_right_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(tmp_path) == 0
    assert "1 questions, 1 executed, 0 need Postgres, 0 problems" in capsys.readouterr().out


def test_the_command_names_a_wrong_key_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(tmp_path, first="false", second="true") == 1
    assert "1-beginner.yaml:3: stream-sum: marked '43', but running it gives '42'" in capsys.readouterr().out


def test_the_command_names_a_setup_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(tmp_path, setup="CREATE TABEL t (a INT)") == 1
    assert "1-beginner.yaml:3: stream-sum" in capsys.readouterr().out


# ---------------------------------------------------------------- rules over many questions


def locate(*questions: BankQuestion, path: str = "streaming/2-intermediate.yaml") -> list[Located]:
    """Return questions as if they were read from a file, ten lines each."""
    return [Located(question, Topic.STREAMING, Path(path), 3 + 10 * place) for place, question in enumerate(questions)]


def make_lengths(right: int, wrong: tuple[int, int, int]) -> BankQuestion:
    """Return a question whose options have these lengths."""
    lengths = (right, *wrong)
    options = [
        Option(text="abcd"[place] * length, why="So.", correct=place == 0) for place, length in enumerate(lengths)
    ]
    return make_bank_question(options=options)


def test_questions_without_a_fault_pass() -> None:
    assert lint(locate(*(make_bank_question() for _ in range(5)))) == []


@pytest.mark.parametrize(("right", "wrong"), [(20, (19, 51, 20)), (20, (21, 58, 57)), (1, (1, 1, 41))])
def test_an_option_that_stands_out_by_its_length_is_told(right: int, wrong: tuple[int, int, int]) -> None:
    (problem,) = lint(locate(make_bank_question(), make_lengths(right, wrong)))
    assert (problem.line, f"{[right, *wrong]} characters, so the longest stands out" in problem.reason) == (13, True)


@pytest.mark.parametrize(("right", "wrong"), [(20, (21, 22, 50)), (1, (2, 3, MIN_LENGTH_THAT_SPREADS))])
def test_lengths_that_differ_as_computed_lists_do_pass(right: int, wrong: tuple[int, int, int]) -> None:
    assert lint(locate(make_lengths(right, wrong))) == []


def refer(title: str, url: str = "https://example.org/docs/", **fields: str) -> BankQuestion:
    """Return a question with this reference."""
    return make_bank_question(reference=Reference(title=title, url=url), **fields)


@pytest.mark.parametrize("title", ["Apache Kafka documentation", "The Data Warehouse Toolkit"])
def test_a_reference_to_a_whole_document_is_told(title: str) -> None:
    (problem,) = lint(locate(make_bank_question(), refer(title)))
    assert (problem.line, "names no section" in problem.reason) == (13, True)


@pytest.mark.parametrize(
    "title", ["PostgreSQL 18 documentation, 7.8.2 Recursive Queries", "Linux manual page flock(1)"]
)
def test_a_reference_with_its_section_passes(title: str) -> None:
    assert lint(locate(refer(title))) == []


DEFAULTS = "By default, how many partitions does a Spark shuffle have?"


def test_a_products_default_without_its_version_is_told() -> None:
    title = "Apache Spark documentation, Performance Tuning"
    found = lint(locate(make_bank_question(), refer(title, prompt=DEFAULTS), refer(title, explanation=DEFAULTS)))
    assert [problem.line for problem in found] == [13, 23]
    assert all("says 'By default' of a product, and names no version of it" in problem.reason for problem in found)


@pytest.mark.parametrize(
    ("title", "url", "prompt"),
    [
        ("Apache Spark 4.0 documentation, Tuning", "https://example.org/", DEFAULTS),
        ("Apache Spark documentation, Tuning", "https://example.org/docs/4.0.0/tuning.html", DEFAULTS),
        ("Apache Spark documentation, Tuning", "https://example.org/", DEFAULTS.replace("Spark", "Spark 4")),
        ("A book on networks, chapter 3", "https://example.org/", "Which port does the server use by default?"),
        ("Apache Spark documentation, Tuning", "https://example.org/", "A column has the default value 0 since 1 May."),
    ],
)
def test_a_default_of_a_named_version_or_of_nothing_versioned_passes(title: str, url: str, prompt: str) -> None:
    assert lint(locate(refer(title, url, prompt=prompt))) == []


@given(st.lists(st.sets(st.sampled_from(["lag", "row", "key", "run", "log", "job"]), min_size=2), max_size=12))
def test_no_pair_of_near_duplicates_is_passed_over(prompts: list[set[str]]) -> None:
    options = [Option(text=text, why="So it is.", correct=text == "one") for text in ("one", "two", "three", "four")]
    questions = [
        make_bank_question(id=f"q{place}", prompt=" ".join(sorted(words)), options=options)
        for place, words in enumerate(prompts)
    ]
    texts = [QuestionText(one.id, one.prompt, None, tuple(option.text for option in options)) for one in questions]
    alike = [
        f"q{later}: asks the same as q{earlier}"
        for earlier, later in combinations(range(len(questions)), 2)
        if nearest_duplicate(questions[later], [texts[earlier]])
    ]
    assert sorted(problem.reason for problem in near_duplicates(locate(*questions))) == sorted(alike)


def test_two_questions_that_ask_the_same_are_told_at_the_later_one() -> None:
    prompt = "A topic has six partitions and the group has eight consumers. How many of them stand idle all day?"
    one = make_bank_question(prompt=prompt)
    duplicate = one.model_copy(update={"id": "twin", "prompt": prompt.replace("all day", "now")})
    (problem,) = near_duplicates(locate(one, make_bank_question(), duplicate))
    assert (problem.line, problem.reason) == (23, f"twin: asks the same as {one.id}")
