"""`python main.py questions COMMAND`: what operators do with the questions."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import TypeVar

from rich.console import Console

from adaptation.item_analysis import MIN_ANSWERS, analyze_items
from domain.bank import BankEntry
from domain.catalog import CheckEngine, QuestionSource, QuestionState, Topic
from domain.errors import (
    ExportError,
    QuestionRetiredError,
    UnknownQuestionError,
)
from domain.settings import Settings
from local.database import database_settings
from question_bank.admission import Admission, admit
from question_bank.checks import UNTRUSTED_RUNNERS
from question_bank.csv_files import write_csv
from question_bank.loader import Bank, Located, load_bank, place_of
from question_bank.rows import question_columns
from question_bank.templates import TEMPLATES
from question_bank.transfer import locate_stored, read_files, write_yaml
from question_bank.verification import (
    BankPython,
    Stage,
    Verdict,
    Verifier,
    answers_stage,
    bank_verifiers,
    check_stages,
    conclude,
    draws_stage,
    duplicates_stage,
    rules_stage,
    stored_stage,
    verifiers_of,
)
from repository import Repository
from roles.questions.references import Trouble, addresses_of, as_json, check_references, collect_references
from roles.questions.tables import (
    Overview,
    details_of,
    overview_json,
    overview_page,
    page_of,
    summary_of,
    table_of,
    verdicts_table,
)
from roles.questions.terminal import open_console, print_json, progress, say
from storage.database import schema_mismatch_in_one_line

T = TypeVar("T")
MAX_REPORTED = 10
STARTER_SCHEMA = "schema.sql"
WRITERS = (QuestionSource.STATIC, QuestionSource.IMPORTED, QuestionSource.LLM)
"""Sources of questions that were written; templates draw theirs again whenever they are needed."""


def run_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run a command.

    Args:
        options: as the parser of `add_commands` reads them.
        settings: where the database is; without one, the embedded one of the data folder is used.

    Returns:
        The exit status.

    Raises:
        QuizServiceError: what is asked for cannot be done.
    """
    if options.command is None:
        options.print_help()
        return 0
    if threading.current_thread() is threading.main_thread():  # no other may
        signal.signal(signal.SIGTERM, _end)
    try:
        with schema_mismatch_in_one_line():
            return _COMMANDS[options.command](options, settings)
    except BrokenPipeError:  # the reader has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130  # as shells say for Ctrl-C


def _end(number: int, _: FrameType | None) -> None:
    """End as a program does, so that servers and folders that were made for the command go with it."""
    signal.signal(number, signal.SIG_IGN)  # a second one would break off the cleaning up
    raise SystemExit(128 + number)


# ---------------------------------------------------------------- the database


def _ask(settings: Settings, work: Callable[[Repository], Awaitable[T]]) -> T:
    """Open the database, do something with it, and close it."""

    async def run(settings: Settings, *, is_local: bool) -> T:
        async with await Repository.open(settings) as repository:
            if is_local and STARTER_SCHEMA in await repository.database.prepare_schema():
                await _load_files(repository, settings.question_bank_dir)
            return await work(repository)

    with database_settings(settings) as reachable:
        return asyncio.run(run(reachable, is_local=settings.database_url is None))


def _own_postgres() -> AbstractContextManager[str]:
    """Return a server for untrusted statements.

    Raises:
        StartupError: its package is not installed.
    """
    from local.throwaway_postgres import throwaway_postgres  # noqa: PLC0415 - a container has no server of its own

    return throwaway_postgres()


async def _load_files(repository: Repository, folder: Path) -> None:
    """Load the bank into a database that is new, as the service does at its start."""
    bank = load_bank(folder)
    columns = {q.question.id: question_columns(q.question, q.topic, QuestionSource.STATIC) for q in bank.questions}
    await repository.sync_static_questions(columns, Topic if bank.problems else ())


