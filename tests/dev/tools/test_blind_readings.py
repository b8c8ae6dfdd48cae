"""Blind readings: what readers see, what their answers say together, and what is written into the files."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from dev.tools import bank_report, blind_readings
from dev.tools.blind_readings import collect, draw, render, rubric, shuffle, write_ratings
from dev.tools.reading_statistics import Drawn, Read, Reading, as_json, krippendorff_alpha, measure
from domain.catalog import Level
from question_bank.format import BankQuestion, Check, Option
from question_bank.loader import Bank, read_file
from tests.support.factories import make_bank_question

HIDDEN = "hidden"


def make_hidden(**fields: object) -> BankQuestion:
    """Return a question whose every part that readers must not see says so."""
    options = [
        Option(
            text=text,
            why=HIDDEN,
            value=f"{HIDDEN}{text}",
            correct=text == "o2",
            misconception=None if text == "o2" else HIDDEN,
        )
        for text in ("o1", "o2", "o3", "o4")
    ]
    values = {
        "id": f"{HIDDEN}-id",
        "prompt": "Which one?",
        "code": "SELECT 1",
        "language": "sql",
        "options": options,
        "explanation": HIDDEN,
        "tags": [HIDDEN],
        "check": Check(engine="duckdb", setup=HIDDEN, run=HIDDEN),
    }
    return make_bank_question(**(values | fields))


def make_read(*levels: int, ours: int = 2, answers: str = "", **said: object) -> Read:
    """Return a question with a reading for each level; its right answer is A."""
    readings = [
        Reading.model_validate(
            {"n": 1, "answer": answer, "level": level, "unclear": "", "guessable": "", "trivia": "", "worth": True}
            | said
        )
        for level, answer in zip(levels, answers or "A" * len(levels), strict=True)
    ]
    return Read(Drawn(1, "some-id", "", Level(ours), (0, 1, 2, 3), "A"), readings)


# ---------------------------------------------------------------- out


def test_readers_see_prompt_code_and_options_and_nothing_else() -> None:
    question = make_hidden()
    (drawn,) = shuffle([question], random.Random(7))
    text = render(question, drawn)
    assert HIDDEN not in text
    assert all(part in text for part in ("## 1", "Which one?", "SELECT 1", "o1", "o2", "o3", "o4"))


def test_the_key_names_the_option_that_is_right_in_the_readers_order() -> None:
    questions = [make_hidden(id=f"q-{number}") for number in range(20)]
    drawn = shuffle(questions, random.Random(7))
    assert all(f"{one.right}. o2" in render(question, one) for question, one in zip(questions, drawn, strict=True))
    assert {one.right for one in drawn} == set("ABCD")


def test_a_seed_draws_the_same_questions_in_the_same_order() -> None:
    questions = [make_bank_question() for _ in range(30)]
    drawn = draw(questions, random.Random(7), 10)
    assert drawn == draw(questions, random.Random(7), 10)
    assert len({question.id for question in drawn}) == 10
    assert sorted(question.id for question in draw(questions, random.Random(7))) == sorted(q.id for q in questions)


def test_the_rubric_is_that_of_the_format() -> None:
    assert all(f"**{level.label}**" in rubric() for level in Level)


# ---------------------------------------------------------------- what they say


def test_alpha_is_that_of_its_inventors_example() -> None:
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers and twelve units."""
    units = ["111", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "555", "11", "3"]
    assert krippendorff_alpha([[int(value) for value in unit] for unit in units]) == pytest.approx(0.849, abs=0.0005)


@pytest.mark.parametrize(
    ("units", "alpha"), [([[1, 1], [3, 3]], 1), ([[2, 2], [2, 2]], 1), ([], 1), ([[1, 3], [3, 1]], -0.5)]
)
def test_alpha_of_full_agreement_and_of_none(units: list[list[int]], alpha: float) -> None:
    assert krippendorff_alpha(units) == pytest.approx(alpha)


def test_the_figures_count_what_readers_say() -> None:
    read = [
        make_read(2, 2, 2),
        make_read(1, 1, 2, unclear="no version"),
        make_read(3, 3, 3, ours=3, worth=False),
        make_read(2, 2, 3, ours=4, answers="ABA"),
    ]
    figures = as_json(measure(read, 7))
    assert (figures["questions"], figures["readings"], figures["fewest"], figures["seed"]) == (4, 12, 3, 7)
    assert figures["agree_with_key"] == pytest.approx(11 / 12, abs=1e-4)
    assert (figures["same_level"], figures["one_off"], figures["two_off"]) == (0.5, 0.25, 0.25)
    assert (figures["ours_higher"], figures["ours_lower"]) == (0.5, 0)
    assert figures["same_rating"] == pytest.approx((1 + 1 / 3 + 1 + 1 / 3) / 4, abs=1e-4)
    assert (figures["unclear"], figures["guessable"], figures["worth"]) == (0.25, 0, 0.5)


@pytest.mark.parametrize(
    ("read", "faults"),
    [
        (make_read(2, 2, 3), []),
        (make_read(1, 2, 3), ["rated 1, 2, 3"]),
        (make_read(2, 2, 2, answers="ACA"), ["answered C, marked A"]),
    ],
)
def test_what_readers_disagree_on_is_to_be_written_anew(read: Read, faults: list[str]) -> None:
    assert read.faults == faults


