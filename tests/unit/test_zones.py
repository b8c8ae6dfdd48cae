"""The time zones that can be chosen: each is known, and stands under the offset of its clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings

from bot.zones import city, offset_minutes, offsets, zones_at
from domain.time_zones import ZONES
from tests.support.strategies import moments, zones

SUMMER, WINTER = datetime(2024, 7, 1, 12, tzinfo=UTC), datetime(2024, 12, 1, 12, tzinfo=UTC)
"""In the past, where every edition of the time zone database says the same."""

_KEPT = [ZoneInfo(zone) for zone in ZONES]  # else ZoneInfo, which keeps eight, reads them again and again


def test_every_zone_to_choose_is_known() -> None:
    assert set(ZONES) <= available_timezones()
    assert [ZoneInfo(zone).key for zone in ZONES] == list(ZONES)


def test_no_zone_and_no_city_stands_twice() -> None:
    assert len(set(ZONES)) == len(ZONES)
    assert len({city(zone) for zone in ZONES}) == len(ZONES)


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