async def _find(repository: Repository, key: str) -> BankEntry:
    entries = await repository.list_questions(keys=[key])
    if entries:
        return entries[0]
    known = [entry.question.key for entry in await repository.list_questions()]
    near = get_close_matches(key, known, 3)
    raise UnknownQuestionError(f"{key!r}" + (f"; is it {' or '.join(near)}?" if near else ""))


def _select(options: argparse.Namespace) -> Callable[[Repository], Awaitable[list[BankEntry]]]:
    return lambda repository: repository.list_questions(
        topic=options.topic, level=options.level, source=options.source, state=options.state
    )


# ---------------------------------------------------------------- list, show, stats


def _list(options: argparse.Namespace, settings: Settings) -> int:
    entries = [entry for entry in _ask(settings, _select(options)) if _holds(entry, options.search or "")]
    if options.reported:
        entries = sorted((e for e in entries if e.reports), key=lambda e: (-e.reports, e.question.key))
    shown = entries[: options.limit]
    console = open_console()
    if options.json:
        print_json(console, [summary_of(entry) for entry in shown])
        return 0
    if shown:
        console.print(table_of(shown))
    more = "; --limit N shows more" if len(shown) < len(entries) else ""
    say(console, f"{len(shown)} of {len(entries)} questions{more}" if entries else "no questions like that")
    return 0


def _holds(entry: BankEntry, text: str) -> bool:
    question = entry.question
    options = (option.text for option in question.options)
    held = [question.key, question.prompt, question.code or "", *options, question.explanation, *entry.tags]
    return text.casefold() in "\n".join(held).casefold()


def _show(options: argparse.Namespace, settings: Settings) -> int:
    async def find(repository: Repository) -> tuple[BankEntry, Overview]:
        entry = await _find(repository, options.key)
        reported = await repository.list_reported(sys.maxsize) if entry.reports else []
        return entry, Overview([entry], reported, [], [])

    entry, overview = _ask(settings, find)
    doubts = next((one for one in overview.reported if one.key == entry.question.key), None)
    console = open_console()
    if options.json:
        print_json(console, details_of(entry, doubts))
    else:
        console.print(page_of(entry, doubts))
    return 0


def _stats(options: argparse.Namespace, settings: Settings) -> int:
    async def look(repository: Repository) -> Overview:
        return Overview(
            entries=await repository.list_questions(),
            reported=await repository.list_reported(MAX_REPORTED),
            stock=await repository.count_stock(),
            today=await repository.sum_generations(),
            findings=analyze_items(await repository.list_item_answers(MIN_ANSWERS)),
        )

    overview, console = _ask(settings, look), open_console()
    if options.json:
        print_json(console, overview_json(overview))
    else:
        console.print(overview_page(overview))
    return 0


# ---------------------------------------------------------------- relevel


def _relevel(_: argparse.Namespace, settings: Settings) -> int:
    items = _ask(settings, lambda repository: repository.list_item_answers(MIN_ANSWERS))
    off = [finding for finding in analyze_items(items) if finding.levels_off]
    files = {one.question.id: place_of(one.path, one.line) for one in load_bank(settings.question_bank_dir).questions}
    files |= {name: place_of(Path(inspect.getfile(template.draft)), 0) for name, template in TEMPLATES.items()}
    console = open_console()
    for finding in off:
        item = finding.item
        place = files.get(item.name, f"{item.source}, in no file of the bank")
        say(console, f"{place}: {item.name}: {finding.on_level} ({item.answers} answers)")
    counted = f"{len(off)} of {len(items)} questions and templates with {MIN_ANSWERS} answers or more"
    say(console, f"{counted} are off their level; nothing is changed")
    return 0


# ---------------------------------------------------------------- quarantine, restore


