"""Everything that can be verified about questions, in stages whose progress can be shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from domain.bank import QuestionText
from domain.catalog import CheckEngine
from domain.errors import first_line
from question_bank.checks import OWN_RUNNERS, Runner, run_cpython, run_duckdb, run_untrusted_python, wrong_answer
from question_bank.executor import Executor
from question_bank.format import BankQuestion
from question_bank.lint import lint, lint_file, near_duplicates, nearest_duplicate
from question_bank.loader import BANK_FOLDER, Bank, Located, Problem, place_of
from question_bank.postgres_check import run_postgres
from question_bank.templates.base import Template

ENGINE_NAMES = {
    CheckEngine.DUCKDB: "DuckDB checks",
    CheckEngine.PYTHON: "Python checks",
    CheckEngine.POSTGRES: "PostgreSQL checks",
}

Verifier = Callable[[Located], str | None]
"""Executes a question's check and says what is wrong, if anything is."""

Steps = Iterator[tuple[int, list[str]]]
"""For each step how many things it looked at, and a line for each that is wrong."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of verification, not begun yet."""

    kind: str
    total: int
    """Things that it looks at, unless it gives up on some."""
    steps: Steps


@dataclass(slots=True)
class Verdict:
    """What a stage found."""

    kind: str
    run: int
    problems: list[str]


def conclude(stage: Stage, watch: Callable[[int], None] = lambda _: None) -> Verdict:
    """Run a stage to its end.

    Args:
        watch: told after each step how many things it looked at.
    """
    verdict = Verdict(stage.kind, 0, [])
    for count, problems in stage.steps:
        verdict.run += count
        verdict.problems += problems
        watch(count)
    return verdict


# ---------------------------------------------------------------- rules


def rules_stage(bank: Bank) -> Stage:
    """Return the stage of all rules that look at a question or a file alone."""

    def steps() -> Steps:
        yield len(bank.problems), [str(problem) for problem in bank.problems]
        for path, group in groupby(bank.questions, key=lambda located: located.path):
            questions = list(group)
            duplicates = set(near_duplicates(questions))  # a stage of their own
            problems = [problem for problem in lint(questions) if problem not in duplicates]
            problems += lint_file(questions) if path.resolve().is_relative_to(BANK_FOLDER) else []
            yield len(questions), [str(problem) for problem in problems]

    return Stage("rules", len(bank.questions) + len(bank.problems), steps())


def duplicates_stage(questions: Sequence[Located], others: Sequence[Located] = ()) -> Stage:
    """Return the stage that looks for questions that ask the same.

    Args:
        others: what they must not repeat either, unless it has the same id.
    """

    def steps() -> Steps:
        yield 0, [str(problem) for problem in near_duplicates(questions)]
        mine = {located.question.id for located in questions}
        known = [text_of(located.question) for located in others if located.question.id not in mine]
        for located in questions:
            duplicate = nearest_duplicate(located.question, known)
            reason = f"{located.question.id}: asks the same as {duplicate}, which is in the bank"
            yield 1, [str(Problem(located.path, located.line, reason))] if duplicate else []

    return Stage("near duplicates", len(questions), steps())


def text_of(question: BankQuestion) -> QuestionText:
    """Return as much of a question as tells whether another one asks the same."""
    return QuestionText(question.id, question.prompt, question.code, tuple(option.text for option in question.options))


# ---------------------------------------------------------------- checks


def verifier(runner: Runner) -> Verifier:
    """Return what verifies questions by a runner."""

    def verify(located: Located) -> str | None:
        check = located.question.check
        return wrong_answer(located.question, check, runner) if check else None

    return verify


@dataclass(slots=True)
class BankPython:
    """Verifies the bank's own Python: in the sandbox, or in CPython what does not give its key there."""

    sandboxed: int = 0
    """How many questions the sandbox has verified."""
    in_cpython: int = 0
    """How many CPython was needed for."""

    def __call__(self, located: Located) -> str | None:
        """Execute a question's check and say what is wrong, if anything is."""
        if verifier(run_untrusted_python)(located) is None:
            self.sandboxed += 1
            return None
        self.in_cpython += 1
        return verifier(run_cpython)(located)


