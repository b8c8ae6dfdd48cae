"""`python main.py questions COMMAND`: what operators do with the questions."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import asyncpg
from pydantic import SecretStr
from rich.console import Console

from desk.arguments import THROW_AWAY, add_filters, read_count, read_postgres_url, read_text
from desk.tables import (
    Overview,
    details_of,
    overview_json,
    overview_page,
    page_of,
    summary_of,
    table_of,
    verdicts_table,
)
from desk.terminal import open_console, print_json, progress, say
from domain.bank import BankEntry
from domain.catalog import CheckEngine, QuestionSource, QuestionState, Topic
from domain.errors import QuizServiceError
from domain.settings import Settings
from local.borrowed_postgres import shared_postgres, throwaway_postgres
from local.servers import prepare_data_folder
from question_bank.admission import Admission, admit
from question_bank.checks import GUARDED_RUNNERS, RUNNERS
from question_bank.loader import Bank, Located, load_bank
from question_bank.rows import question_columns
from question_bank.templates import TEMPLATES
from question_bank.transfer import locate_stored, read_files, write_csv, write_yaml
from question_bank.verification import (
    Prover,
    Stage,
    Verdict,
    answers_stage,
    check_stages,
    conclude,
    draws_stage,
    duplicates_stage,
    provers_of,
    rules_stage,
    stored_stage,
)
from repository import Repository

T = TypeVar("T")
Work = Callable[[argparse.Namespace, Settings], int]
"""Runs a command and returns the process's exit status."""

Add = Callable[[str, Work, str], argparse.ArgumentParser]
"""Adds a command by its name, with its work and what it is about."""

MOST_REPORTED = 10
STARTER_SCHEMA = "schema.sql"
WRITERS = (QuestionSource.STATIC, QuestionSource.IMPORTED, QuestionSource.LLM)
"""Sources of questions that were written; templates draw theirs again whenever they are needed."""


class UnknownQuestionError(QuizServiceError):
    """There is no such question."""


class QuestionRetiredError(QuizServiceError):
    """The question is gone from the bank's files, and comes back only with them."""


class ExportError(QuizServiceError):
    """The questions cannot be written there."""


class ChecksUnavailableError(QuizServiceError):
    """The PostgreSQL for the checks does not answer."""


class SchemaMismatchError(QuizServiceError):
    """The database has the schema of another version, which `python main.py init` brings up to date."""


# ---------------------------------------------------------------- arguments


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands and their arguments.

    Args:
        parser: of the role.
    """

    def explain(_: argparse.Namespace, __: Settings) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(work=explain)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, work: Work, about: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
        command.set_defaults(work=work)
        return command

    _add_looking(add)
    _add_exchanging(add)
    _add_deciding(add)


def _add_looking(add: Add) -> None:
    listing = add("list", _list, "list stored questions with what learners made of them")
    add_filters(listing)
    listing.add_argument("--search", metavar="TEXT", help="only those that hold a text, in whatever case")
    listing.add_argument("--reported", action="store_true", help="only what learners reported, most reports first")
    listing.add_argument("--limit", type=read_count, default=20, metavar="N", help="how many at most (20)")
    show = add("show", _show, "show everything about a question")
    show.add_argument("key", metavar="KEY")
    statistics = add("stats", _stats, "count questions, and name those that stand out")
    for command in (listing, show, statistics):
        command.add_argument("--json", action="store_true", help="for programs")


def _add_exchanging(add: Add) -> None:
    verify = add("verify", _verify, "lint files, execute their checks, draw templates; all of the bank without FILE")
    verify.add_argument("files", nargs="*", type=Path, metavar="FILE")
    verify.add_argument("--stored", action="store_true", help="also the database: imported and written by a model")
    verify.add_argument("--postgres", type=read_postgres_url, metavar="URL", help="instead of a throw-away server")
    verify.add_argument("--draws", type=read_count, default=20, metavar="N", help="questions of each template (20)")
    taking = add("import", _import, "take in questions from YAML and CSV files; see docs/question-format.md")
    taking.add_argument("files", nargs="+", type=Path, metavar="FILE")
    taking.add_argument("--dry-run", action="store_true", help="say what would be done, and store nothing")
    executed = "execute PostgreSQL checks too: there, or without URL on a throw-away server"
    taking.add_argument("--postgres", nargs="?", const=THROW_AWAY, type=read_postgres_url, metavar="URL", help=executed)
    export = add("export", _export, "write stored questions to a file: active ones that no template makes, unless told")
    export.add_argument("--format", choices=("yaml", "csv"), default="yaml")
    add_filters(export)
    export.add_argument("--out", default="-", metavar="FILE", help="- is the standard output (-)")


def _add_deciding(add: Add) -> None:
    quarantine = add("quarantine", _quarantine, "stop asking a question")
    quarantine.add_argument("key", metavar="KEY")
    quarantine.add_argument("--reason", required=True, metavar="TEXT", type=read_text)
    add("restore", _restore, "ask a quarantined question again").add_argument("key", metavar="KEY")


def run_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run a command.

    Args:
        options: parsed by the arguments that `add_commands` added.
        settings: where the database is; without one, the embedded one of the data folder is used.

    Returns:
        The exit status.

    Raises:
        QuizServiceError: what is asked for cannot be done.
    """
    work: Callable[[argparse.Namespace, Settings], int] = options.work
    try:
        return work(options, settings)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise SchemaMismatchError(str(error)) from error
    except BrokenPipeError:  # whoever reads has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130  # as shells say for Ctrl-C


