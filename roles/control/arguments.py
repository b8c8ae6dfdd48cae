"""The arguments of the commands that change a running service."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from domain.ids import MAX_ID, MAX_LEARNER_ID, BotId, LearnerId
from domain.service_state import ALL_BOTS
from observability.logs import one_line
from roles.questions.arguments import read_level, read_text, read_topic

MAX_REASON = 200


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command, if it is one of these."""
    if name in {"pause", "resume"}:
        parser.add_argument("--bot", type=read_bot, default=ALL_BOTS, metavar="ID", help="one bot only; else all")
    if name == "pause":
        parser.add_argument("--reason", type=_read_reason, metavar="TEXT", help="for operators")
        parser.add_argument(
            "--until", type=read_moment, metavar="TIME", help="such as 2026-11-30T18:00, in UTC unless told"
        )
    if name == "learner":
        parser.add_argument("action", choices=("show", "pause", "erase"))
        parser.add_argument("id", type=read_learner, metavar="ID", help="a Telegram user id")
        parser.add_argument("--yes", action="store_true", help="erase without asking")
    if name == "announce":
        parser.add_argument(
            "file", type=Path, metavar="FILE", help="plain text, or Telegram's HTML if it ends in .html"
        )
        parser.add_argument(
            "--topics", nargs="+", type=read_topic, default=[], metavar="T", help="only who chose one of them"
        )
        parser.add_argument(
            "--level", nargs="+", type=read_level, default=[], metavar="L", help="only learners of these"
        )
        parser.add_argument("--dry-run", action="store_true", help="check the text, count the learners, send nothing")


def read_bot(text: str) -> BotId:
    """Return a bot's id.

    Raises:
        ArgumentTypeError: it is not a number.
    """
    if not text.isdecimal() or not 0 < int(text) <= MAX_ID:
        raise argparse.ArgumentTypeError(f"a bot's id is the number before the colon of its token: {text!r}")
    return BotId(int(text))


def read_learner(text: str) -> LearnerId:
    """Return a learner's id.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or not 0 < int(text) <= MAX_LEARNER_ID:
        raise argparse.ArgumentTypeError(f"must be a Telegram user id, a number: {text!r}")
    return LearnerId(int(text))


def read_moment(text: str) -> datetime:
    """Return a moment to come, in UTC unless the text has an offset.

    Raises:
        ArgumentTypeError: it is none, or it has passed.
    """
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"must be a time such as 2026-11-30T18:00: {text!r}") from None
    if moment <= datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"has passed: {text!r}")
    return moment


def _read_reason(text: str) -> str:
    return one_line(read_text(text), MAX_REASON)
