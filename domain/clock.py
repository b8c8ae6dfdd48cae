"""The time by which learners' days, streaks and reviews are counted: the real one, but where `make run` moves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from domain.errors import StartupError


def make_clock(file: Path | None) -> Callable[[], datetime]:
    """Return what tells the time, in UTC.

    Args:
        file: what says how far the local clock is ahead; None for the real time.

    Raises:
        StartupError: what the file says is no number of seconds; raised by what tells the time, too.
    """
    if file is None:
        return lambda: datetime.now(UTC)
    read_offset(file)
    return lambda: datetime.now(UTC) + read_offset(file)


def read_offset(file: Path) -> timedelta:
    """Return how far the local clock is ahead: not at all if there is no such file.

    Raises:
        StartupError: what it says is no number of seconds.
    """
    try:
        return timedelta(seconds=float(file.read_text(encoding="ascii")))
    except FileNotFoundError:
        return timedelta()
    except (ValueError, OverflowError):
        raise StartupError(f"{file} is to hold a number of seconds; delete it for the real time") from None
