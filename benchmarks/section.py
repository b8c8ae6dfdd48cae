"""A benchmark's part of the report, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table; a cell may hold Markdown's emphasis."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """What one benchmark says."""

    title: str
    about: str
    """What was measured, beside what, and how."""
    tables: Sequence[Table]
    notes: Sequence[str]
    limits: Sequence[str]
    """What the figures do not show."""


def plain(value: float) -> str:
    """Return a number without decimals, its thousands apart.

    Args:
        value: any size.
    """
    return f"{value:,.0f}"
