"""What a language model is told: pure text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.catalog import Level, Topic
from domain.models import StoredQuestion
from question_bank.format import (
    MAX_CODE_COLUMNS,
    MAX_CODE_LINES,
    MAX_EXPLANATION,
    MAX_OPTION,
    MAX_WHY,
    BankQuestion,
)
from question_bank.style import MAX_SCENE, PROMPT_LENGTH, READING_LOAD

MAX_PROMPT_CHARACTERS = 12_000
"""Longest that a request can become; the reservation of money relies on it."""

LETTERS = "ABCD"

_MEANING = {
    Level.BEGINNER: "knows the words and the basic behaviour after some months on the job",
    Level.INTERMEDIATE: "has built pipelines for two years and met the common traps",
    Level.ADVANCED: "has debugged and designed pipelines for five years, and connects two mechanisms",
    Level.EXPERT: "knows internals and trade-offs that fewer than half of the engineers with five years know",
}

PYTHON_MODULES = (
    *("base64", "bisect", "collections", "copy", "csv", "dataclasses", "datetime", "decimal", "functools"),
    *("hashlib", "itertools", "json", "math", "random", "re", "typing", "unicodedata"),
)
"""What the sandbox has and a question may want."""

INSTRUCTIONS = f"""You write one multiple-choice question for working data engineers.

Style: practical before trivia. Show a query, plan, configuration, log line or situation and ask what happens, what is \
wrong or what to change. State every assumption that the answer needs, with the version where it depends on one. \
Simple, exact English; plain text with words of code in `backticks`, no other Markdown.

Options: four, of like length and form, exactly one correct beyond argument: all end with a full stop or none, at most \
one says "because", and the right one is neither the longest nor the only one with a number or code. Each has a `why` \
that says why it is right, or which mistake leads to it. They are shuffled, so they stand alone and never refer to \
each other.

Limits in characters: option {MAX_OPTION}, `why` {MAX_WHY}, `explanation` {MAX_EXPLANATION}. \
`code` has at most {MAX_CODE_LINES} lines of {MAX_CODE_COLUMNS} columns, or is null with an empty `language`.

Proof: SQL and Python are executed before anybody sees them. With `language` sql, `engine` is duckdb, `setup` creates \
the tables and rows (DuckDB's dialect, nothing outside the database), and `code` is the query whose result is asked \
for, with a total ORDER BY if it returns several rows. Learners never see `setup`: `prompt` or `code` must show every \
row that the answer needs. With `language` python, `engine` is python, and `code` prints what is asked for. It runs in \
a small interpreter: no files, no class that inherits, no method decorators, no `yield`, no `del`, no lazy generator \
expressions, and of modules only {", ".join(PYTHON_MODULES)}. Each option has a `value`: what running \
the code would give if that option were right. Write values of a row joined by ", ", rows and printed lines joined by \
" / ", NULL as NULL, booleans as true and false, no rows as (no rows), an error as "error: " and its class. Without \
executable code `engine`, `setup` and every `value` are null.

`reference_title` names primary documentation and its section, `reference_url` is its https address. `tags` are one \
to six lower-case words in kebab-case."""

BLIND_INSTRUCTIONS = (
    "You are a senior data engineer who checks a quiz. Work the question out step by step in `reasoning`, then give "
    "the letter of the one right answer. Set `flawed` if no option is right, more than one is, or the question cannot "
    "be answered as it stands; give the letter that comes nearest all the same."
)


@dataclass(frozen=True, slots=True)
class Brief:
    """What a question is to be about."""

    topic: Topic
    level: Level
    missed_tags: Sequence[str] = ()
    """What learners got wrong lately, worst first; never who."""
    examples: Sequence[StoredQuestion] = ()
    """Questions of the bank that show its style, and that are not to be repeated."""


def request(brief: Brief) -> str:
    """Return what asks for a question."""
    parts = [
        f"Topic: {brief.topic.label}.",
        f"Level: {brief.level.label}, for someone who {_MEANING[brief.level]}.",
        f"Limits in characters: `prompt` {PROMPT_LENGTH[brief.level]}, before the sentence that asks {MAX_SCENE}.",
        f"`prompt`, `code` and options have at most {READING_LOAD[brief.level]} together.",
    ]
    if brief.missed_tags:
        parts.append(f"Learners lately got wrong: {', '.join(brief.missed_tags)}. Prefer one of these.")
    if brief.examples:
        parts.append("Examples of the bank's style; ask about something else:")
        parts += [_example(question) for question in brief.examples]
    return "\n\n".join(parts)[: MAX_PROMPT_CHARACTERS - len(INSTRUCTIONS)]


def _example(question: StoredQuestion) -> str:
    options = "\n".join(
        f"- {option.text}{' (correct)' if place == question.correct_index else ''}"
        for place, option in enumerate(question.options)
    )
    code = f"\n{question.code}" if question.code else ""
    return f"{question.prompt.strip()}{code}\n{options}\nExplanation: {question.explanation.strip()}"


def blind(question: BankQuestion, order: Sequence[int]) -> str:
    """Return a question without its key."""
    options = [f"{letter}. {question.options[place].text}" for letter, place in zip(LETTERS, order, strict=True)]
    shown = [question.prompt.strip()]  # what runs before is not shown to learners either
    if question.code:
        shown.append(f"{question.language}:\n{question.code}")
    return "\n\n".join([*shown, "\n".join(options)])[: MAX_PROMPT_CHARACTERS - len(BLIND_INSTRUCTIONS)]