def _quarantine(options: argparse.Namespace, settings: Settings) -> int:
    async def work(repository: Repository) -> BankEntry:
        entry = await _find(repository, options.key)
        if not await repository.quarantine_question(options.key, options.reason):
            raise QuestionRetiredError(options.key)
        return entry

    before, console = _ask(settings, work), open_console()
    if before.state is QuestionState.QUARANTINED:
        say(console, f"{options.key} was quarantined already ({before.state_reason}); the reason is changed")
    else:
        say(console, f"{options.key} is quarantined: it is asked no more")
    if before.question.source is QuestionSource.COMPUTED:
        say(console, "its template rests as a whole, until all of its questions are restored")
    return 0


def _restore(options: argparse.Namespace, settings: Settings) -> int:
    async def work(repository: Repository) -> BankEntry:
        entry = await _find(repository, options.key)
        if entry.state is QuestionState.RETIRED:
            raise QuestionRetiredError(options.key)
        await repository.restore_question(options.key)
        return entry

    before, console = _ask(settings, work), open_console()
    if before.state is QuestionState.ACTIVE:
        say(console, f"{options.key} is active; nothing is changed")
    else:
        dropped = f", and its reports ({before.reports}) are settled" if before.reports else ""
        say(console, f"{options.key} is restored: it is asked again{dropped} (was: {before.state_reason})")
    return 0


# ---------------------------------------------------------------- verify


def _verify(options: argparse.Namespace, settings: Settings) -> int:
    console, folder = open_console(), settings.question_bank_dir
    bank = read_files(options.files or [folder])
    unfiled, broken = locate_stored(_ask(settings, _list_checked) if options.stored else [])
    with ExitStack() as stack:
        engines = {located.question.check.engine for located in [*bank.questions, *unfiled] if located.question.check}
        url = stack.enter_context(_own_postgres()) if CheckEngine.POSTGRES in engines else None
        trusted = all(folder.resolve() in path.resolve().parents for path in options.files)
        verifiers = bank_verifiers(url) if trusted else verifiers_of(UNTRUSTED_RUNNERS, url)
        others = load_bank(folder).questions if options.files else []
        stages = [rules_stage(bank), duplicates_stage(bank.questions, others), *check_stages(bank.questions, verifiers)]
        if not options.files:
            stages += [draws_stage(TEMPLATES.values(), options.draws), answers_stage(TEMPLATES.values(), 0)]
        if options.stored:
            stages.append(stored_stage(unfiled, broken, verifiers_of(UNTRUSTED_RUNNERS, url)))
        verdicts = [_conclude(console, stage) for stage in stages]
    console.print(verdicts_table(verdicts))
    if isinstance(python := verifiers[CheckEngine.PYTHON], BankPython):
        say(console, f"Python checks: {python.sandboxed} in the sandbox, {python.in_cpython} in CPython")
    return _report(console, verdicts)


async def _list_checked(repository: Repository) -> list[BankEntry]:
    """Return stored questions that no file holds and whose answer is executed."""
    sources = (QuestionSource.IMPORTED, QuestionSource.LLM)
    entries = [entry for source in sources for entry in await repository.list_questions(source=source)]
    return [entry for entry in entries if entry.check and entry.state is not QuestionState.RETIRED]


def _conclude(console: Console, stage: Stage) -> Verdict:
    with progress(console, stage.kind, stage.total) as watch:
        return conclude(stage, watch)


def _report(console: Console, verdicts: Sequence[Verdict]) -> int:
    problems = [problem for verdict in verdicts for problem in verdict.problems]
    for problem in problems:
        say(console, problem)
    say(console, f"{len(problems)} wrong" if problems else "nothing is wrong")
    return 1 if problems else 0


# ---------------------------------------------------------------- references


def _references(options: argparse.Namespace, settings: Settings) -> int:
    bank = load_bank(settings.question_bank_dir)
    _name_left_out(bank.problems)
    references = collect_references(bank.questions)
    with progress(open_console(stderr=True), "pages", len(addresses_of(references))) as watch:
        findings = asyncio.run(check_references(references, options.timeout, watch))
    console = open_console()
    if options.json:
        print_json(console, [as_json(finding) for finding in findings])
    else:
        for finding in findings:
            questions = ", ".join(finding.questions)
            say(console, f"{finding.trouble}: {finding.reference.url}: {finding.detail} ({questions})")
        counts = Counter(finding.trouble for finding in findings)
        told = ", ".join(f"{counts[trouble]} {trouble}" for trouble in Trouble)
        say(console, f"{len(references)} references: {told}")
    return 1 if any(finding.trouble is Trouble.GONE for finding in findings) else 0