def bank_verifiers(postgres_url: str | None = None) -> dict[CheckEngine, Verifier]:
    """Return what verifies the bank's own questions, by the engine of their checks.

    Args:
        postgres_url: of a throw-away server for checks in PostgreSQL, if there is one.
    """
    return verifiers_of({CheckEngine.DUCKDB: run_duckdb}, postgres_url) | {CheckEngine.PYTHON: BankPython()}


def verifiers_of(runners: Mapping[CheckEngine, Runner], postgres_url: str | None = None) -> dict[CheckEngine, Verifier]:
    """Return what verifies questions, by the engine of their checks.

    Args:
        postgres_url: of a throw-away server for checks in PostgreSQL, if there is one.
    """
    verifiers = {engine: verifier(runner) for engine, runner in runners.items()}
    return verifiers | ({CheckEngine.POSTGRES: verifier(partial(run_postgres, postgres_url))} if postgres_url else {})


def check_stages(questions: Iterable[Located], verifiers: Mapping[CheckEngine, Verifier]) -> list[Stage]:
    """Return a stage for each engine, which executes its checks.

    Args:
        questions: those without a check are passed over.
    """
    by_engine: dict[CheckEngine, list[Located]] = {engine: [] for engine in verifiers}
    for located in questions:
        if located.question.check and located.question.check.engine in by_engine:
            by_engine[located.question.check.engine].append(located)
    return [
        Stage(ENGINE_NAMES[engine], len(mine), _verify_all(mine, verifiers[engine]))
        for engine, mine in by_engine.items()
    ]


def stored_stage(questions: Sequence[Located], problems: list[str], verifiers: Mapping[CheckEngine, Verifier]) -> Stage:
    """Return the stage that executes the checks of questions that stand in no file.

    Args:
        questions: as stored; those without a check are passed over.
        problems: what is wrong with others, which do not even keep the bank's rules.
    """
    checked = [located for located in questions if located.question.check]

    def verify(located: Located) -> str | None:
        check = located.question.check
        return verifiers[check.engine](located) if check else None

    def steps() -> Steps:
        yield len(problems), problems
        yield from _verify_all(checked, verify)

    return Stage("stored checks", len(checked) + len(problems), steps())


def _verify_all(questions: Iterable[Located], verify: Verifier) -> Steps:
    for located in questions:
        wrong = verify(located)
        yield 1, [f"{place_of(located.path, located.line)}: {wrong}"] if wrong else []


# ---------------------------------------------------------------- templates


def draws_stage(templates: Iterable[Template], draws: int) -> Stage:
    """Return the stage that draws questions of every template.

    Args:
        draws: seeds of each, from 0; a template is given up at the first that fails.
    """
    ours = list(templates)

    def steps() -> Steps:
        with Executor() as executor:
            for template in ours:
                for seed in range(draws):
                    failure = _drawing_failure(template, seed, executor)
                    yield 1, [failure] if failure else []
                    if failure:
                        break

    return Stage("template draws", len(ours) * draws, steps())


def _drawing_failure(template: Template, seed: int, executor: Executor) -> str | None:
    try:
        template.make(seed, executor)
    except Exception as error:  # noqa: BLE001 - a template's own code
        place, what = _place_of_template(template), type(error).__name__
        return f"{place}: {template.key(seed)}: {what}: {first_line(error)}"
    return None


def answers_stage(templates: Iterable[Template], seed: int) -> Stage:
    """Return the stage that executes a question of each template as strictly as a stored check.

    Args:
        templates: which; one that cannot be drawn is passed over, since another stage names it.
    """
    ours = list(templates)

    def steps() -> Steps:
        with Executor() as executor:
            for template in ours:
                if _drawing_failure(template, seed, executor) is None:
                    question = template.make(seed, executor)
                    check = question.check
                    wrong = wrong_answer(question, check, OWN_RUNNERS[check.engine]) if check else None
                    yield 1, [f"{_place_of_template(template)}: {wrong}"] if wrong else []

    return Stage("template answers", len(ours), steps())


def _place_of_template(template: Template) -> str:
    code = inspect.unwrap(template.draft).__code__
    return place_of(Path(code.co_filename), code.co_firstlineno)
