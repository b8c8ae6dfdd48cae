"""English that depends on a number."""

from __future__ import annotations


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return a noun as it stands after a number; its plural takes an s unless it is given."""
    return noun if number == 1 else nouns or f"{noun}s"
