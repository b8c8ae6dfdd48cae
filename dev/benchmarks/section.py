"""A benchmark's part of the report, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True)
class Table:
    """A table; a cell may hold Markdown's emphasis."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def in_markdown(self) -> list[str]:
        """Return its lines for a page, below its title if it has one."""
        head = [f"{self.title}:", ""] if self.title else []
        head += [f"| {' | '.join(self.columns)} |", f"|{' --- |' * len(self.columns)}"]
        return [*head, *(f"| {' | '.join(row)} |" for row in self.rows), ""]

    def on_terminal(self) -> RichTable:
        """Return it as rich prints it."""
        printed = RichTable(*self.columns, title=self.title, title_justify="left")
        for row in self.rows:
            printed.add_row(*(cell.replace("**", "") for cell in row))
        return printed


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
    """Return a number without decimals, its thousands apart."""
    return f"{value:,.0f}"
