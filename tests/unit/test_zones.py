"""Time zones: every one that can be chosen is known to Python and to Postgres, and both read the same clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import asyncpg
import pytest
from hypothesis import given, settings

from bot.zones import ZONES, city, offset_minutes, offsets, zones_at
from tests.strategies import moments, zones

SUMMER, WINTER = datetime(2024, 7, 1, 12, tzinfo=UTC), datetime(2024, 12, 1, 12, tzinfo=UTC)
"""In the past, where every edition of the time zone database says the same."""

_KEPT = [ZoneInfo(zone) for zone in ZONES]  # else ZoneInfo, which keeps eight, reads them again and again


@pytest.mark.parametrize("zone", ZONES)
def test_every_zone_to_choose_is_known(zone: str) -> None:
    assert zone in available_timezones()
    assert ZoneInfo(zone).key == zone


def test_no_zone_and_no_city_stands_twice() -> None:
    assert len(set(ZONES)) == len(ZONES)
    assert len({city(zone) for zone in ZONES}) == len(ZONES)


@pytest.mark.parametrize("moment", [SUMMER, WINTER], ids=["summer", "winter"])
async def test_postgres_knows_every_zone_and_its_clock(shared_database_url: str, moment: datetime) -> None:
    connection = await asyncpg.connect(shared_database_url)
    query = """
        SELECT z, extract(epoch FROM ($2 AT TIME ZONE z) - ($2 AT TIME ZONE 'UTC'))::int / 60
        FROM unnest($1::text[]) AS z
    """
    try:
        rows = await connection.fetch(query, list(ZONES), moment)
    finally:
        await connection.close()
    assert {row[0]: row[1] for row in rows} == {zone: offset_minutes(zone, moment) for zone in ZONES}


@given(moments, zones)
def test_an_offset_is_of_this_world(moment: datetime, zone: str) -> None:
    assert -12 * 60 <= offset_minutes(zone, moment) <= 14 * 60


@settings(max_examples=20)
@given(moments)
def test_each_zone_stands_under_exactly_one_offset(moment: datetime) -> None:
    found = offsets(moment)
    assert found == sorted(set(found))
    grouped = [zone for minutes in found for zone in zones_at(minutes, moment)]
    assert sorted(grouped) == sorted(ZONES)


def test_daylight_saving_moves_a_zone_to_another_offset() -> None:
    assert offset_minutes("Europe/Berlin", SUMMER) == 120
    assert offset_minutes("Europe/Berlin", WINTER) == 60
    assert offset_minutes("Asia/Kathmandu", WINTER) == 345
