"""The bank that the service ships: enough of everything, and nothing in its form gives an answer away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import groupby

import pytest

from domain.catalog import OPTION_COUNT, Level, Topic
from question_bank.lint import lint, lint_file
from question_bank.loader import BANK_FOLDER, Bank, load_bank
from question_bank.templates import TEMPLATES
from tests.conftest import ROOT

PER_CELL = 15
"""At least, for each topic and level."""


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Return the whole bank."""
    return load_bank()


def test_no_file_has_a_problem(bank: Bank) -> None:
    assert [str(problem) for problem in bank.problems] == []


def test_there_are_as_many_questions_as_promised(bank: Bank) -> None:
    cells = Counter((located.topic, located.question.level) for located in bank.questions)
    assert {
        (topic, level): cells[topic, level] for topic in Topic for level in Level if cells[topic, level] < PER_CELL
    } == {}


def test_each_question_stands_in_the_file_of_its_topic_and_level(bank: Bank) -> None:
    for located in bank.questions:
        level = located.question.level
        assert located.path == BANK_FOLDER / located.topic / f"{level}-{level.name.lower()}.yaml"


def test_no_id_stands_twice(bank: Bank) -> None:
    assert [key for key, count in Counter(located.question.id for located in bank.questions).items() if count > 1] == []


def test_no_rule_over_many_questions_is_broken(bank: Bank) -> None:
    assert [str(problem) for problem in lint(bank.questions)] == []


def test_no_rule_over_a_file_is_broken(bank: Bank) -> None:
    files = groupby(bank.questions, key=lambda located: located.path)
    assert [str(problem) for _, group in files for problem in lint_file(list(group))] == []


@pytest.mark.parametrize("extreme", [max, min], ids=["longest", "shortest"])
@pytest.mark.parametrize("level", list(Level))
def test_length_gives_nothing_away(bank: Bank, level: Level, extreme: Callable[[list[int]], int]) -> None:
    """Whoever always taps the longest option, or always the shortest, is right no more often than chance."""
    questions = [located.question for located in bank.questions if located.question.level is level]
    hits = 0.0
    for question in questions:
        lengths = [len(option.text) for option in question.options]
        picked = [place for place, length in enumerate(lengths) if length == extreme(lengths)]
        hits += (question.correct_index in picked) / len(picked)
    assert hits / len(questions) <= 1 / OPTION_COUNT


def test_right_options_are_spread_over_the_places(bank: Bank) -> None:
    places = Counter(located.question.correct_index for located in bank.questions)
    for place in range(OPTION_COUNT):
        assert 0.15 < places[place] / len(bank.questions) < 0.35


def test_every_topic_has_questions_whose_answer_was_executed(bank: Bank) -> None:
    checked = Counter(located.topic for located in bank.questions if located.question.check)
    assert set(checked) == set(Topic)


def test_references_lead_to_documents_not_to_front_pages(bank: Bank) -> None:
    bare = [located.question.id for located in bank.questions if located.question.reference.url.count("/") < 3]
    assert bare == []


def test_the_readme_counts_what_is_there(bank: Bank) -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    questions = bank.questions
    assert f"{len(questions):,} questions in {len(Topic)} topics and {len(Level)} levels" in readme
    assert f"{len(TEMPLATES)} templates" in readme
    executable = sum(located.question.check is not None for located in questions)
    assert f"{executable} of them are executable" in readme