LINE = {"n": 1, "answer": "A", "level": 2, "unclear": "", "guessable": "", "trivia": "", "worth": True}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": "E"}, "answer: Input should be"),
        ({"level": 5}, "level: Input should be"),
        ({"n": 9}, "n is 9, which is not there"),
        ({}, "n is 1, which is twice there"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_and_the_others_count(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "reader.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n\n{json.dumps(LINE | change)}\n", encoding="utf-8")
    drawn = shuffle([make_bank_question()], random.Random(7))
    read, (problem,) = collect(drawn, [path])
    assert len(read[0].readings) == 1
    assert problem.startswith(f"{path}:3: {reason}")


# ---------------------------------------------------------------- into the files

FILE = """\
topic: streaming   # a comment
questions:
  - id: first
    level: 2   # a guess
    form: practical
    prompt:   Which one?
    options:
      - {{text: "1", why: Yes., correct: true}}
      - {{text: "2", why: No.}}
      - {{text: "3", why: No.}}
      - {{text: "4", why: No.}}
    explanation: It is 1.
    reference: {{title: "Arithmetic, first chapter", url: "https://example.org/numbers"}}
    tags: [numbers]
{more}"""
SECOND = FILE[FILE.index("  - id") : FILE.index("{more}")].replace("first", "second").format()


def write_file(folder: Path, more: str = "") -> Path:
    """Write a file of the second level."""
    path = folder / "streaming" / "2-intermediate.yaml"
    path.parent.mkdir()
    path.write_text(FILE.format(more=more), encoding="utf-8")
    return path


def judge(path: Path, *levels: int, place: int = 0) -> list[Read]:
    """Return readings of one question of a file, all with the right answer."""
    questions = [located.question for located in read_file(path)[0]]
    drawn = shuffle(questions, random.Random(7))[place]
    readings = [
        Reading.model_validate(LINE | {"n": drawn.n, "answer": drawn.right, "level": level}) for level in levels
    ]
    return [Read(drawn, readings)]


def test_ratings_are_written_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    path = write_file(tmp_path)
    before = path.read_text(encoding="utf-8")
    assert write_ratings(judge(path, 2, 3, 2), tmp_path) == []
    rated = before.replace("    level: 2   # a guess\n", "    level: 2\n    rated: [2, 3, 2]\n")
    assert path.read_text(encoding="utf-8") == rated
    assert write_ratings(judge(path, 2, 2, 1), tmp_path) == []
    assert path.read_text(encoding="utf-8") == rated.replace("[2, 3, 2]", "[2, 2, 1]")


def test_a_question_of_another_level_moves_to_its_file(tmp_path: Path) -> None:
    path = write_file(tmp_path, more=f"\n{SECOND}")
    target = path.with_name("1-beginner.yaml")
    target.write_text(FILE.format(more="").replace("first", "third").replace("level: 2", "level: 1"), encoding="utf-8")
    assert write_ratings(judge(path, 1, 1, 2), tmp_path) == []
    assert [q.question.id for q in read_file(path)[0]] == ["second"]
    questions, problems = read_file(target)
    assert problems == []
    assert [(q.question.id, q.question.level, q.question.rated) for q in questions] == [
        ("third", 1, None),
        ("first", 1, [1, 1, 2]),
    ]
    assert "    tags: [numbers]\n\n  - id: first\n" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("levels", "edit", "reason"),
    [
        ((2, 2), "", "first: has 2 readings; needs 3"),
        ((1, 2, 3), "", "first: write it anew: rated 1, 2, 3"),
        ((2, 2, 2), "Which other one?", "first: was changed after it was read; read it again"),
    ],
)
def test_a_question_that_may_not_stand_is_left_as_it_is(
    levels: tuple[int, ...], edit: str, reason: str, tmp_path: Path
) -> None:
    path = write_file(tmp_path)
    read = judge(path, *levels)
    if edit:
        path.write_text(path.read_text(encoding="utf-8").replace("Which one?", edit), encoding="utf-8")
    before = path.read_text(encoding="utf-8")
    assert write_ratings(read, tmp_path) == [reason]
    assert path.read_text(encoding="utf-8") == before


def test_from_the_drawing_to_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_file(tmp_path)
    monkeypatch.setattr(blind_readings, "BANK_FOLDER", tmp_path)
    text, key, figures = (tmp_path / name for name in ("text.md", "key.json", "figures.json"))
    assert blind_readings.main(["draw", "--seed", "7", "--text", str(text), "--key", str(key)]) == 0
    assert "Which one?" in text.read_text(encoding="utf-8")
    right = json.loads(key.read_text(encoding="utf-8"))["drawn"][0]["right"]
    readers = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for reader in readers:
        reader.write_text(json.dumps(LINE | {"answer": right}), encoding="utf-8")
    arguments = ["judge", str(key), *map(str, readers), "--write", "--figures", str(figures)]
    assert blind_readings.main(arguments) == 0
    assert "agree_with_key: 1\n" in capsys.readouterr().out
    assert "rated: [2, 2, 2]" in path.read_text(encoding="utf-8")
    page = bank_report.render(Bank([]), {}, json.loads(figures.read_text(encoding="utf-8")))
    assert "| 100.0% of the answers agree with the key | at least 99% |" in page
    assert blind_readings.QUESTION in page
