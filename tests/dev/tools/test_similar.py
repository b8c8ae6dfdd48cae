"""The comparison of questions, with a model of the test's own: what is embedded again, and what is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dev.tools.similar import DIFFERENT_PAIRS, VECTORS, Embed, compare, read_vectors, text_of
from domain.catalog import Topic
from question_bank.loader import Located, load_bank
from tests.support.factories import make_bank_question

DIRECTIONS = {"late": [1.0, 0.1], "delayed": [1.0, 0.2], "joins": [0.0, 1.0]}
"""Where the test's model puts a text with a word."""


def make_questions(**prompts: str) -> list[Located]:
    """Return questions by id and prompt."""
    return [
        Located(make_bank_question(id=key, prompt=prompt), Topic.STREAMING, Path(f"{key}.yaml"), 3)
        for key, prompt in prompts.items()
    ]


class Model:
    """Stands for the model, and remembers what it embedded."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        self.texts.append(text)
        return np.array(next(vector for word, vector in DIRECTIONS.items() if word in text), np.float32)


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Return what compares questions, and returns the status and the lines."""
    return Check(tmp_path, capsys)


class Check:
    """Compares questions, in a folder of the test's own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.vectors, self.pairs = folder / "vectors.tsv", folder / "pairs.yaml"
        self.pairs.write_text("# none\n")
        self.capsys = capsys

    def __call__(self, questions: list[Located], embed: Embed | None) -> tuple[int, list[str]]:
        self.capsys.readouterr()
        status = compare(questions, self.vectors, self.pairs, embed)
        return status, self.capsys.readouterr().out.splitlines()


QUESTIONS = {"a": "Where do late rows go?", "b": "What holds delayed rows?", "c": "Which joins keep rows?"}


def test_a_pair_that_nobody_has_read_fails_the_check(check: Check) -> None:
    status, lines = check(make_questions(**QUESTIONS), Model())
    assert status == 1
    assert lines == [
        "embedding 3 of 3 questions",
        "0.996 a b",
        "  a.yaml:3: Where do late rows go?",
        "  b.yaml:3: What holds delayed rows?",
        "3 questions, 1 pairs from 0.76, 1 of them not read yet",
        "change or delete one of each pair, or add both ids to pairs.yaml with why both stay",
    ]


def test_a_pair_that_was_read_passes_in_either_order(check: Check) -> None:
    check.pairs.write_text("b a: one asks for the place, one for the holder\n")
    status, lines = check(make_questions(**QUESTIONS), Model())
    assert (status, lines[1:]) == (0, ["3 questions, 1 pairs from 0.76, 0 of them not read yet"])


def test_only_what_changed_is_embedded_again(check: Check) -> None:
    questions = make_questions(**QUESTIONS)
    check(questions, Model())
    changed = make_questions(c="Which joins lose rows?", d="Why are joins slow?")
    model = Model()
    check([*questions[:1], *changed], model)
    assert model.texts == [text_of(one.question) for one in changed]
    assert sorted(read_vectors(check.vectors)) == ["a", "c", "d"]


def test_without_the_model_what_is_stale_is_named_and_not_compared(check: Check) -> None:
    questions = make_questions(**QUESTIONS)
    check(questions, Model())
    kept = check.vectors.read_bytes()
    status, lines = check([questions[0], *make_questions(b="What holds delayed keys?"), questions[2]], None)
    assert lines[0] == "warning: 1 questions are new or changed, and not compared: b"
    assert (status, lines[-1]) == (0, "2 questions, 0 pairs from 0.76, 0 of them not read yet")
    assert check.vectors.read_bytes() == kept


def test_without_the_model_and_any_vectors_everything_is_named(check: Check) -> None:
    status, lines = check(make_questions(**QUESTIONS), None)
    assert lines[0] == "warning: 3 questions are new or changed, and not compared: a, b, c"
    assert (status, lines[-1]) == (0, "0 questions, 0 pairs from 0.76, 0 of them not read yet")


def test_a_listed_pair_that_is_not_similar_any_more_is_named(check: Check) -> None:
    check.pairs.write_text("a c: differ\n")
    questions = make_questions(a=QUESTIONS["a"], c=QUESTIONS["c"])
    status, lines = check(questions, Model())
    assert (status, lines[1]) == (0, "warning: pairs.yaml: delete `a c`, which are not similar any more")


def test_the_bank_has_no_pair_that_nobody_has_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(load_bank().questions, VECTORS, DIFFERENT_PAIRS, None) == 0, capsys.readouterr().out
