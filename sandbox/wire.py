"""SQL values as JSON: what JSON lacks is an object with one key, its type.

Both sides use it. The reading side trusts nothing: the writer may be a process that was taken over.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sandbox.results import SqlValue

_MICROSECOND = timedelta(microseconds=1)
_DECIMAL = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)


def _read_decimal(text: str) -> Decimal:
    if not _DECIMAL.fullmatch(text):  # Decimal itself takes exponents that nobody could write out
        msg = "no DECIMAL of DuckDB"
        raise ValueError(msg)
    return Decimal(text)


_WRITERS: dict[type, tuple[str, Callable[[Any], object]]] = {
    bytes: ("bytes", lambda value: b64encode(value).decode()),
    Decimal: ("decimal", lambda value: f"{value:f}"),
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    timedelta: ("timedelta", lambda value: value // _MICROSECOND),
    UUID: ("uuid", str),
    tuple: ("tuple", lambda value: [to_json(each) for each in value]),
    dict: ("dict", lambda value: [[to_json(key), to_json(each)] for key, each in value.items()]),
}

_READERS: dict[str, Callable[[Any], SqlValue]] = {
    "bytes": b64decode,
    "decimal": _read_decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda value: value * _MICROSECOND,
    "uuid": UUID,
    "float": float,
    "tuple": lambda value: tuple(from_json(each) for each in value),
    "dict": lambda value: {from_json(key): from_json(each) for key, each in value},
}


def to_json(value: object) -> object:
    """Return what ``json.dumps`` takes for a value that DuckDB returned.

    Raises:
        TypeError: no type of `SqlValue`.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if writer := _WRITERS.get(type(value)):
        tag, write = writer
        return {tag: write(value)}
    raise TypeError(type(value).__name__)


def from_json(value: object) -> SqlValue:
    """Return the value again.

    Raises:
        ValueError: nothing that `to_json` writes.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [from_json(each) for each in value]
    if isinstance(value, dict) and len(value) == 1:
        [(tag, written)] = value.items()
        try:
            return _READERS[tag](written)
        except (LookupError, TypeError, ArithmeticError) as error:
            raise ValueError(tag) from error
    msg = "not a value"
    raise ValueError(msg)
