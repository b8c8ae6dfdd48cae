"""Questions on their way in and out: YAML, CSV, and what an import takes or refuses."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.bank import BankEntry, CheckSpec
from domain.catalog import CheckEngine, QuestionForm, QuestionSource, QuestionState, Topic
from domain.models import StoredOption
from question_bank import __main__ as command
from question_bank.admission import Admission, admit
from question_bank.checks import UNTRUSTED_RUNNERS
from question_bank.csv_files import COLUMNS, OPTIONAL_COLUMNS, write_csv
from question_bank.format import BankQuestion, Check, Option
from question_bank.loader import Bank, Located
from question_bank.transfer import question_of, read_files, write_yaml
from question_bank.verification import text_of, verifiers_of
from tests.support.factories import make_bank_question, make_question
from tests.unit.test_statistics import make_entry

WRITERS = {"yaml": write_yaml, "csv": write_csv}


def locate(question: BankQuestion, topic: Topic = Topic.STREAMING) -> Located:
    """Return a question as if it were read from a file."""
    return Located(question, topic, Path("some/file.yaml"), 3)


def read(folder: Path, text: str, name: str = "questions.csv") -> Bank:
    """Write a file and read it."""
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return read_files([path])


def cells_of(question: BankQuestion, **changes: str) -> dict[str, str]:
    """Return a question's row, with some cells changed."""
    [row] = csv.DictReader(io.StringIO(write_csv([locate(question)])))
    return {**row, **changes}


