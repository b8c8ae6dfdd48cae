"""The rules by which imported questions are taken or refused, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from domain.bank import BankEntry, QuestionText
from domain.catalog import QuestionSource
from question_bank.lint import lint, nearest_duplicate
from question_bank.loader import Located, Problem
from question_bank.transfer import question_of
from question_bank.verification import Verifier, text_of


@dataclass(slots=True)
class Admission:
    """What becomes of the questions of an import."""

    new: list[Located] = field(default_factory=list)
    changed: list[Located] = field(default_factory=list)
    unchanged: list[Located] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def accepted(self) -> list[Located]:
        """Return what is to be stored."""
        return [*self.new, *self.changed]


def admit(
    questions: Iterable[Located],
    stored: Mapping[str, BankEntry],
    known: Iterable[QuestionText],
    verify: Verifier,
) -> Iterator[Admission]:
    """Take or refuse imported questions one by one, the cheapest rule first.

    Args:
        questions: each keeps the rules for one question already.

    Yields:
        What became of all so far, after each question; always the same object.
    """
    outcome = Admission()
    texts = {text.key: text for text in known}
    for located in questions:
        question, duplicate = located.question, stored.get(located.question.id)
        if duplicate and duplicate.question.source is QuestionSource.IMPORTED and _same(duplicate, located):
            outcome.unchanged.append(located)
        elif reason := _flaw_of(located, duplicate, texts, verify):
            outcome.problems.append(Problem(located.path, located.line, f"{question.id}: {reason}"))
        else:
            (outcome.changed if duplicate else outcome.new).append(located)
            texts[question.id] = text_of(question)
        yield outcome


def _same(entry: BankEntry, located: Located) -> bool:
    try:
        stored = question_of(entry).content_hash(entry.question.topic)
    except ValidationError:
        return False
    return stored == located.question.content_hash(located.topic)


def _flaw_of(
    located: Located, duplicate: BankEntry | None, texts: Mapping[str, QuestionText], verify: Verifier
) -> str | None:
    question = located.question
    if duplicate and duplicate.question.source is not QuestionSource.IMPORTED:
        return f"the id is taken by a question of the source {duplicate.question.source}"
    if problems := lint([located]):
        return problems[0].reason.removeprefix(f"{question.id}: ")
    if repeated := nearest_duplicate(question, (text for key, text in texts.items() if key != question.id)):
        return f"asks the same as {repeated}"
    wrong = verify(located)
    return wrong.removeprefix(f"{question.id}: ") if wrong else None
