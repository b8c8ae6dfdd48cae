"""The form of a question and the reading of its file: each rule broken once, with the line and the reason."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from pydantic import ValidationError

from domain.catalog import Level, Topic
from question_bank.format import MAX_CODE_COLUMNS, MAX_CODE_LINES, Option
from question_bank.loader import load_bank, read_file
from tests.support.factories import make_bank_question

GOOD = textwrap.dedent("""\
    topic: streaming
    questions:
      - id: stream-one
        level: 2
        form: practical
        prompt: Which one?
        code: |
          SELECT 1;
        language: sql
        options:
          - text: "one"
            correct: true
            why: It is.
          - text: "two"
            why: It is not.
          - text: "three"
            why: Nor is this.
          - text: "four"
            why: Nor this.
        explanation: One is one.
        reference:
          title: Arithmetic, first chapter
          url: https://example.org/numbers
        tags: [numbers]
        check:
          engine: duckdb
    """)


def write(folder: Path, text: str, name: str = "streaming/2-intermediate.yaml") -> Path:
    """Return a file of the bank with this text."""
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str) -> list[tuple[int, str]]:
    """Return line and reason of each problem of a file."""
    path = write(folder, text)
    questions, problems = read_file(path)
    assert all(str(problem).startswith(f"{path}:{problem.line}: ") for problem in problems)
    assert not problems or len(questions) <= 1
    return [(problem.line, problem.reason) for problem in problems]


def test_a_file_that_keeps_every_rule_is_read(tmp_path: Path) -> None:
    questions, problems = read_file(write(tmp_path, GOOD))
    assert problems == []
    (located,) = questions
    assert (located.topic, located.line) == (Topic.STREAMING, 3)
    assert located.question.level is Level.INTERMEDIATE
    assert located.question.code == "SELECT 1;"
    assert located.question.correct_index == 0


LONG_CODE = "\n".join(["      x"] * (MAX_CODE_LINES + 1))

BROKEN: dict[str, tuple[str, str, int, str]] = {
    "id in capitals": ("id: stream-one", "id: Stream_One", 3, "should match pattern"),
    "id too long": ("id: stream-one", f"id: {'x' * 65}", 3, "at most 64 characters"),
    "no id": ("- id: stream-one\n    level", "- level", 3, "(no id): id: Field required"),
    "level out of range": ("level: 2", "level: 5", 4, "level: Input should be 1, 2, 3 or 4"),
    "unknown form": ("form: practical", "form: riddle", 5, "'order', 'cost' or 'read'"),
    "no prompt": ("prompt: Which one?", "prompt: '  '", 6, "prompt: String should have at least 1 character"),
    "prompt too long": ("Which one?", "x" * 421, 6, "prompt: String should have at most 420 characters"),
    "code too wide": (
        "SELECT 1;",
        "x" * (MAX_CODE_COLUMNS + 1),
        7,
        f"code line 1 has {MAX_CODE_COLUMNS + 1} columns; {MAX_CODE_COLUMNS} fit",
    ),
    "code too long": (
        "      SELECT 1;",
        LONG_CODE,
        7,
        f"code has {MAX_CODE_LINES + 1} lines; 1 to {MAX_CODE_LINES} fit",
    ),
    "code without language": ("    language: sql\n", "", 3, "code needs `language`"),
    "an unquoted number": ('text: "two"', "text: 2", 14, "quote it: YAML reads 2 as int"),
    "an unquoted yes": ('text: "two"', "text: yes", 14, "quote it: YAML reads True as bool"),
    "an unquoted time": ('text: "two"', "text: 12:30", 14, "quote it: YAML reads 750 as int"),
    "option too long": ('"two"', f'"{"x" * 141}"', 14, "at most 140 characters"),
    "a misconception that is too long": (
        "why: It is not.",
        f"why: It is not.\n        misconception: {'x' * 91}",
        16,
        "at most 90 characters",
    ),
    "a misconception of the right option": (
        "why: It is.",
        "why: It is.\n        misconception: one",
        10,
        "the right option has a `misconception`",
    ),
    "two ratings": ("level: 2", "level: 2\n    rated: [2, 2]", 5, "rated: List should have at least 3 items"),
    "a rating out of range": ("level: 2", "level: 2\n    rated: [2, 2, 5]", 5, "rated.2: Input should be 1, 2, 3 or 4"),
    "another level than the median": (
        "level: 2",
        "level: 2\n    rated: [1, 3, 3]",
        3,
        "level is 2, but the median of `rated` is 3",
    ),
    "no reason": ("why: It is not.", "why: ''", 15, "options.1.why: String should have at least 1 character"),
    "reason too long": ("It is not.", "x" * 221, 15, "at most 220 characters"),
    "no right option": ("        correct: true\n", "", 10, "exactly one option with `correct: true`, has 0"),
    "two right options": (
        "why: It is not.",
        "why: It is.\n        correct: true",
        10,
        "exactly one option with `correct: true`, has 2",
    ),
    "three options": ('      - text: "four"\n        why: Nor this.\n', "", 10, "needs 4 options, has 3"),
    "the same option twice": ('"two"', '" ONE "', 10, "two options say the same"),
    "all of the above": ('"four"', '"All of the above"', 10, "none may refer to others: 'All of the above'"),
    "both answers": ('"four"', '"A and B"', 10, "none may refer to others"),
    "explanation too long": ("One is one.", "x" * 421, 20, "explanation: String should have at most 420 characters"),
    "no reference": ("https://example.org/numbers", "numbers", 23, "reference.url: String should match pattern"),
    "reference without https": ("https://", "http://", 23, "reference.url: String should match pattern"),
    "no tags": ("tags: [numbers]", "tags: []", 24, "tags: List should have at least 1 item"),
    "a tag in capitals": ("[numbers]", "[Numbers]", 24, "tags.0: String should match pattern"),
    "unknown engine": ("duckdb", "sqlite", 26, "check.engine: Input should be 'duckdb', 'postgres' or 'python'"),
    "nothing to run": ("    code: |\n      SELECT 1;\n", "", 3, "nothing to run: give `check.run` or `code`"),
    "one value for two options": (
        'text: "two"',
        'text: "two"\n        value: one',
        3,
        "two options stand for the same value",
    ),
    "an unknown field": ("    tags:", "    hint: look\n    tags:", 24, "hint: Extra inputs are not permitted"),
    "a steering character": ("Which one?", '"Which\\e[2J one?"', 6, "prompt: holds the character U+001B"),
    "a NUL": ("It is not.", '"It is\\0 not."', 15, "options.1.why: holds the character U+0000"),
    "text turned around": (
        "One is one.",
        '"One is \\u202eone."',
        20,
        "explanation: holds the character U+202E",
    ),
    "a steered check": ("engine: duckdb", 'engine: duckdb\n      setup: "\\x9b2J"', 27, "holds the character U+009B"),
    "no question but a word": (GOOD[GOOD.index("  - id") :], "  - nothing\n", 3, "(not a mapping): Input should be"),
}
"""What to replace, by what, and the line and reason that come of it."""


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_a_broken_rule_is_told_with_line_and_reason(rule: str, tmp_path: Path) -> None:
    old, new, line, reason = BROKEN[rule]
    assert old in GOOD
    problems = problems_of(tmp_path, GOOD.replace(old, new, 1))
    assert [(at, reason in why) for at, why in problems] == [(line, True)], problems


FILES: dict[str, tuple[str, int, str]] = {
    "empty": ("", 1, "the file is empty"),
    "only a comment": ("# later\n", 1, "the file is empty"),
    "a list": ("- topic: streaming\n", 1, "needs `topic` and `questions`"),
    "a key too many": (f"{GOOD}author: me\n", 1, "needs `topic` and `questions`, and nothing else"),
    "no questions": ("topic: streaming\n", 1, "needs `topic` and `questions`"),
    "unknown topic": ("topic: cooking\nquestions: []\n", 1, "unknown topic 'cooking'; known: data_modeling"),
    "a topic that is a list": ("topic: [streaming]\nquestions: []\n", 1, "unknown topic"),
    "questions that are no list": ("topic: streaming\nquestions: {}\n", 1, "`questions` must be a list"),
    "a tab": ("topic: streaming\nquestions:\n\t- id: x\n", 3, "not YAML"),
    "a colon too many": (GOOD.replace("One is one.", "one: is one: two"), 20, "not YAML"),
    "two documents": (f"{GOOD}---\n{GOOD}", 27, "not YAML"),
    "an unknown anchor": (GOOD.replace("One is one.", "*one"), 20, "anchors and aliases"),
    "a call of Python": (GOOD.replace("One is one.", "!!python/object/apply:os.getcwd []"), 20, "tags"),
    "a date that no calendar has": (GOOD.replace('"two"', "2026-02-30"), 14, ""),
    "a tag that does not fit": (GOOD.replace("level: 2", "level: !!int two"), 4, ""),
}


@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_file_that_is_no_bank_file_is_told_with_line_and_reason(kind: str, tmp_path: Path) -> None:
    text, line, reason = FILES[kind]
    problems = problems_of(tmp_path, text)
    assert [(at, reason in why) for at, why in problems] == [(line, True)], problems


@pytest.mark.parametrize("content", [b"topic: \xff\xfe", b"topic: a\x00b", b"\x80"])
def test_a_file_that_is_no_text_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    questions, (problem,) = read_file(path)
    assert questions == []
    assert "cannot be read" in problem.reason


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    _, (problem,) = read_file(tmp_path / "gone.yaml")
    assert "No such file" in problem.reason


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path, GOOD.replace("level: 2", "level: 9").replace("[numbers]", "[]").replace("https", "ftp")
    )
    assert [line for line, _ in problems] == [4, 23, 24]


def test_one_wrong_file_leaves_the_rest(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "streaming/1-beginner.yaml")
    write(
        tmp_path,
        GOOD.replace("stream-one", "stream-two").replace("level: 2", "level: 9"),
        "streaming/2-intermediate.yaml",
    )
    write(tmp_path, GOOD.replace("stream-one", "stream-three"), "streaming/3-advanced.yaml")
    bank = load_bank(tmp_path)
    assert [located.question.id for located in bank.questions] == ["stream-one", "stream-three"]
    assert [str(problem) for problem in bank.problems] == [
        f"{tmp_path}/streaming/2-intermediate.yaml:4: stream-two: level: Input should be 1, 2, 3 or 4"
    ]


def test_a_file_with_one_wrong_question_is_refused_as_a_whole(tmp_path: Path) -> None:
    second = GOOD[GOOD.index("  - id") :].replace("stream-one", "stream-two").replace("level: 2", "level: 0")
    write(tmp_path, GOOD + second)
    bank = load_bank(tmp_path)
    assert bank.questions == []
    assert len(bank.problems) == 1


def test_an_id_that_stands_twice_is_told_at_its_second_place(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "streaming/1-beginner.yaml")
    write(tmp_path, GOOD, "streaming/2-intermediate.yaml")
    bank = load_bank(tmp_path)
    assert [located.path.name for located in bank.questions] == ["1-beginner.yaml"]
    assert [str(problem) for problem in bank.problems] == [
        f"{tmp_path}/streaming/2-intermediate.yaml:3: id 'stream-one' stands also in 1-beginner.yaml:3"
    ]


def test_the_digest_follows_what_is_stored_and_nothing_else() -> None:
    question = make_bank_question(id="digest")
    same = type(question).model_validate(question.model_dump())
    assert same.content_hash(Topic.STREAMING) == question.content_hash(Topic.STREAMING)
    assert question.content_hash(Topic.STREAMING) != question.content_hash(Topic.ORCHESTRATION)
    rated = question.model_copy(update={"rated": [Level.INTERMEDIATE] * 3})
    assert rated.content_hash(Topic.STREAMING) == question.content_hash(Topic.STREAMING)
    right, *wrong = question.options
    believed = [option.model_copy(update={"misconception": "counts from 1"}) for option in wrong]
    named = question.model_copy(update={"options": [right, *believed]})
    assert named.content_hash(Topic.STREAMING) == question.content_hash(Topic.STREAMING)
    changed = question.model_copy(update={"explanation": "Otherwise."})
    assert changed.content_hash(Topic.STREAMING) != question.content_hash(Topic.STREAMING)


def test_a_question_cannot_be_changed_after_it_was_checked() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Option(text="a", why="b").text = "c"  # type: ignore[misc]
