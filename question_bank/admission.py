"""The rules by which imported questions are taken or refused, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from domain.bank import BankEntry, QuestionText
from domain.catalog import QuestionForm, QuestionSource
from question_bank.lint import lint, nearest_duplicate
from question_bank.loader import Located, Problem
from question_bank.transfer import question_of
from question_bank.verification import Prover, text_of


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
    prove: Prover,
) -> Iterator[Admission]:
    """Take or refuse imported questions one by one, the cheapest rule first.

    Args:
        questions: each keeps the rules for one question already.
        stored: what has one of their ids already, by id.
        known: what they must not repeat.
        prove: executes a check.

    Yields:
        What became of all so far, after each question; always the same object.
    """
    outcome = Admission()
    texts = {text.key: text for text in known}
    for located in questions:
        question, twin = located.question, stored.get(located.question.id)
        if twin and twin.question.source is QuestionSource.IMPORTED and _same(twin, located):
            outcome.unchanged.append(located)
        elif reason := _flaw_of(located, twin, texts, prove):
            outcome.problems.append(Problem(located.path, located.line, f"{question.id}: {reason}"))
        else:
            (outcome.changed if twin else outcome.new).append(located)
            texts[question.id] = text_of(question)
        yield outcome


def _same(entry: BankEntry, located: Located) -> bool:
    try:
        stored = question_of(entry).content_hash(entry.question.topic)
    except ValidationError:
        return False
    return stored == located.question.content_hash(located.topic)


def _flaw_of(located: Located, twin: BankEntry | None, texts: Mapping[str, QuestionText], prove: Prover) -> str | None:
    question = located.question
    if twin and twin.question.source is not QuestionSource.IMPORTED:
        return f"the id is taken by a question of the source {twin.question.source}"
    # How many definitions a file may hold is a rule for the bank's files; an import adds to all of them.
    alone = question.model_copy(update={"form": QuestionForm.PRACTICAL})
    if problems := lint([Located(alone, located.topic, located.path, located.line)]):
        return problems[0].reason.removeprefix(f"{question.id}: ")
    if repeated := nearest_duplicate(question, (text for key, text in texts.items() if key != question.id)):
        return f"asks the same as {repeated}"
    wrong = prove(located)
    return wrong.removeprefix(f"{question.id}: ") if wrong else None
