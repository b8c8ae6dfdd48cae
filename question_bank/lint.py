"""Rules over questions that keep those of ``format.py``: for one, for a file of the bank, and for many."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, pairwise

from domain.bank import QuestionText
from domain.catalog import Level, QuestionForm
from question_bank.format import BankQuestion
from question_bank.loader import Located, Problem
from question_bank.style import style_problems

MAX_SPREAD = 2.5
"""The longest option may be at most this many times as long as the shortest, past ``MIN_LENGTH_THAT_SPREADS``."""

MIN_LENGTH_THAT_SPREADS = 40
"""Up to this many characters options may differ in length as lists of computed names or numbers do."""

MAX_DEFINITION_SHARE = 1 / 3
MIN_DECISIONS = 7
"""A file of level 2 or above has at least this many questions that ask for a decision..."""
MIN_DECISION_FORMS = 3
"""...in at least this many forms."""

MAX_RATING_SPREAD = 1
"""Readers who differ by more do not read the same question."""

NEAR_DUPLICATE = 0.72
"""Jaccard similarity of word pairs beyond which two questions ask the same."""

_WORD = re.compile(r"[a-z0-9_]+")

_SECTION = re.compile(r"[,:] \S|\w\(\d\w?\)")
_PRODUCT = (
    "Airflow|Cassandra|dbt|Debezium|Delta Lake|DuckDB|Flink|Iceberg|Kafka|librdkafka|PostgreSQL|Prometheus|Python|Spark"
)
_VERSIONED = re.compile(rf"\b(?:{_PRODUCT})\b")
_NAMED_VERSION = re.compile(rf"\b(?:{_PRODUCT})(?: [A-Z]\w+)? v?\d")
_ADDRESS_OF_VERSION = re.compile(r"/v?\d+(?:\.\d+)*/")

_VERSION_BOUND = re.compile(
    r"\bby default\b|\bdefault (?:settings?|configuration)\b|\b(?:its|the|fixed) default\b(?! value)"
    r"|\bdeprecated\b|\bsince version\b",
    re.IGNORECASE,
)
"""Words by which a text leans on what another version may do otherwise."""


def lint(questions: Sequence[Located]) -> list[Problem]:
    """Return everything that is wrong across a set of questions, wherever they come from."""
    return [
        *_uneven(questions),
        *_without_section(questions),
        *_without_version(questions),
        *style_problems(questions),
        *near_duplicates(questions),
    ]


def lint_file(questions: Sequence[Located]) -> list[Problem]:
    """Return what is wrong with a file of the bank beyond that; imports need not keep these rules.

    Args:
        questions: all those of one file.
    """
    return [
        *_too_many_definitions(questions),
        *_too_few_decisions(questions),
        *_without_misconceptions(questions),
        *_unrated(questions),
        *_rated_apart(questions),
    ]


def _uneven(questions: Iterable[Located]) -> Iterable[Problem]:
    """Find questions with an option, right or wrong, that stands out beside a much shorter one."""
    for located in questions:
        lengths = [len(option.text) for option in located.question.options]
        if max(lengths) > MIN_LENGTH_THAT_SPREADS and max(lengths) > MAX_SPREAD * min(lengths):
            reason = f"{located.question.id}: the options have {lengths} characters, so the longest stands out"
            yield Problem(located.path, located.line, reason)


def _without_section(questions: Iterable[Located]) -> Iterable[Problem]:
    """Find references that name a document and not the place in it."""
    for located in questions:
        title = located.question.reference.title
        if not _SECTION.search(title):
            reason = f"{located.question.id}: the reference {title!r} names no section"
            yield Problem(located.path, located.line, reason)


def _without_version(questions: Iterable[Located]) -> Iterable[Problem]:
    """Find questions that lean on a product's defaults, which versions change, and name no version."""
    for located in questions:
        question = located.question
        texts = [question.prompt, question.explanation, *(f"{option.text} {option.why}" for option in question.options)]
        told = " ".join(texts)
        named = f"{told} {question.reference.title}"
        bound = _VERSION_BOUND.search(told)
        is_known = _NAMED_VERSION.search(named) or _ADDRESS_OF_VERSION.search(question.reference.url)
        if bound and _VERSIONED.search(named) and not is_known:
            reason = f"{question.id}: says {bound[0]!r} of a product, and names no version of it"
            yield Problem(located.path, located.line, reason)


