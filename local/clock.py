"""A clock that a developer can move: it leaves the real one alone, and the local service alone follows it.

A file says how many seconds it is ahead. The roles read the file (`CLOCK_FILE`), and so does Postgres: the service's
database has a `now()` of its own, which hides the real one from every query, function and default. Nothing of this is
in the schema or the queries that are deployed.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Final

from domain.clock import read_offset

FILE: Final = "clock_offset"
"""In Postgres's own folder, below which alone the server names files by their short names."""

INSTALL: Final = """
\\set ON_ERROR_STOP on
\\connect quiz
CREATE OR REPLACE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.now() + make_interval(secs => coalesce(pg_read_file('clock_offset', 0, 32, true), '0')::float8)
$$;
ALTER DATABASE quiz SET search_path = public, pg_catalog;
SET search_path = public, pg_catalog;
DO $$
DECLARE one record;
BEGIN  -- what an earlier version of this folder made reads the real time by default
    FOR one IN SELECT adrelid::regclass AS place, attname
               FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
               WHERE pg_get_expr(adbin, adrelid) = 'pg_catalog.now()' LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT now()', one.place, one.attname);
    END LOOP;
END $$;
"""
"""For psql, in any database of the server."""


class LocalClock:
    """How far the local service's time is ahead of the real one."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def offset(self) -> timedelta:
        """Return how far it is ahead."""
        return read_offset(self.file)

    def advance(self, by: timedelta) -> None:
        """Move it ahead."""
        written = self.file.with_suffix(".new")
        written.write_text(f"{(self.offset + by).total_seconds():.0f}", encoding="ascii")
        written.chmod(0o644)  # Postgres may run as another user
        os.replace(written, self.file)  # noqa: PTH105 - at once, for whoever reads meanwhile

    def reset(self) -> None:
        """Let it show the real time again."""
        self.file.unlink(missing_ok=True)
