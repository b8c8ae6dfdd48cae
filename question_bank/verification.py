"""Everything that can be verified about questions, in stages, so that whoever runs them can show how far they are."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import asyncpg

from domain.bank import QuestionText
from domain.catalog import CheckEngine
from question_bank.checks import RUNNERS, Runner, wrong_answer
from question_bank.format import Question
from question_bank.lint import lint, near_duplicates, nearest_duplicate
from question_bank.loader import Bank, Located, Problem
from question_bank.postgres_check import verify_on_postgres
from question_bank.templates.base import Template
from question_bank.workbench import Workbench

ENGINE_NAMES = {
    CheckEngine.DUCKDB: "DuckDB checks",
    CheckEngine.PYTHON: "Python checks",
    CheckEngine.POSTGRES: "PostgreSQL checks",
}

Prover = Callable[[Located], str | None]
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
        stage: which.
        watch: told after each step how many things it looked at.
    """
    verdict = Verdict(stage.kind, 0, [])
    for count, problems in stage.steps:
        verdict.run += count
        verdict.problems += problems
        watch(count)
    return verdict


def place_of(path: Path, line: int) -> str:
    """Return where something stands, as compilers write it.

    Args:
        path: the file; the folder above it tells the topic.
        line: 0 for what stands in no file.
    """
    return f"{path.parent.name}/{path.name}{f':{line}' if line else ''}"


# ---------------------------------------------------------------- rules


def rules_stage(bank: Bank) -> Stage:
    """Return the stage of all rules that look at a question or a file alone.

    Args:
        bank: what was read, with what could not be.
    """

    def steps() -> Steps:
        yield len(bank.problems), [str(problem) for problem in bank.problems]
        for _, group in groupby(bank.questions, key=lambda located: located.path):
            questions = list(group)
            twins = set(near_duplicates(questions))  # a stage of their own
            yield len(questions), [str(problem) for problem in lint(questions) if problem not in twins]

    return Stage("rules", len(bank.questions) + len(bank.problems), steps())


def duplicates_stage(questions: Sequence[Located], others: Sequence[Located] = ()) -> Stage:
    """Return the stage that looks for questions that ask the same.

    Args:
        questions: compared with each other.
        others: what they must not repeat either, unless it has the same id.
    """

    def steps() -> Steps:
        yield 0, [str(problem) for problem in near_duplicates(questions)]
        mine = {located.question.id for located in questions}
        known = [text_of(located.question) for located in others if located.question.id not in mine]
        for located in questions:
            twin = nearest_duplicate(located.question, known)
            reason = f"{located.question.id}: asks the same as {twin}, which is in the bank"
            yield 1, [str(Problem(located.path, located.line, reason))] if twin else []

    return Stage("near duplicates", len(questions), steps())


def text_of(question: Question) -> QuestionText:
    """Return as much of a question as tells whether another one asks the same.

    Args:
        question: whole.
    """
    return QuestionText(question.id, question.prompt, question.code, tuple(option.text for option in question.options))


# ---------------------------------------------------------------- checks


def prover(runner: Runner) -> Prover:
    """Return what proves questions by a runner.

    Args:
        runner: executes for the engine of the questions' checks.
    """

    def prove(located: Located) -> str | None:
        check = located.question.check
        return wrong_answer(located.question, check, runner) if check else None

    return prove


def postgres_prover(url: str) -> Prover:
    """Return what proves questions on PostgreSQL.

    Args:
        url: a database in which anything may be made; nothing of it stays.
    """

    def prove(located: Located) -> str | None:
        try:
            _, problems = asyncio.run(verify_on_postgres(url, [located]))
        except asyncpg.PostgresError as error:
            return f"{located.question.id}: error in the setup: {error}".splitlines()[0]
        place = f"{located.path.name}:{located.line}: "
        return problems[0].removeprefix(place) if problems else None

    return prove


