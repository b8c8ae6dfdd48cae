"""The local clock: ahead of the real one by what its file says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.clock import make_clock
from local.clock import FILE, INSTALL, LocalClock

DAY = timedelta(days=1)


def ahead(file: Path | None) -> timedelta:
    """Return how far a clock is ahead, to the minute."""
    return round((make_clock(file)() - datetime.now(UTC)) / timedelta(minutes=1)) * timedelta(minutes=1)


def test_without_a_file_it_is_the_real_time(tmp_path: Path) -> None:
    assert ahead(None) == ahead(tmp_path / FILE) == timedelta()


def test_it_is_moved_ahead_step_by_step_and_back_at_once(tmp_path: Path) -> None:
    clock = LocalClock(tmp_path / FILE)
    clock.advance(DAY)
    clock.advance(timedelta(hours=1))
    assert ahead(clock.file) == clock.offset == DAY + timedelta(hours=1)
    clock.reset()
    clock.reset()
    assert ahead(clock.file) == timedelta()


def test_everybody_may_read_how_far_it_is_ahead(tmp_path: Path) -> None:
    LocalClock(tmp_path / FILE).advance(DAY)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o644
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_file_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("tomorrow")
    with pytest.raises(ValueError, match="tomorrow"):
        make_clock(tmp_path / FILE)()


def test_postgres_reads_the_same_file() -> None:
    assert f"pg_read_file('{FILE}'" in INSTALL
