"""Writes docs/question-bank.md, the numbers of the bank, from its files and templates.

With `--check` it changes nothing and fails when the page is not what it would write.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dev.tools.bank_statistics import (
    CHANCE,
    count_cells,
    count_engines,
    count_forms,
    count_places,
    count_tags,
    measure_lengths,
)
from dev.tools.blind_readings import FIGURES, QUESTION
from dev.tools.pages import write_or_check
from domain.catalog import OPTION_COUNT, CheckEngine, Level, QuestionForm, Topic
from question_bank.lint import MIN_DECISIONS
from question_bank.loader import Bank, Located, load_bank
from question_bank.templates import TEMPLATES
from question_bank.templates.base import Template

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "question-bank.md"
TAGS_SHOWN = 25
ENGINES = {CheckEngine.DUCKDB: "DuckDB", CheckEngine.PYTHON: "Python", CheckEngine.POSTGRES: "PostgreSQL"}
LETTERS = "ABCD"
PROTOCOL = """\
{questions} questions, drawn at random with the seed {seed}, were put to independent automated
readers: {readings} readings, at least {fewest} of each. They saw prompt, code and options, in another order, without
key, level, topic or explanation, and nothing of each other. This shows that keys and levels agree with how such readers
understand the questions, and no more than that."""
READINGS = [
    ("{agree_with_key:.1%} of the answers agree with the key", "at least 99%"),
    (
        "the median level is ours for {same_level:.1%} of the questions, one off for {one_off:.1%}",
        "one off: at most 15%",
    ),
    ("it is two off for {two_off:.1%}", "none"),
    ("our level is higher for {ours_higher:.1%}, lower for {ours_lower:.1%}", "no drift in one direction"),
    ("two readers of a question give it the same level in {same_rating:.1%} of the pairs", "stated"),
    ("Krippendorff's alpha of the levels (interval) is {alpha:.2f}", "stated"),
    ("most readers call {unclear:.1%} unclear ({unclear_readings:.1%} of the readings)", "at most 2%"),
    ("most call {guessable:.1%} guessable by form ({guessable_readings:.1%} of the readings)", "at most 2%"),
    ("most call {trivia:.1%} trivia ({trivia_readings:.1%} of the readings)", "at most 1%"),
    ("most call {worth:.1%} of levels 3 and 4 worth a senior's minute", "at least 50%"),
]
"""Figures of the readings, and what they are to be."""


def render(bank: Bank, templates: Mapping[str, Template], readings: Mapping[str, float] | None = None) -> str:
    """Return the page.

    Args:
        readings: the figures that ``dev/tools/blind_readings.py`` keeps; None when nobody has read yet.
    """
    questions = bank.questions
    engines = count_engines(questions)
    executed = sum(count for (_, engine), count in engines.items() if engine)
    share = _share(executed, len(questions))
    lines = [
        "# The question bank in numbers",
        "",
        "Written by `make bank-report` from the bank's files and templates; `--check` holds this page to",
        "them. How a question is written down: [question-format.md](question-format.md).",
        "",
        f"{len(questions)} questions are in files; {executed} of them ({share}) have an answer that is found by",
        f"executing something. {len(templates)} templates each make a question with fresh numbers every time.",
        "",
        *("## Questions by topic and level", "", *_cells(questions), ""),
        *("## Forms", "", *_forms(questions), ""),
        *("## Answers that are executed", "", *_engines(questions), ""),
        *("## Length of the options", "", *_lengths(questions), ""),
        *("## Position of the right option", "", *_places(questions), ""),
        *("## Blind readings", "", *_readings(readings), ""),
        *("## Templates", "", *_templates(templates.values()), ""),
        *("## Tags", "", *_tags(questions)),
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in cells)} |"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [_row(header), _row(rule), *map(_row, rows)]


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def _cells(questions: Sequence[Located]) -> list[str]:
    cells = count_cells(questions)
    rows = [
        [topic.label, *counts, sum(counts)]
        for topic, counts in ((topic, [cells[topic, level] for level in Level]) for topic in Topic)
    ]
    totals = [sum(cells[topic, level] for topic in Topic) for level in Level]
    return _table(["topic", *(level.label for level in Level), "all"], [*rows, ["**all**", *totals, sum(totals)]])


def _forms(questions: Sequence[Located]) -> list[str]:
    forms = count_forms(questions)
    rows: list[list[object]] = [[level.label, *(forms[level, form] for form in QuestionForm)] for level in Level]
    rows.append(["**all**", *(sum(forms[level, form] for level in Level) for form in QuestionForm)])
    return [
        "What each form asks for: [question-format.md](question-format.md#forms). At most a third of a file may be",
        f"definitions; a file of level 2 or above has at least {MIN_DECISIONS} of the last six.",
        "",
        *_table(["level", *(form.replace("_", " ") for form in QuestionForm)], rows),
    ]


def _engines(questions: Sequence[Located]) -> list[str]:
    counts = count_engines(questions)
    rows = []
    for topic in Topic:
        by_engine = [counts[topic, engine] for engine in ENGINES]
        rows.append([topic.label, *by_engine, _share(sum(by_engine), sum(by_engine) + counts[topic, None])])
    totals = [sum(counts[topic, engine] for topic in Topic) for engine in ENGINES]
    rows.append(["**all**", *totals, _share(sum(totals), len(questions))])
    return [
        "`python main.py questions verify` executes all of them and compares the results with the marked options.",
        "",
        *_table(["topic", *ENGINES.values(), "executed"], rows),
    ]


def _lengths(questions: Sequence[Located]) -> list[str]:
    rows = []
    for name, of_level in _by_level(questions):
        bias = measure_lengths([located.question for located in of_level])
        numbers = [f"{bias.longest:.1%}", f"{bias.shortest:.1%}", f"{bias.right:.1f}", f"{bias.wrong:.1f}"]
        rows.append([name, *numbers])
    return [
        "How often somebody is right who always taps the longest option, or the shortest, and shares ties; chance is",
        f"{CHANCE:.0%}. Beside it the mean characters of right and wrong options.",
        "",
        *_table(["level", "longest is right", "shortest is right", "right, characters", "wrong, characters"], rows),
    ]


def _by_level(questions: Sequence[Located]) -> list[tuple[str, list[Located]]]:
    groups = [(level.label, [located for located in questions if located.question.level is level]) for level in Level]
    return [(name, group) for name, group in [*groups, ("**all**", list(questions))] if group]


def _places(questions: Sequence[Located]) -> list[str]:
    places = count_places(located.question for located in questions)
    rows = [[LETTERS[place], places[place], _share(places[place], len(questions))] for place in range(OPTION_COUNT)]
    return [
        "In the files. Learners never see this order: the options are shuffled anew for each quiz.",
        "",
        *_table(["place", "questions", "share"], rows),
    ]


def _readings(figures: Mapping[str, float] | None) -> list[str]:
    """Return the protocol of the readings and what they gave."""
    if figures is None:
        return ["None yet."]
    rows = [[text.format(**figures), target] for text, target in READINGS]
    return [
        PROTOCOL.format(**{name: round(figures[name]) for name in ("questions", "seed", "readings", "fewest")}),
        "",
        _row(["what", "aim"]),
        _row(["---", "---"]),
        *map(_row, rows),
        "",
        "What they were asked, word for word, before the [rubric of levels](question-format.md#levels):",
        "",
        *("```text", *QUESTION.splitlines(), "```"),
    ]


def _templates(templates: Iterable[Template]) -> list[str]:
    order = list(Topic)
    ordered = sorted(templates, key=lambda template: (order.index(template.topic), template.level, template.name))
    rows = [
        [f"`{template.name}`", template.topic.label, template.level.label, ENGINES[template.engine], template.about]
        for template in ordered
    ]
    header = ["template", "topic", "level", "executed by", "what it asks"]
    return [_row(header), _row(["---"] * len(header)), *map(_row, rows)]


def _tags(questions: Sequence[Located]) -> list[str]:
    tags = count_tags(questions)
    shown = ", ".join(f"`{tag}` {count}" for tag, count in tags[:TAGS_SHOWN])
    return [f"{len(tags)} different ones. The most used, with how many questions have them: {shown}."]


def main(arguments: list[str]) -> int:
    """Write or check the page, and return the exit status."""
    bank = load_bank()
    if bank.problems:
        print("\n".join(map(str, bank.problems)))
        return 1
    readings = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else None
    return write_or_check(PAGE, render(bank, TEMPLATES, readings), arguments, "python -m dev.tools.bank_report")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