# ---------------------------------------------------------------- the database


def _ask(settings: Settings, work: Callable[[Repository], Awaitable[T]]) -> T:
    """Open the database, do something with it, and close it."""

    async def run(resolved: Settings, *, ours: bool) -> T:
        repository = await Repository.open(resolved)
        try:
            if ours and STARTER_SCHEMA in await repository.database.prepare_schema():
                await _load_files(repository, settings.question_bank_dir)
            return await work(repository)
        finally:
            await repository.close()

    if settings.database_url:
        return asyncio.run(run(settings, ours=False))
    folder = prepare_data_folder(settings.data_dir) / "postgres"
    with shared_postgres(folder, "quiz") as url:
        return asyncio.run(run(settings.model_copy(update={"database_url": SecretStr(url)}), ours=True))


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


# ---------------------------------------------------------------- looking


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
            reported=await repository.list_reported(MOST_REPORTED),
            stock=await repository.count_stock(),
            today=await repository.sum_generations(),
        )

    overview, console = _ask(settings, look), open_console()
    if options.json:
        print_json(console, overview_json(overview))
    else:
        console.print(overview_page(overview))
    return 0


# ---------------------------------------------------------------- doubting


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
        dropped = f", and {before.reports} reports are settled" if before.reports else ""
        say(console, f"{options.key} is restored: it is asked again{dropped} (was: {before.state_reason})")
    return 0


# ---------------------------------------------------------------- verifying


def _verify(options: argparse.Namespace, settings: Settings) -> int:
    console, folder = open_console(), settings.question_bank_dir
    bank = read_files(options.files or [folder])
    unfiled, broken = locate_stored(_ask(settings, _list_checked) if options.stored else [])
    with ExitStack() as stack:
        engines = {located.question.check.engine for located in [*bank.questions, *unfiled] if located.question.check}
        wanted = options.postgres or (THROW_AWAY if CheckEngine.POSTGRES in engines else None)
        url = _open_postgres(stack, wanted)
        trusted = all(folder.resolve() in path.resolve().parents for path in options.files)
        provers = provers_of(RUNNERS if trusted else GUARDED_RUNNERS, url)
        others = load_bank(folder).questions if options.files else []
        stages = [rules_stage(bank), duplicates_stage(bank.questions, others), *check_stages(bank.questions, provers)]
        if not options.files:
            stages += [draws_stage(TEMPLATES.values(), options.draws), answers_stage(TEMPLATES.values(), 0)]
        if options.stored:
            stages.append(stored_stage(unfiled, broken, provers_of(GUARDED_RUNNERS, url)))
        verdicts = [_conclude_aloud(console, stage) for stage in stages]
    return _report(console, verdicts)


