"""`python -m dev.fuzz [--inputs N] [--talks N] [--seed N] [--show NUMBER]`: hostile input for the webhook, judged."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

import psutil
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from dev.fuzz.inputs import SECRET
from dev.fuzz.judge import Judge
from dev.fuzz.kinds import KINDS, make_input
from dev.fuzz.run import Size, Talks, fuzz, prepare, shake
from dev.fuzz.updates import MARK, Crowd
from dev.stack import Say, forget_settings, open_ground
from local.supervisor import Program

UNPACED = 1000.0
"""Messages a second to Telegram, which is none here."""

LEARNERS = 400
WIDTH = 120
COMPLAINTS = ("Traceback", "could not be handled", "Exception in ASGI")


def main(arguments: list[str]) -> int:
    """Run, and show what came of it.

    Returns:
        The exit status: 0 if nothing is wrong.
    """
    options = _parse(arguments)
    console = Console(width=max(WIDTH, Console().width))
    if options.show is not None:
        console.print(make_input(options.seed, options.show, Crowd()), soft_wrap=True, markup=False)
        return 0
    forget_settings()
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("bot.rate_limiter").setLevel(logging.ERROR)
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {line}", highlight=False, style="dim")

    size = Size(options.inputs, LEARNERS, options.seed)
    judge = _run(size, Talks(options.talks, options.seed), say)
    show(console, judge)
    console.print(
        f"{judge.answers.total():,} inputs in {time.monotonic() - began:.0f} s with seed {options.seed}: "
        f"{len(judge.findings) or 'nothing'} wrong"
    )
    return 1 if judge.findings else 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.fuzz", description="Send hostile input to the webhook.")
    parser.add_argument("--inputs", type=int, default=110_000, help="bodies of every kind, without a socket")
    parser.add_argument("--talks", type=int, default=6_000, help="connections with nonsense on them")
    parser.add_argument("--seed", type=int, default=20261125, help="makes the same inputs again")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="only print this input")
    return parser.parse_args(arguments)


def _run(size: Size, talks: Talks, say: Say) -> Judge:
    judge = Judge()
    with open_ground() as stack:
        say("starting PostgreSQL, Valkey, the simulator and, for the sockets, the bot role")
        stack.start_storage()
        stack.start_telegram()
        stack.environment["TELEGRAM_WEBHOOK_SECRET"] = SECRET.decode()
        settings = stack.settings(telegram_webhook_secret=SecretStr(SECRET.decode()), telegram_rate_per_second=UNPACED)
        asyncio.run(prepare(settings))
        bot = stack.start_bot()
        asyncio.run(fuzz(settings, size, judge, say, lambda: shake(bot.port, talks, judge, say)))
        _look_at_process(bot, stack.log_of(bot.name), judge, say)
    return judge


def _look_at_process(bot: Program, written: Path, judge: Judge, say: Say) -> None:
    """Look at what the bot role wrote and how large it has become."""
    if bot.running.poll() is not None:
        judge.find(f"the bot role ended with status {bot.running.returncode}")
        return
    log = written.read_text(encoding="utf-8", errors="replace")
    for line in log.splitlines():
        if any(complaint in line for complaint in COMPLAINTS):
            judge.find(f"the bot role wrote: {line}")
    if MARK in log:
        judge.find("the bot role's log holds what somebody wrote")
    say(f"the bot role has {psutil.Process(bot.pid).memory_info().rss / 1e6:.0f} MB and wrote {len(log)} bytes of log")


def show(console: Console, judge: Judge) -> None:
    """Print what came of a run."""
    table = Table(title="What was sent, and how it was answered")
    table.add_column("kind")
    for name in ("inputs", "200, stored", "200, not stored", "400", "401", "413", "else below 500", "no answer", "5xx"):
        table.add_column(name, justify="right")
    for kind in sorted({kind for kind, _ in judge.answers}, key=_place):
        table.add_row(kind, *map(_number, judge.row(kind)))
    table.add_section()
    table.add_row("all", *map(_number, judge.row(None)))
    console.print(table)
    for line in judge.findings:
        console.print(line, style="red", markup=False, highlight=False)


def _place(kind: str) -> tuple[int, str]:
    """Put kinds without a socket first, in the order in which they are written down."""
    return (list(KINDS).index(kind), "") if kind in KINDS else (len(KINDS), kind)


def _number(count: int) -> str:
    return f"{count:,}" if count else "·"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
