"""The form of a question in the bank, with every rule that one question can be held to alone.

A field's description is the documentation of the YAML; ``docs/question-format.md`` shows it filled in.
Rules that weigh words against each other (lengths, duplicates, sections, versions) stand in ``lint.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
from statistics import median_low
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from domain.catalog import OPTION_COUNT, CheckEngine, Level, QuestionForm, Topic

MAX_PROMPT = 420
MAX_OPTION = 140
MAX_WHY = 220
MAX_EXPLANATION = 420
MAX_MISCONCEPTION = 90
MAX_CODE_LINES = 20
MAX_CODE_COLUMNS = 36
"""As many monospaced columns as a phone shows before a line wraps."""

MIN_RATINGS = 3

_FORBIDDEN_OPTION = re.compile(r"\b(all|none|both|any) of (the )?(above|options|answers)\b|\bA and B\b", re.IGNORECASE)

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]


_UNSHOWABLE = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
"""Characters that steer a terminal, turn the direction of what follows them, or are none: no text needs them, and a
question may come from anybody."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _only_characters_that_show(cls, value: object) -> object:
        if isinstance(value, str) and (found := _UNSHOWABLE.search(value)):
            msg = f"holds the character U+{ord(found[0]):04X}, which cannot be shown"
            raise ValueError(msg)
        return value


class Option(_Strict):
    """One of the four answers."""

    text: Annotated[Text, Field(max_length=MAX_OPTION)]
    why: Annotated[Text, Field(max_length=MAX_WHY)]
    """Why it is right, or which mistake leads a learner to it."""
    correct: bool = False
    value: str | None = None
    """What the check yields if this option is the answer; the option's text when absent."""
    misconception: Annotated[Text, Field(max_length=MAX_MISCONCEPTION)] | None = None
    """What somebody who picks this wrong option believes. For authors and reviewers: it is not stored."""

    @field_validator("text", mode="before")
    @classmethod
    def _no_bare_scalars(cls, text: object) -> object:
        if not isinstance(text, str):
            if isinstance(text, list | dict):
                msg = f"must be text; it is a {type(text).__name__}; quote it"
                raise ValueError(msg)  # noqa: TRY004 - as below
            msg = f"quote it: YAML reads {text!r} as {type(text).__name__}, not text"
            raise ValueError(msg)  # noqa: TRY004 - pydantic turns only ValueError into a located message
        return text


class Reference(_Strict):
    """Primary documentation that a learner can read on in."""

    title: Annotated[Text, Field(max_length=140)]
    """The document and its section, such as ``PostgreSQL 18 docs, 7.8.2 Recursive Queries``; with the version wherever
    the question leans on one."""
    url: Annotated[str, StringConstraints(pattern=r"^https://\S+$", max_length=300)]


class Check(_Strict):
    """How to find out the answer by executing something."""

    engine: CheckEngine
    setup: str = ""
    """Statements that run before, and are not shown to the learner unless ``code`` repeats them."""
    run: str | None = None
    """What yields the answer; the question's ``code`` when absent."""


class BankQuestion(_Strict):
    """One question of the static bank."""

    id: Slug
    """Never changes: learners' history hangs on it."""
    level: Level
    form: QuestionForm
    prompt: Annotated[Text, Field(max_length=MAX_PROMPT)]
    code: str | None = None
    language: str = ""
    options: list[Option]
    explanation: Annotated[Text, Field(max_length=MAX_EXPLANATION)]
    reference: Reference
    tags: Annotated[list[Slug], Field(min_length=1, max_length=6)]
    check: Check | None = None
    rated: Annotated[list[Level], Field(min_length=MIN_RATINGS)] | None = None
    """The levels that independent readers gave it without seeing ours; written by ``dev/tools/blind_readings.py``."""

    @field_validator("options")
    @classmethod
    def _four_distinct_options_one_right(cls, options: list[Option]) -> list[Option]:
        if len(options) != OPTION_COUNT:
            msg = f"needs {OPTION_COUNT} options, has {len(options)}"
            raise ValueError(msg)
        right = sum(option.correct for option in options)
        if right != 1:
            msg = f"needs exactly one option with `correct: true`, has {right}"
            raise ValueError(msg)
        if any(option.correct and option.misconception for option in options):
            msg = "the right option has a `misconception`; only wrong ones do"
            raise ValueError(msg)
        if len({" ".join(option.text.lower().split()) for option in options}) != OPTION_COUNT:
            msg = "two options say the same"
            raise ValueError(msg)
        for option in options:
            if _FORBIDDEN_OPTION.search(option.text):
                msg = f"options are shuffled and stand alone, so none may refer to others: {option.text!r}"
                raise ValueError(msg)
        return options

    @field_validator("code")
    @classmethod
    def _code_fits_a_phone(cls, code: str | None) -> str | None:
        if code is None:
            return None
        code = code.rstrip("\n")
        lines = code.split("\n")
        if not code.strip() or len(lines) > MAX_CODE_LINES:
            msg = f"code has {len(lines)} lines; 1 to {MAX_CODE_LINES} fit a phone"
            raise ValueError(msg)
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_CODE_COLUMNS:
                msg = f"code line {number} has {len(line)} columns; {MAX_CODE_COLUMNS} fit a phone"
                raise ValueError(msg)
        return code

    @model_validator(mode="after")
    def _check_has_something_to_run(self) -> Self:
        if self.check and not (self.check.run or self.code):
            msg = "check: nothing to run: give `check.run` or `code`"
            raise ValueError(msg)
        if self.code and not self.language:
            msg = "code needs `language` (sql, python, yaml, json, text, bash, ...)"
            raise ValueError(msg)
        if self.check and len({option.value or option.text for option in self.options}) != OPTION_COUNT:
            msg = "two options stand for the same value of the check"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _level_is_the_median_of_its_ratings(self) -> Self:
        if self.rated and self.level != (median := median_low(self.rated)):
            msg = f"level is {self.level}, but the median of `rated` is {median}"
            raise ValueError(msg)
        return self

    @property
    def correct_index(self) -> int:
        """Return the place of the right option, counted from 0."""
        return next(i for i, option in enumerate(self.options) if option.correct)

    def content_hash(self, topic: Topic) -> str:
        """Return a digest of everything that is stored, so that loading twice changes nothing."""
        stored = self.model_dump(mode="json", exclude={"rated": True, "options": {"__all__": {"misconception"}}})
        content = json.dumps({"topic": topic, **stored}, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]