def provers_of(runners: Mapping[CheckEngine, Runner], postgres_url: str | None = None) -> dict[CheckEngine, Prover]:
    """Return what proves questions, by the engine of their checks.

    Args:
        runners: the engines that need nothing but this machine.
        postgres_url: a database for checks in PostgreSQL, if there is one.
    """
    provers = {engine: prover(runner) for engine, runner in runners.items()}
    return provers | ({CheckEngine.POSTGRES: postgres_prover(postgres_url)} if postgres_url else {})


def check_stages(questions: Iterable[Located], provers: Mapping[CheckEngine, Prover]) -> list[Stage]:
    """Return a stage for each engine, which executes its checks.

    Args:
        questions: those without a check are passed over.
        provers: by engine; questions of others are passed over too.
    """
    by_engine: dict[CheckEngine, list[Located]] = {engine: [] for engine in provers}
    for located in questions:
        if located.question.check and located.question.check.engine in by_engine:
            by_engine[located.question.check.engine].append(located)
    return [
        Stage(ENGINE_NAMES[engine], len(mine), _prove_all(mine, provers[engine])) for engine, mine in by_engine.items()
    ]


def stored_stage(questions: Sequence[Located], problems: list[str], provers: Mapping[CheckEngine, Prover]) -> Stage:
    """Return the stage that executes the checks of questions that stand in no file.

    Args:
        questions: as stored; those without a check are passed over.
        problems: what is wrong with others, which do not even keep the bank's rules.
        provers: by engine.
    """
    checked = [located for located in questions if located.question.check]

    def prove(located: Located) -> str | None:
        check = located.question.check
        return provers[check.engine](located) if check else None

    def steps() -> Steps:
        yield len(problems), problems
        yield from _prove_all(checked, prove)

    return Stage("stored checks", len(checked) + len(problems), steps())


def _prove_all(questions: Iterable[Located], prove: Prover) -> Steps:
    for located in questions:
        wrong = prove(located)
        yield 1, [f"{place_of(located.path, located.line)}: {wrong}"] if wrong else []


# ---------------------------------------------------------------- templates


def draws_stage(templates: Iterable[Template], draws: int) -> Stage:
    """Return the stage that draws questions of every template.

    Args:
        templates: which.
        draws: seeds of each, from 0; a template is given up at the first that fails.
    """
    ours = list(templates)

    def steps() -> Steps:
        with Workbench() as workbench:
            for template in ours:
                for seed in range(draws):
                    failure = _drawing_failure(template, seed, workbench)
                    yield 1, [failure] if failure else []
                    if failure:
                        break

    return Stage("template draws", len(ours) * draws, steps())


def _drawing_failure(template: Template, seed: int, workbench: Workbench) -> str | None:
    try:
        template.make(seed, workbench)
    except Exception as error:  # noqa: BLE001 - a template's own code
        first = (str(error).splitlines() or [""])[0]
        return f"{_place_of_template(template)}: {template.key(seed)}: {type(error).__name__}: {first}"
    return None


def answers_stage(templates: Iterable[Template], seed: int) -> Stage:
    """Return the stage that executes a question of each template as strictly as a stored check.

    Args:
        templates: which; one that cannot be drawn is passed over, since another stage names it.
        seed: the draw that is executed.
    """
    ours = list(templates)

    def steps() -> Steps:
        with Workbench() as workbench:
            for template in ours:
                if _drawing_failure(template, seed, workbench) is None:
                    question = template.make(seed, workbench)
                    check = question.check
                    wrong = wrong_answer(question, check, RUNNERS[check.engine]) if check else None
                    yield 1, [f"{_place_of_template(template)}: {wrong}"] if wrong else []

    return Stage("template answers", len(ours), steps())


def _place_of_template(template: Template) -> str:
    code = inspect.unwrap(template.draft).__code__
    return place_of(Path(code.co_filename), code.co_firstlineno)
