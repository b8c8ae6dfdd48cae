"""The cities that a learner can choose a time zone by, grouped by what their clocks show now."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

ZONES: tuple[str, ...] = (
    "Pacific/Honolulu",
    "America/Anchorage",
    "America/Los_Angeles",
    "America/Vancouver",
    "America/Tijuana",
    "America/Denver",
    "America/Phoenix",
    "America/Edmonton",
    "America/Chicago",
    "America/Mexico_City",
    "America/Winnipeg",
    "America/Costa_Rica",
    "America/Guatemala",
    "America/New_York",
    "America/Toronto",
    "America/Bogota",
    "America/Lima",
    "America/Panama",
    "America/Jamaica",
    "America/Havana",
    "America/Halifax",
    "America/Caracas",
    "America/La_Paz",
    "America/Santiago",
    "America/Puerto_Rico",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Argentina/Buenos_Aires",
    "America/Montevideo",
    "America/Asuncion",
    "America/Noronha",
    "Atlantic/Azores",
    "Atlantic/Cape_Verde",
    "UTC",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Atlantic/Reykjavik",
    "Africa/Accra",
    "Africa/Dakar",
    "Africa/Abidjan",
    "Africa/Casablanca",
    "Europe/Berlin",
    "Europe/Paris",
    "Europe/Madrid",
    "Europe/Rome",
    "Europe/Amsterdam",
    "Europe/Brussels",
    "Europe/Vienna",
    "Europe/Zurich",
    "Europe/Stockholm",
    "Europe/Oslo",
    "Europe/Copenhagen",
    "Europe/Warsaw",
    "Europe/Prague",
    "Europe/Budapest",
    "Europe/Belgrade",
    "Africa/Lagos",
    "Africa/Algiers",
    "Africa/Tunis",
    "Africa/Kinshasa",
    "Europe/Kyiv",
    "Europe/Athens",
    "Europe/Bucharest",
    "Europe/Sofia",
    "Europe/Helsinki",
    "Europe/Riga",
    "Europe/Vilnius",
    "Europe/Tallinn",
    "Europe/Chisinau",
    "Africa/Cairo",
    "Africa/Johannesburg",
    "Africa/Harare",
    "Asia/Jerusalem",
    "Asia/Beirut",
    "Europe/Istanbul",
    "Europe/Moscow",
    "Europe/Minsk",
    "Asia/Riyadh",
    "Asia/Baghdad",
    "Asia/Kuwait",
    "Africa/Nairobi",
    "Africa/Addis_Ababa",
    "Asia/Tehran",
    "Asia/Dubai",
    "Asia/Baku",
    "Asia/Tbilisi",
    "Asia/Yerevan",
    "Europe/Samara",
    "Indian/Mauritius",
    "Asia/Kabul",
    "Asia/Karachi",
    "Asia/Tashkent",
    "Asia/Almaty",
    "Asia/Yekaterinburg",
    "Asia/Kolkata",
    "Asia/Colombo",
    "Asia/Kathmandu",
    "Asia/Dhaka",
    "Asia/Omsk",
    "Asia/Bishkek",
    "Asia/Yangon",
    "Asia/Bangkok",
    "Asia/Ho_Chi_Minh",
    "Asia/Jakarta",
    "Asia/Novosibirsk",
    "Asia/Shanghai",
    "Asia/Hong_Kong",
    "Asia/Taipei",
    "Asia/Singapore",
    "Asia/Kuala_Lumpur",
    "Asia/Manila",
    "Australia/Perth",
    "Asia/Irkutsk",
    "Asia/Tokyo",
    "Asia/Seoul",
    "Asia/Yakutsk",
    "Australia/Darwin",
    "Australia/Adelaide",
    "Australia/Brisbane",
    "Australia/Sydney",
    "Australia/Melbourne",
    "Pacific/Port_Moresby",
    "Asia/Vladivostok",
    "Pacific/Noumea",
    "Asia/Magadan",
    "Pacific/Auckland",
    "Pacific/Fiji",
    "Pacific/Chatham",
    "Pacific/Tongatapu",
    "Pacific/Apia",
    "Pacific/Kiritimati",
)
"""IANA names of the places where most people live, west to east."""


@functools.cache
def _zone(name: str) -> ZoneInfo:
    """Keep every zone: the library itself keeps only a few, and reads the others' files again each time."""
    return ZoneInfo(name)


def offset_minutes(zone: str, now: datetime) -> int:
    """Return how many minutes a zone's clocks are ahead of UTC.

    Args:
        zone: an IANA name.
        now: an aware moment, since daylight saving changes the answer.
    """
    offset = now.astimezone(_zone(zone)).utcoffset() or timedelta()
    return int(offset.total_seconds() // 60)


def offsets(now: datetime) -> list[int]:
    """Return the distinct offsets of all zones, in minutes, west to east.

    Args:
        now: an aware moment.
    """
    return sorted({offset_minutes(zone, now) for zone in ZONES})


def zones_at(minutes: int, now: datetime) -> list[str]:
    """Return the zones whose clocks are so far ahead of UTC.

    Args:
        minutes: the offset.
        now: an aware moment.
    """
    return [zone for zone in ZONES if offset_minutes(zone, now) == minutes]


def city(zone: str) -> str:
    """Return a zone's name as a reader knows it, such as ``Buenos Aires``.

    Args:
        zone: an IANA name.
    """
    return zone.rsplit("/", 1)[-1].replace("_", " ")
