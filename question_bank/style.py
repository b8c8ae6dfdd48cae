"""Rules for how a question reads on a phone, and for what its options give away."""

from __future__ import annotations

import re
from collections.abc import Iterable

from domain.catalog import Level
from question_bank.format import BankQuestion
from question_bank.loader import Located, Problem

PROMPT_LENGTH = {Level.BEGINNER: 220, Level.INTERMEDIATE: 260, Level.ADVANCED: 300, Level.EXPERT: 320}
"""Most characters of a prompt; a phone shows about 40 in a line."""

MAX_SCENE = 240
"""Most characters before the last sentence of a prompt, which asks: two lines of a file."""

READING_LOAD = {Level.BEGINNER: 700, Level.INTERMEDIATE: 900, Level.ADVANCED: 1100, Level.EXPERT: 1300}
"""Most characters that a learner of a level reads before answering: prompt, code and options together."""

MAX_LEAD = 1.3
"""The right option may be at most this many times as long as the longest wrong one, past ``MIN_LENGTH_THAT_SHOWS``."""

MIN_LENGTH_THAT_SHOWS = 28
"""Up to this many characters an option's length gives nothing away."""

_END_OF_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_MARK = re.compile(r"(?:#|--|//)\s*\(?[A-D]\)?[:.]?\s*$", re.MULTILINE)
"""A comment that names a line by a letter, as options are named."""

_SIGNS = {"code": re.compile("`"), "a number": re.compile(r"\d")}


def style_problems(questions: Iterable[Located]) -> Iterable[Problem]:
    """Find what makes a question hard to read on a phone, or easy to guess."""
    for located in questions:
        question = located.question
        for reason in (*_hard_to_read(question), *_easy_to_guess(question)):
            yield Problem(located.path, located.line, f"{question.id}: {reason}")


def reading_load(question: BankQuestion) -> int:
    """Return how many characters a learner reads before answering."""
    return len(question.prompt) + len(question.code or "") + sum(len(option.text) for option in question.options)


def _hard_to_read(question: BankQuestion) -> Iterable[str]:
    length, limit = len(question.prompt), PROMPT_LENGTH[question.level]
    if length > limit:
        yield f"the prompt has {length} characters; at most {limit} at this level"
    scene = len(question.prompt) - len(_END_OF_SENTENCE.split(question.prompt)[-1])
    if scene > MAX_SCENE:
        yield f"the prompt tells for {scene} characters before it asks; at most {MAX_SCENE}"
    load, limit = reading_load(question), READING_LOAD[question.level]
    if load > limit:
        yield f"prompt, code and options have {load} characters; at most {limit} at this level"
    if mark := _MARK.search(question.code or ""):
        yield f"code marks a line {mark[0].strip()!r}, as options are named; number the lines"


def _easy_to_guess(question: BankQuestion) -> Iterable[str]:
    right = question.options[question.correct_index].text
    wrong = [option.text for option in question.options if not option.correct]
    longest = max(map(len, wrong))
    if len(right) > MIN_LENGTH_THAT_SHOWS and len(right) > MAX_LEAD * longest:
        yield f"the right option has {len(right)} characters, and the longest wrong one {longest}"
    for what, sign in _SIGNS.items():
        if sign.search(right) and not any(map(sign.search, wrong)):
            yield f"only the right option has {what}"
    texts = [right, *wrong]
    stops = sum(text.endswith(".") for text in texts)
    if 0 < stops < len(texts):
        yield f"{stops} of {len(texts)} options end with a full stop; all or none should"
    reasons = sum("because" in text.lower() for text in texts)
    if reasons > 1:
        yield f"{reasons} options say `because`; at most one may"
