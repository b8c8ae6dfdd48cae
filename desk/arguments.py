"""What the command's arguments may be: each turns text into a value, or says in one line why it cannot."""

from __future__ import annotations

import argparse
from difflib import get_close_matches

from domain.catalog import Level, QuestionSource, QuestionState, Topic

THROW_AWAY = "throw-away"
"""Stands for a PostgreSQL server that is started for the checks and leaves nothing behind."""


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose questions by where they belong.

    Args:
        parser: of a command.
    """
    sources, states = tuple(QuestionSource), tuple(QuestionState)
    parser.add_argument("--topic", type=read_topic, metavar="T", help=", ".join(Topic))
    parser.add_argument("--level", type=read_level, metavar="L", help="1 to 4, or its name")
    parser.add_argument("--source", choices=sources, metavar="S", help=", ".join(sources))
    parser.add_argument("--state", choices=states, metavar="S", help=", ".join(states))


def read_topic(text: str) -> Topic:
    """Return the topic of a name.

    Args:
        text: with hyphens or underscores.

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

    Args:
        text: in digits.

    Raises:
        ArgumentTypeError: it is none.
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


def read_postgres_url(text: str) -> str:
    """Return the address of a PostgreSQL database.

    Args:
        text: a URL.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.startswith(("postgresql://", "postgres://")):
        raise argparse.ArgumentTypeError(f"must begin with postgresql://, unlike {text!r}")
    return text
