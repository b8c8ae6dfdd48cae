"""The time by which learners' days, streaks and reviews are counted: the real one, but where `make run` moves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path


def make_clock(file: Path | None) -> Callable[[], datetime]:
    """Return what tells the time, in UTC.

    Args:
        file: what says how far the local clock is ahead; None for the real time.
    """
    if file is None:
        return lambda: datetime.now(UTC)
    return lambda: datetime.now(UTC) + read_offset(file)


def read_offset(file: Path) -> timedelta:
    """Return how far the local clock is ahead: not at all if there is no such file."""
    try:
        return timedelta(seconds=float(file.read_text(encoding="ascii")))
    except FileNotFoundError:
        return timedelta()