def _too_many_definitions(questions: Sequence[Located]) -> Iterable[Problem]:
    definitions = sum(located.question.form is QuestionForm.DEFINITION for located in questions)
    share = definitions / len(questions)
    if share > MAX_DEFINITION_SHARE:
        yield Problem(questions[0].path, 1, f"{share:.0%} of the questions ask for a definition; at most a third may")


def _too_few_decisions(questions: Sequence[Located]) -> Iterable[Problem]:
    if questions[0].question.level is Level.BEGINNER:
        return
    decisions = [located.question.form for located in questions if located.question.form.is_decision]
    if len(decisions) < MIN_DECISIONS or len(set(decisions)) < MIN_DECISION_FORMS:
        reason = (
            f"{len(decisions)} of the questions ask for a decision, in {len(set(decisions))} forms; "
            f"at least {MIN_DECISIONS} should, in {MIN_DECISION_FORMS}"
        )
        yield Problem(questions[0].path, 1, reason)


def _without_misconceptions(questions: Iterable[Located]) -> Iterable[Problem]:
    for located in questions:
        missing = sum(not (option.correct or option.misconception) for option in located.question.options)
        if missing:
            reason = f"{located.question.id}: {missing} of the wrong options have no `misconception`"
            yield Problem(located.path, located.line, reason)


def _unrated(questions: Sequence[Located]) -> Iterable[Problem]:
    for located in questions:
        if not located.question.rated:
            yield Problem(located.path, located.line, f"{located.question.id}: has no `rated`")


def _rated_apart(questions: Iterable[Located]) -> Iterable[Problem]:
    for located in questions:
        rated = located.question.rated or [located.question.level]
        if max(rated) - min(rated) > MAX_RATING_SPREAD:
            levels = ", ".join(str(int(level)) for level in rated)
            reason = f"{located.question.id}: readers rated it {levels}; rewrite it, so that they agree"
            yield Problem(located.path, located.line, reason)


def near_duplicates(questions: Sequence[Located]) -> Iterable[Problem]:
    """Find pairs of questions that ask the same in nearly the same words.

    Returns:
        A problem for each pair, at the later one's place.
    """
    shingles = [_shingles_of(located.question) for located in questions]
    frequency = Counter(chain.from_iterable(shingles))
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for j, mine in enumerate(shingles):
        # Two sets that are so alike share one of their rarest members: only (1 - NEAR_DUPLICATE) of each may differ.
        by_rarity = sorted(mine, key=lambda shingle: (frequency[shingle], shingle))
        rarest = by_rarity[: int((1 - NEAR_DUPLICATE) * len(mine)) + 1]
        for i in sorted({place for shingle in rarest for place in places[shingle]}):
            if _similarity(shingles[i], mine) > NEAR_DUPLICATE:
                reason = f"{questions[j].question.id}: asks the same as {questions[i].question.id}"
                yield Problem(questions[j].path, questions[j].line, reason)
        for shingle in rarest:
            places[shingle].append(j)


def nearest_duplicate(question: BankQuestion, known: Iterable[QuestionText]) -> str | None:
    """Return the key of the known question that a new one repeats in nearly the same words, or None."""
    mine = _shingles_of(question)
    similar = [
        (_similarity(mine, _shingles([text.prompt, text.code or "", *text.options])), text.key) for text in known
    ]
    best, key = max(similar, default=(0.0, ""))
    return key if best > NEAR_DUPLICATE else None


Shingles = frozenset[tuple[str, str]]


def _similarity(one: Shingles, other: Shingles) -> float:
    return len(one & other) / len(one | other) if one and other else 0.0


def _shingles_of(question: BankQuestion) -> Shingles:
    return _shingles([question.prompt, question.code or "", *(option.text for option in question.options)])


def _shingles(texts: Iterable[str]) -> Shingles:
    return _shingles_in(" ".join(texts))


@lru_cache(maxsize=8192)  # an import compares each of its rows with the whole bank
def _shingles_in(text: str) -> Shingles:
    return frozenset(pairwise(_WORD.findall(text.lower())))
