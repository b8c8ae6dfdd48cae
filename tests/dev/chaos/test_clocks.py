"""Days of 23 and 25 hours and clocks that jump: nobody misses a day, nobody gets two; and the drill sees it if so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dev.chaos import clocks
from domain.settings import Settings

ZONES = ("Europe/Berlin", "Africa/Cairo")

A_DAY_HAS_NONE = """
CREATE OR REPLACE FUNCTION next_local_time(zone text, at time, after timestamptz) RETURNS timestamptz LANGUAGE sql AS
$$ SELECT ((after AT TIME ZONE zone)::date + 2 + at) AT TIME ZONE zone $$
"""
A_DAY_HAS_TWO = """
DROP INDEX quizzes_one_daily;
CREATE FUNCTION at_once() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.next_daily_at = now() + interval '6 hours'; RETURN NEW; END $$;
CREATE TRIGGER at_once BEFORE UPDATE ON learners FOR EACH ROW EXECUTE FUNCTION at_once();
"""


async def test_no_day_is_skipped_and_none_doubled(postgres_url: Callable[[str], str], settings: Settings) -> None:
    outcome = await clocks.drill(postgres_url("clocks"), settings, ZONES)
    assert outcome.deviations == []
    assert outcome.count.accepted == outcome.count.processed > 80


@pytest.mark.parametrize(("tamper", "found"), [(A_DAY_HAS_NONE, "has no quiz for"), (A_DAY_HAS_TWO, "quizzes for")])
async def test_a_day_that_is_skipped_or_doubled_is_found(
    tamper: str, found: str, postgres_url: Callable[[str], str], settings: Settings
) -> None:
    url = postgres_url(f"tampered_{abs(hash(tamper))}")
    outcome = await clocks.drill(url, settings, ZONES[1:], tamper)
    assert any(found in line for line in outcome.deviations)
    assert not outcome.is_good