async def _list_checked(repository: Repository) -> list[BankEntry]:
    """Return stored questions that no file holds and whose answer is executed."""
    sources = (QuestionSource.IMPORTED, QuestionSource.LLM)
    entries = [entry for source in sources for entry in await repository.list_questions(source=source)]
    return [entry for entry in entries if entry.check and entry.state is not QuestionState.RETIRED]


def _open_postgres(stack: ExitStack, wanted: str | None) -> str | None:
    """Return the address of a PostgreSQL that answers, or None if none is wanted."""
    url = stack.enter_context(throwaway_postgres()) if wanted == THROW_AWAY else wanted

    async def knock() -> None:
        await (await asyncpg.connect(url, timeout=5)).close()

    try:
        if url:
            asyncio.run(knock())
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ChecksUnavailableError(f"{type(error).__name__}: {error}") from error
    return url


def _conclude_aloud(console: Console, stage: Stage) -> Verdict:
    with progress(console, stage.kind, stage.total) as watch:
        return conclude(stage, watch)


def _report(console: Console, verdicts: Sequence[Verdict]) -> int:
    console.print(verdicts_table(verdicts))
    problems = [problem for verdict in verdicts for problem in verdict.problems]
    for problem in problems:
        say(console, problem)
    say(console, f"{len(problems)} wrong" if problems else "nothing is wrong")
    return 1 if problems else 0


# ---------------------------------------------------------------- taking in


def _import(options: argparse.Namespace, settings: Settings) -> int:
    console, bank = open_console(), read_files(options.files)
    with ExitStack() as stack:
        url = _open_postgres(stack, options.postgres)

        async def work(repository: Repository) -> Admission:
            stored = await repository.list_questions(keys=[located.question.id for located in bank.questions])
            by_id = {entry.question.key: entry for entry in stored}
            steps = admit(bank.questions, by_id, await repository.list_question_texts(), _prover(url))
            outcome = await asyncio.to_thread(_watch_admission, console, steps, len(bank.questions))
            if outcome.accepted and not options.dry_run:
                await repository.store_questions(
                    question_columns(located.question, located.topic, QuestionSource.IMPORTED)
                    for located in outcome.accepted
                )
            return outcome

        outcome = _ask(settings, work)
    return _tell_admission(console, bank, outcome, dry_run=options.dry_run)


def _prover(postgres_url: str | None) -> Prover:
    """Return what executes an imported question's check under guard."""
    provers = provers_of(GUARDED_RUNNERS, postgres_url)

    def prove(located: Located) -> str | None:
        check = located.question.check
        if check is None:
            return None
        if check.engine not in provers:
            return "its check needs PostgreSQL: import with --postgres"
        return provers[check.engine](located)

    return prove


def _watch_admission(console: Console, steps: Iterable[Admission], total: int) -> Admission:
    outcome = Admission()
    with progress(console, "import", total) as watch:
        for outcome in steps:  # noqa: B007 - the last one is what became of all
            watch(1)
    return outcome


def _tell_admission(console: Console, bank: Bank, outcome: Admission, *, dry_run: bool) -> int:
    problems = sorted([*bank.problems, *outcome.problems], key=lambda problem: (str(problem.path), problem.line))
    for problem in problems:
        say(console, f"{problem.path}:{problem.line}: {problem.reason}")
    counts = f"{len(outcome.new)} new, {len(outcome.changed)} changed, {len(outcome.unchanged)} unchanged"
    refused = len({(problem.path, problem.line) for problem in problems})
    say(console, f"{counts}, {refused} refused{'; a dry run stores nothing' if dry_run else ''}")
    if not outcome.accepted:
        say(console, "nothing is changed")
    return 1 if problems else 0


# ---------------------------------------------------------------- handing out


def _export(options: argparse.Namespace, settings: Settings) -> int:
    options.state = options.state or QuestionState.ACTIVE
    entries = _ask(settings, _select(options))
    wanted = [entry for entry in entries if options.source or entry.question.source in WRITERS]
    questions, problems = locate_stored(wanted)
    text = (write_csv if options.format == "csv" else write_yaml)(questions)
    for problem in problems:
        print(f"quiz: left out: {problem}", file=sys.stderr)  # noqa: T201 - beside what goes to the standard output
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