# ---------------------------------------------------------------- import


def _import(options: argparse.Namespace, settings: Settings) -> int:
    console, bank = open_console(), read_files(options.files)
    with ExitStack() as stack:
        url = stack.enter_context(_own_postgres()) if options.postgres else None

        async def work(repository: Repository) -> Admission:
            stored = await repository.list_questions(keys=[located.question.id for located in bank.questions])
            by_id = {entry.question.key: entry for entry in stored}
            steps = admit(bank.questions, by_id, await repository.list_question_texts(), _verifier(url))
            outcome = await asyncio.to_thread(_watch_admission, console, steps, len(bank.questions))
            if outcome.accepted and not options.dry_run:
                await repository.store_questions(
                    question_columns(located.question, located.topic, QuestionSource.IMPORTED)
                    for located in outcome.accepted
                )
            return outcome

        outcome = _ask(settings, work)
    return _report_admission(console, bank, outcome, dry_run=options.dry_run)


def _verifier(postgres_url: str | None) -> Verifier:
    """Return what executes an imported question's check, as a stranger's."""
    verifiers = verifiers_of(UNTRUSTED_RUNNERS, postgres_url)

    def verify(located: Located) -> str | None:
        check = located.question.check
        if check is None:
            return None
        if check.engine not in verifiers:
            return "its check needs PostgreSQL: import with --postgres"
        return verifiers[check.engine](located)

    return verify


def _watch_admission(console: Console, steps: Iterable[Admission], total: int) -> Admission:
    outcome = Admission()
    with progress(console, "import", total) as watch:
        for outcome in steps:  # noqa: B007 - the last one is what became of all
            watch(1)
    return outcome


def _report_admission(console: Console, bank: Bank, outcome: Admission, *, dry_run: bool) -> int:
    problems = sorted([*bank.problems, *outcome.problems], key=lambda problem: (str(problem.path), problem.line))
    for problem in problems:
        say(console, f"{problem.path}:{problem.line}: {problem.reason}")
    counts = f"{len(outcome.new)} new, {len(outcome.changed)} changed, {len(outcome.unchanged)} unchanged"
    refused = len({(problem.path, problem.line) for problem in problems})
    say(console, f"{counts}, {refused} refused{'; a dry run stores nothing' if dry_run else ''}")
    if not outcome.accepted:
        say(console, "nothing is changed")
    return 1 if problems else 0


# ---------------------------------------------------------------- export


def _export(options: argparse.Namespace, settings: Settings) -> int:
    options.state = options.state or QuestionState.ACTIVE
    entries = _ask(settings, _select(options))
    wanted = [entry for entry in entries if options.source or entry.question.source in WRITERS]
    questions, problems = locate_stored(wanted)
    text = (write_csv if options.format == "csv" else write_yaml)(questions)
    _name_left_out(problems)
    try:
        if options.out == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            Path(options.out).write_text(text, encoding="utf-8", newline="")
            say(open_console(), f"{len(questions)} questions written to {options.out}")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ExportError(f"{options.out}: {error.strerror}") from error
    return 1 if problems else 0


def _name_left_out(problems: Iterable[object]) -> None:
    for problem in problems:
        print(f"quiz: left out: {problem}", file=sys.stderr)  # noqa: T201 - beside what goes to the standard output


_COMMANDS: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "list": _list,
    "show": _show,
    "stats": _stats,
    "relevel": _relevel,
    "verify": _verify,
    "references": _references,
    "import": _import,
    "export": _export,
    "quarantine": _quarantine,
    "restore": _restore,
}
"""Each returns the process's exit status."""
