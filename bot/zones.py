"""The cities that a learner can choose a time zone by, grouped by what their clocks show now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from domain.time_zones import ZONES, zone_of


def offset_minutes(zone: str, now: datetime) -> int:
    """Return how many minutes a zone's clocks are ahead of UTC."""
    offset = now.astimezone(zone_of(zone)).utcoffset() or timedelta()
    return int(offset.total_seconds() // 60)


def offsets(now: datetime, zones: Iterable[str] = ZONES) -> list[int]:
    """Return the distinct offsets of zones, in minutes, west to east."""
    return sorted({offset_minutes(zone, now) for zone in zones})


def zones_at(minutes: int, now: datetime, zones: Iterable[str] = ZONES) -> list[str]:
    """Return the zones whose clocks are so far ahead of UTC."""
    return [zone for zone in zones if offset_minutes(zone, now) == minutes]


def city(zone: str) -> str:
    """Return a zone's name as a reader knows it, such as ``Buenos Aires``."""
    return zone.rsplit("/", 1)[-1].replace("_", " ")
