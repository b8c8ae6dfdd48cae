"""Rules for questions and for files of the bank: each broken once, with the reason that is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.catalog import Level, QuestionForm, Topic
from question_bank.format import MAX_CODE_COLUMNS, BankQuestion, Option
from question_bank.lint import MIN_DECISION_FORMS, MIN_DECISIONS, lint, lint_file
from question_bank.loader import BANK_FOLDER, Bank, Located
from question_bank.style import MAX_LEAD, MAX_SCENE, MIN_LENGTH_THAT_SHOWS, PROMPT_LENGTH, READING_LOAD
from question_bank.verification import conclude, rules_stage
from tests.support.factories import make_bank_question

DECISIONS = [form for form in QuestionForm if form.is_decision]


def make_options(*texts: str) -> list[Option]:
    """Return options with these texts; the first is right, and each other one has its misconception."""
    return [
        Option(text=text, why="So.", correct=not place, misconception="counts a row twice" if place else None)
        for place, text in enumerate(texts)
    ]


def make_question(**fields: object) -> BankQuestion:
    """Return a question that keeps every rule."""
    level = fields.get("level", Level.INTERMEDIATE)
    options = make_options("the left one", "the right one", "neither of them", "each of the two")
    return make_bank_question(**({"options": options, "level": level, "rated": [level] * 3} | fields))


def locate(*questions: BankQuestion, path: Path = BANK_FOLDER / "streaming/2-intermediate.yaml") -> list[Located]:
    """Return questions as if they were read from a file, ten lines each."""
    return [Located(question, Topic.STREAMING, path, 3 + 10 * place) for place, question in enumerate(questions)]


def make_code(columns: int) -> dict[str, object]:
    """Return the fields of code with one line of this width."""
    return {"code": "x" * columns, "language": "python"}


LONG, SHORT = "l" * 40, "s" * MIN_LENGTH_THAT_SHOWS

BROKEN: dict[str, tuple[dict[str, object], str]] = {
    "a prompt too long for its level": (
        {"prompt": f"{'x' * (PROMPT_LENGTH[Level.INTERMEDIATE] - 100)}. {'y' * 100}?"},
        "the prompt has 263 characters; at most 260 at this level",
    ),
    "a scene that is too long": (
        {"level": Level.EXPERT, "prompt": f"{'x' * MAX_SCENE}. Which?"},
        "the prompt tells for 242 characters before it asks; at most 240",
    ),
    "too much to read": (
        {
            "code": "\n".join(["x" * 36] * 20),
            "language": "text",
            "options": make_options(*(letter * 60 for letter in "abcd")),
        },
        "prompt, code and options have",
    ),
    "lines marked by letters": (
        {"code": "a = 1  # A\nb = 2  # B", "language": "python"},
        "code marks a line '# A', as options are named",
    ),
    "a right option that is the longest by far": (
        {"options": make_options("r" * 66, "a" * 50, "b" * 50, "c" * 50)},
        "the right option has 66 characters, and the longest wrong one 50",
    ),
    "code in the right option alone": (
        {"options": make_options("`a`", "b", "c", "d")},
        "only the right option has code",
    ),
    "a number in the right option alone": (
        {"options": make_options("at 2", "bb", "cc", "dd")},
        "only the right option has a number",
    ),
    "one full stop": (
        {"options": make_options("a", "b", "c", "d.")},
        "1 of 4 options end with a full stop; all or none should",
    ),
    "two reasons": (
        {"options": make_options("because a", "Because b", "c", "d")},
        "2 options say `because`; at most one may",
    ),
}
"""The fields of a question that break one rule, and the reason that is told."""


def test_a_question_that_keeps_every_rule_passes() -> None:
    question = make_question(rated=[2, 1, 2], **make_code(MAX_CODE_COLUMNS))
    assert lint(locate(question)) == []


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_a_broken_rule_is_told_with_its_reason(rule: str) -> None:
    fields, reason = BROKEN[rule]
    problems = lint(locate(make_question(id="broken", **fields)))
    assert [(problem.line, problem.reason.startswith(f"broken: {reason}")) for problem in problems] == [(3, True)], (
        problems
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"options": make_options("r" * round(40 * MAX_LEAD), LONG, "m" * 40, "n" * 40)},
        {"options": make_options(SHORT, "a" * 20, "b" * 20, "c" * 20)},
        {"options": make_options("`a` 1", "`b`", "2", "c")},
        {"options": make_options("a.", "b.", "c.", "d.")},
        {"options": make_options("a", "because b", "c", "d")},
        {"code": "# A batch\na = 1", "language": "python"},
        {"prompt": f"{'x' * 100}. {'y' * (PROMPT_LENGTH[Level.INTERMEDIATE] - 103)}?"},
    ],
)
def test_what_gives_nothing_away_passes(fields: dict[str, object]) -> None:
    assert lint(locate(make_question(**fields))) == []


def test_a_longer_read_is_allowed_the_higher_the_level() -> None:
    assert sorted(PROMPT_LENGTH.values()) == [PROMPT_LENGTH[level] for level in Level]
    assert sorted(READING_LOAD.values()) == [READING_LOAD[level] for level in Level]


# ---------------------------------------------------------------- files of the bank


def make_file(*forms: QuestionForm, level: Level = Level.INTERMEDIATE) -> list[Located]:
    """Return a file with questions of these forms."""
    return locate(*(make_question(form=form, level=level) for form in forms))


@pytest.mark.parametrize(("definitions", "problems"), [(2, 0), (3, 1)])
def test_at_most_a_third_of_a_file_asks_for_definitions(definitions: int, problems: int) -> None:
    forms = [QuestionForm.DEFINITION] * definitions + [QuestionForm.PRACTICAL] * (6 - definitions)
    found = lint_file(make_file(*forms, level=Level.BEGINNER))
    assert [problem.line for problem in found] == [1] * problems
    assert all("50% of the questions ask for a definition" in problem.reason for problem in found)


ENOUGH = [*DECISIONS[:MIN_DECISION_FORMS], *[DECISIONS[0]] * (MIN_DECISIONS - MIN_DECISION_FORMS)]


def test_a_file_with_enough_decisions_passes() -> None:
    assert lint_file(make_file(*ENOUGH)) == []


@pytest.mark.parametrize("forms", [ENOUGH[:-1], [DECISIONS[0]] * MIN_DECISIONS], ids=["too few", "all of one form"])
def test_a_file_with_too_few_decisions_is_told(forms: list[QuestionForm]) -> None:
    (problem,) = lint_file(make_file(*forms))
    assert (problem.line, "of the questions ask for a decision" in problem.reason) == (1, True)


def test_beginners_need_no_decisions() -> None:
    assert lint_file(make_file(QuestionForm.PRACTICAL, level=Level.BEGINNER)) == []


def test_a_wrong_option_without_its_misconception_is_told() -> None:
    question = make_question(id="bare", level=Level.BEGINNER)
    options = [*question.options[:3], question.options[3].model_copy(update={"misconception": None})]
    (problem,) = lint_file(locate(question.model_copy(update={"options": options})))
    assert problem.reason == "bare: 1 of the wrong options have no `misconception`"


def test_an_unrated_question_is_told() -> None:
    rated = make_question(level=Level.BEGINNER)
    (problem,) = lint_file(locate(rated, make_question(id="new", level=Level.BEGINNER, rated=None)))
    assert (problem.line, problem.reason) == (13, "new: has no `rated`")


def test_readers_who_differ_by_two_ask_for_a_rewrite() -> None:
    question = make_question(id="apart", level=Level.BEGINNER, rated=[1, 1, 3])
    (problem,) = lint_file(locate(question))
    assert problem.reason == "apart: readers rated it 1, 1, 3; rewrite it, so that they agree"


@pytest.mark.parametrize(("folder", "problems"), [(BANK_FOLDER, 1), (Path("elsewhere"), 0)])
def test_only_files_of_the_bank_are_held_to_its_rules(folder: Path, problems: int) -> None:
    questions = locate(
        make_question(form=QuestionForm.DEFINITION, level=Level.BEGINNER), path=folder / "streaming/1-beginner.yaml"
    )
    assert len(conclude(rules_stage(Bank(questions))).problems) == problems
