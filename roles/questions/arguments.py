"""The commands of `python main.py questions` and their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from domain.catalog import Level, QuestionSource, QuestionState, Topic

Add = Callable[[str, str], argparse.ArgumentParser]
"""Adds a command by its name, with what it does."""


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands and their arguments."""
    parser.set_defaults(print_help=parser.print_help)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
        return command

    _add_queries(add)
    _add_file_commands(add)
    _add_state_changes(add)


def _add_queries(add: Add) -> None:
    listing = add("list", "list stored questions with what learners made of them")
    _add_filters(listing)
    listing.add_argument("--search", metavar="TEXT", help="only those that hold a text, in whatever case")
    listing.add_argument("--reported", action="store_true", help="only what learners reported, most reports first")
    listing.add_argument("--limit", type=read_count, default=20, metavar="N", help="how many at most (20)")
    show = add("show", "show everything about a question")
    show.add_argument("key", metavar="KEY")
    statistics = add("stats", "count questions, and name those that stand out")
    for command in (listing, show, statistics):
        command.add_argument("--json", action="store_true", help="for programs")
    relevel = add("relevel", "propose other levels by learners' answers, with the files that say them now")
    relevel.add_argument("--dry-run", action="store_true", required=True, help="required: nothing changes the files")


def _add_file_commands(add: Add) -> None:
    verify = add("verify", "lint files, execute their checks, draw templates; all of the bank without FILE")
    verify.add_argument("files", nargs="*", type=Path, metavar="FILE")
    verify.add_argument("--stored", action="store_true", help="also the database: imported and written by a model")
    verify.add_argument("--draws", type=read_count, default=20, metavar="N", help="questions of each template (20)")
    references = add("references", "ask over the network whether each reference of the bank is still there")
    references.add_argument("--timeout", type=read_count, default=20, metavar="S", help="seconds for a page (20)")
    references.add_argument("--json", action="store_true", help="for programs")
    taking = add("import", "take in questions from YAML and CSV files; see docs/question-format.md")
    taking.add_argument("files", nargs="+", type=Path, metavar="FILE")
    taking.add_argument("--dry-run", action="store_true", help="say what would be done, and store nothing")
    executed = "execute PostgreSQL checks too, on a throw-away server"
    taking.add_argument("--postgres", action="store_true", help=executed)
    export = add("export", "write stored questions to a file: active ones that no template makes, unless told")
    export.add_argument("--format", choices=("yaml", "csv"), default="yaml")
    _add_filters(export)
    export.add_argument("--out", default="-", metavar="FILE", help="- is the standard output (-)")


def _add_state_changes(add: Add) -> None:
    quarantine = add("quarantine", "stop asking a question")
    quarantine.add_argument("key", metavar="KEY")
    quarantine.add_argument("--reason", required=True, metavar="TEXT", type=read_text)
    add("restore", "ask a quarantined question again").add_argument("key", metavar="KEY")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose questions by where they belong."""
    sources, states = tuple(QuestionSource), tuple(QuestionState)
    parser.add_argument("--topic", type=read_topic, metavar="T", help=", ".join(Topic))
    parser.add_argument("--level", type=read_level, metavar="L", help="1 to 4, or its name")
    parser.add_argument("--source", choices=sources, metavar="S", help=", ".join(sources))
    parser.add_argument("--state", choices=states, metavar="S", help=", ".join(states))


def read_topic(text: str) -> Topic:
    """Return the topic of a name.

    Raises:
        ArgumentTypeError: there is none.
    """
    name = text.lower().replace("-", "_")
    if name not in set(Topic):
        near = get_close_matches(name, list(Topic), 1)
        hint = f"is it {near[0]}?" if near else f"known: {', '.join(Topic)}"
        raise argparse.ArgumentTypeError(f"no such topic: {text!r}; {hint}")
    return Topic(name)


def read_level(text: str) -> Level:
    """Return the level of a number or a name.

    Args:
        text: such as ``2`` or ``intermediate``.

    Raises:
        ArgumentTypeError: there is none.
    """
    levels = {str(int(level)): level for level in Level} | {level.name.lower(): level for level in Level}
    if text.lower() not in levels:
        raise argparse.ArgumentTypeError(f"no such level: {text!r}; known: {', '.join(levels)}")
    return levels[text.lower()]


def read_count(text: str) -> int:
    """Return a number from 1.

    Raises:
        ArgumentTypeError: it is not a number from 1.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a number from 1: {text!r}")
    return int(text)


def read_text(text: str) -> str:
    """Return a text without the blanks around it.

    Args:
        text: more than blanks.

    Raises:
        ArgumentTypeError: nothing else is in it.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text.strip()