def table_of(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    """Return rows as a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def reasons_of(bank: Bank) -> list[str]:
    """Return each problem with its line."""
    return [f"{problem.line}: {problem.reason}" for problem in bank.problems]


def make_rich_question() -> BankQuestion:
    """Return a question that uses every field."""
    return make_bank_question(
        prompt="First line,\nand a second: one?",
        code='SELECT "a;b", 1\nFROM t  -- ,\n\nWHERE true',
        language="sql",
        options=[
            Option(text="1 row", why='He said "one", twice.', value="1", correct=True),
            Option(text="yes", why="no: it is not; # really", value="2"),
            Option(text="12:30", why="- a dash first", value="3"),
            Option(text="null", why="ünïcödé – and 😀", value="4"),
        ],
        explanation="So it is.\n\nIndeed.",
        tags=["joins", "nulls"],
        check=Check(engine=CheckEngine.DUCKDB, setup="CREATE TABLE t (a INT);\n", run="  SELECT 1"),
    )


FORMS = [form.value for form in QuestionForm]

# ---------------------------------------------------------------- out and in again


@pytest.mark.parametrize("form", WRITERS)
def test_what_is_written_reads_as_the_same(form: str, tmp_path: Path) -> None:
    questions = [locate(make_rich_question()), locate(make_bank_question(), Topic.DATA_QUALITY)]
    text = WRITERS[form](questions)
    bank = read(tmp_path, text, f"questions.{form}")
    assert bank.problems == []
    assert [(located.question, located.topic) for located in bank.questions] == [
        (located.question, located.topic) for located in questions
    ]
    assert WRITERS[form](bank.questions) == text


# What no question holds: half characters, controls, and in CSV the carriage return, which ends lines like the others.
texts = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t"), max_size=60)
awkward = st.sampled_from(
    ["---", "- a", "a: b", "# no", "'", '"', "yes", "1e3", " x", "x \ny", "\n\nx", "a\u2028b", "@", "|", "%", "? ", "~"]
)


@given(prompt=texts | awkward, why=texts | awkward, setup=texts | awkward)
@pytest.mark.parametrize("form", WRITERS)
def test_any_text_comes_back(
    form: str, prompt: str, why: str, setup: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    question = make_bank_question(check=Check(engine=CheckEngine.PYTHON, setup=setup, run="print(1)"))
    options = [question.options[0].model_copy(update={"why": why.strip() or "-"}), *question.options[1:]]
    question = question.model_copy(update={"prompt": prompt.strip() or "-", "options": options})
    bank = read(tmp_path_factory.mktemp("any"), WRITERS[form]([locate(question)]), f"questions.{form}")
    assert bank.problems == []
    assert bank.questions[0].question == question


def test_yaml_is_written_as_people_write_it() -> None:
    question = make_rich_question().model_copy(update={"id": "some-id", "level": 2})
    assert write_yaml([locate(question)]).startswith(
        "topic: streaming\n"
        "questions:\n"
        "  - id: some-id\n"
        "    level: 2\n"
        "    form: practical\n"
        "    prompt: |\n"
        "      First line,\n"
        "      and a second: one?\n"
        "    code: |\n"
        '      SELECT "a;b", 1\n'
        "      FROM t  -- ,\n"
        "\n"
        "      WHERE true\n"
        "    language: sql\n"
        "    options:\n"
        '      - text: "1 row"\n'
        '        value: "1"\n'
        "        correct: true\n"
    )


def test_yaml_of_several_topics_passes_the_linter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.yaml"
    questions = [locate(make_bank_question(), topic) for topic in Topic]
    path.write_text(write_yaml(questions), encoding="utf-8")
    assert command.main([str(path)]) == 0
    assert f"{len(Topic)} questions, 0 executed, 0 need Postgres, 0 problems" in capsys.readouterr().out


def test_a_mistake_in_a_later_document_is_named_with_its_line(tmp_path: Path) -> None:
    first = write_yaml([locate(make_bank_question())])
    second = write_yaml([locate(make_bank_question(), Topic.DATA_QUALITY)]).replace("form: practical", "form: wild")
    bank = read(tmp_path, f"{first}---\n{second}", "two.yaml")
    [problem] = bank.problems
    lines = f"{first}---\n{second}".splitlines()
    assert lines[problem.line - 1].strip() == "form: wild"
    assert len(bank.questions) == 1


def test_an_id_stands_once_in_all_files(tmp_path: Path) -> None:
    text = write_csv([locate(make_bank_question(id="twice"))])
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(text)
    bank = read_files([tmp_path])
    assert [located.path.name for located in bank.questions] == ["a.csv"]
    assert reasons_of(bank) == ["2: id 'twice' stands also in a.csv:2"]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert reasons_of(read(tmp_path, "x", "questions.xlsx")) == [
        "1: its name ends in '.xlsx'; known: .yaml, .yml, .csv"
    ]
    [reason] = reasons_of(read_files([tmp_path / "absent.csv"]))
    assert reason == "1: cannot be read: No such file or directory"


# ---------------------------------------------------------------- CSV


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "bom"])
def test_csv_is_read_as_spreadsheets_save_it(mark: str, line_end: str, tmp_path: Path) -> None:
    question = make_rich_question()
    text = write_csv([locate(question)]).replace("\n", line_end)  # within quoted cells as well
    bank = read(tmp_path, mark + text)
    assert bank.problems == []
    assert [located.question for located in bank.questions] == [question]


def test_empty_rows_and_blanks_around_names_do_not_matter(tmp_path: Path) -> None:
    question = make_bank_question(tags=["one", "two"])
    cells = cells_of(question, tags=" one ; two;", level=" Intermediate ", topic=" streaming ")
    header, row, _ = table_of(cells).split("\r\n")
    bank = read(tmp_path, "\n".join([header.upper().replace(",", " ,"), "," * (len(COLUMNS) - 1), "", row]))
    assert bank.problems == []
    assert bank.questions[0].question == question
    assert bank.questions[0].line == 4


def test_columns_without_which_a_question_is_whole_may_be_absent(tmp_path: Path) -> None:
    question = make_bank_question()
    columns = tuple(name for name in COLUMNS if name not in OPTIONAL_COLUMNS)
    bank = read(tmp_path, table_of(cells_of(question), columns=columns))
    assert [located.question for located in bank.questions] == [question]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ["1: the file is empty"]),
        (";".join(COLUMNS), ["1: columns must be separated by commas"]),
        ("\t".join(COLUMNS), ["1: columns must be separated by commas"]),
        (",".join([*COLUMNS, "propmt"]), ["1: unknown column 'propmt'; is it 'prompt'?"]),
        (",".join([*COLUMNS, "zzz"]), ["1: unknown column 'zzz'"]),
        (",".join([*COLUMNS, "tags"]), ["1: column 'tags' stands 2 times"]),
        (",".join(name for name in COLUMNS if name not in {"why_3", "tags"}), ["1: missing columns: why_3, tags"]),
    ],
)
def test_what_is_wrong_with_the_columns_is_said_once(header: str, expected: list[str], tmp_path: Path) -> None:
    assert reasons_of(read(tmp_path, f"{header}\na,b\n" if header else "")) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"topic": "cooking"}, "2: q: topic: unknown 'cooking'; known: data_modeling, "),
        ({"correct": "5"}, "2: q: correct: is '5', but must be the number of the right option, 1 to 4"),
        ({"correct": ""}, "2: q: correct: is '', but must be "),
        ({"level": "7"}, "2: q: level: Input should be 1, 2, 3 or 4"),
        ({"level": "guru"}, "2: q: level: Input should be 1, 2, 3 or 4"),
        (
            {"form": "odd"},
            f"2: q: form: Input should be {', '.join(map(repr, FORMS[:-1]))} or {FORMS[-1]!r}",
        ),
        ({"option_4": ""}, "2: q: option_4: String should have at least 1 character"),
        ({"why_2": "x" * 221}, "2: q: why_2: String should have at most 220 characters"),
        ({"option_2": "Same", "option_3": "same"}, "2: q: options: two options say the same"),
        ({"reference_url": "http://x"}, "2: q: reference_url: String should match pattern"),
        ({"tags": ""}, "2: q: tags: List should have at least 1 item"),
        ({"tags": "Not A Slug"}, "2: q: tags: String should match pattern"),
        ({"code": "SELECT 1"}, "2: q: code needs `language`"),
        ({"check_setup": "SELECT 1"}, "2: q: check_engine: Input should be 'duckdb', 'postgres' or 'python'"),
        ({"check_engine": "duckdb"}, "2: q: check: nothing to run"),
        ({"id": ""}, "2: (no id): id: String should match pattern"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_column_and_the_others_are_read(
    changes: dict[str, str], expected: str, tmp_path: Path
) -> None:
    bad, good = cells_of(make_bank_question(id="q"), **changes), cells_of(make_bank_question(id="good"))
    bank = read(tmp_path, table_of(bad, good))
    [reason] = reasons_of(bank)
    assert reason.startswith(expected)
    assert [located.question.id for located in bank.questions] == ["good"]


def test_everything_that_is_wrong_with_a_row_is_said(tmp_path: Path) -> None:
    bank = read(tmp_path, table_of(cells_of(make_bank_question(id="q"), topic="", correct="x", form="", tags="")))
    assert [reason.split(": ")[2] for reason in reasons_of(bank)] == ["topic", "correct", "form", "tags"]


def test_a_row_stands_where_it_begins_though_cells_have_several_lines(tmp_path: Path) -> None:
    first, second = make_rich_question(), make_bank_question()
    text = write_csv([locate(first), locate(second)])
    bank = read(tmp_path, text)
    assert bank.questions[0].line == 2
    assert text.splitlines()[bank.questions[1].line - 1].startswith(second.id)


def test_a_row_with_too_few_cells_is_refused(tmp_path: Path) -> None:
    bank = read(tmp_path, write_csv([locate(make_bank_question())]) + "a,b,c\n")
    assert reasons_of(bank) == [f"3: has 3 cells, but the header has {len(COLUMNS)}"]
    assert len(bank.questions) == 1


def test_after_a_quote_that_never_ends_nothing_is_read(tmp_path: Path) -> None:
    bank = read(tmp_path, write_csv([locate(make_bank_question())]) + '"never\nending')
    assert reasons_of(bank) == ["3: not CSV, so nothing is read from here on: unexpected end of data"]
    assert len(bank.questions) == 1


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(f"{','.join(COLUMNS)}\n".encode() + "ü".encode("latin-1"))
    assert reasons_of(read_files([path])) == ["2: is not UTF-8 text; save it as `CSV UTF-8`"]


# ---------------------------------------------------------------- stored questions


def store(question: BankQuestion, source: QuestionSource = QuestionSource.IMPORTED) -> BankEntry:
    """Return what the database would say of a question."""
    check = question.check
    return make_entry(
        question=make_question(
            key=question.id,
            topic=Topic.STREAMING,
            level=question.level,
            source=source,
            prompt=question.prompt,
            code=question.code,
            language=question.language,
            options=tuple(StoredOption(option.text, option.why, option.value) for option in question.options),
            correct_index=question.correct_index,
            explanation=question.explanation,
            reference_title=question.reference.title,
            reference_url=question.reference.url,
        ),
        tags=tuple(question.tags),
        form=question.form,
        check=CheckSpec(check.engine, check.setup, check.run) if check else None,
        state=QuestionState.ACTIVE,
    )


def test_a_stored_question_comes_back_in_the_banks_form() -> None:
    for question in (make_rich_question(), make_bank_question(form=QuestionForm.DEFINITION)):
        assert question_of(store(question)) == question


def take(*questions: BankQuestion, stored: tuple[BankEntry, ...] = ()) -> Admission:
    """Import questions beside others."""
    entries = {entry.question.key: entry for entry in stored}
    known = [text_of(question_of(entry)) for entry in stored]
    verifiers = verifiers_of(UNTRUSTED_RUNNERS)

    def verify(located: Located) -> str | None:
        check = located.question.check
        return verifiers[check.engine](located) if check else None

    outcome = Admission()
    for outcome in admit(map(locate, questions), entries, known, verify):  # noqa: B007 - the last one counts
        pass
    return outcome


def keys_of(outcome: Admission) -> tuple[list[str], list[str], list[str]]:
    """Return the ids of what is new, changed and unchanged."""
    new, changed, unchanged = (
        [located.question.id for located in group] for group in (outcome.new, outcome.changed, outcome.unchanged)
    )
    return new, changed, unchanged


def test_new_changed_and_unchanged_questions_are_told_apart() -> None:
    new, changed, same = (make_bank_question(id=name) for name in ("new", "changed", "same"))
    outcome = take(
        new, changed.model_copy(update={"explanation": "Another."}), same, stored=(store(changed), store(same))
    )
    assert keys_of(outcome) == (["new"], ["changed"], ["same"])
    assert outcome.problems == []


def test_a_definition_may_be_imported_alone() -> None:
    assert keys_of(take(make_bank_question(id="alone", form="definition")))[0] == ["alone"]


def test_the_id_of_another_source_is_not_overwritten() -> None:
    question = make_bank_question(id="mine")
    [problem] = take(question, stored=(store(question, QuestionSource.STATIC),)).problems
    assert (problem.line, problem.reason) == (3, "mine: the id is taken by a question of the source static")


@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "earlier row"])
def test_a_question_that_asks_the_same_is_refused(is_stored: bool) -> None:  # noqa: FBT001
    first = make_bank_question(id="first")
    second = first.model_copy(update={"id": "second"})
    outcome = take(second, stored=(store(first),)) if is_stored else take(first, second)
    assert [problem.reason for problem in outcome.problems] == ["second: asks the same as first"]


def test_a_row_that_was_refused_stands_in_nobodys_way() -> None:
    wrong = make_bank_question(id="wrong", check=Check(engine=CheckEngine.DUCKDB, run="SELECT 'something else'"))
    right = wrong.model_copy(update={"id": "right", "check": None})
    outcome = take(wrong, right)
    assert keys_of(outcome)[0] == ["right"]
    [problem] = outcome.problems
    assert problem.reason.startswith("wrong: marked ")
    assert problem.reason.endswith("but running it gives 'something else'")


def test_a_right_option_that_shows_by_its_length_is_refused() -> None:
    options = [Option(text="abcd"[n] * (50 if n == 0 else 30), why="So.", correct=n == 0) for n in range(4)]
    [problem] = take(make_bank_question(id="long", options=options)).problems
    assert problem.reason == "long: the right option has 50 characters, and the longest wrong one 30"


@pytest.mark.parametrize(
    ("engine", "run", "reason"),
    [
        (CheckEngine.PYTHON, "print(open('/etc/hostname').read())", "the sandbox cannot run it: Permission denied"),
        (CheckEngine.PYTHON, "import zlib", "the sandbox cannot run it: No module named 'zlib'"),
        (CheckEngine.DUCKDB, "FROM read_csv('/etc/hostname')", "the sandbox refuses it: PermissionException"),
    ],
)
def test_what_the_sandbox_does_not_run_is_refused_with_the_reason(engine: CheckEngine, run: str, reason: str) -> None:
    [problem] = take(make_bank_question(id="nosy", check=Check(engine=engine, run=run))).problems
    assert problem.reason.startswith(f"nosy: {reason}")
