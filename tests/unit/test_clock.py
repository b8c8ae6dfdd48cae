"""The local clock: ahead of the real one by what its file says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from domain.clock import make_clock
from domain.errors import StartupError
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


@pytest.mark.parametrize("content", [b"tomorrow", b"", b"nan", b"1e300", b"\xff"])
def test_a_damaged_file_ends_the_start_and_the_telling_of_time_with_a_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / FILE
    tell_time = make_clock(file)
    file.write_bytes(content)
    for attempt in (tell_time, partial(make_clock, file)):
        with pytest.raises(StartupError, match=f"{FILE} is to hold a number of seconds; delete it"):
            attempt()


def test_postgres_reads_the_same_file() -> None:
    assert f"pg_read_file('{FILE}'" in INSTALL
