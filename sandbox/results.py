"""What a run may use, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

Scalar = None | bool | int | float | str | bytes | Decimal | date | datetime | time | timedelta | UUID
SqlValue: TypeAlias = "Scalar | list[SqlValue] | tuple[SqlValue, ...] | dict[SqlValue, SqlValue]"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use at most."""

    seconds: float = 10.0
    """By the wall clock, from when a process takes the code up."""
    memory_bytes: int = 256 << 20
    """Beyond what an idle process of the engine holds."""
    output_bytes: int = 64 << 10
    """Of printed text, or of rows as they travel back."""
    max_rows: int = 1000
    """A result with more is ``Failed``."""


@dataclass(frozen=True, slots=True)
class Printed:
    """Python ended by itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Rows:
    """SQL ended by itself; these are the rows of its last statement."""

    columns: tuple[str, ...]
    rows: tuple[tuple[SqlValue, ...], ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The code raised an error, or the engine refused it."""

    error: str
    """The error's class, such as ``ValueError`` or ``BinderException``."""
    message: str
    """One line."""
    in_setup: bool = False


@dataclass(frozen=True, slots=True)
class TimedOut:
    """It did not end in time and was killed."""


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """It grew too large and was ended."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The sandbox cannot run it, although another engine might."""

    reason: str
    """One line, such as ``module 'zlib'``."""


PythonResult = Printed | Failed | TimedOut | OutOfMemory | Unsupported
SqlResult = Rows | Failed | TimedOut | OutOfMemory | Unsupported
