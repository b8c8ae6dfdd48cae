"""What log lines are about: the ids of the update, quiz, run and trace that a piece of work belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType

_ids: ContextVar[Mapping[str, object]] = ContextVar("log ids", default=MappingProxyType({}))


def current_ids() -> Mapping[str, object]:
    """Return the ids of the work in hand, those of the outermost first."""
    return _ids.get()


class log_ids:  # noqa: N801 - read as a function; a generator would take three times as long, for each answer
    """Let the log lines of some work, and of the tasks that it starts, carry ids; one that is None is left out."""

    __slots__ = ("_added", "_token")

    def __init__(self, **ids: object) -> None:
        self._added = ids

    def __enter__(self) -> None:
        known = {name: value for name, value in self._added.items() if value is not None}
        self._token: Token[Mapping[str, object]] = _ids.set({**_ids.get(), **known})

    def __exit__(self, *_: object) -> None:
        _ids.reset(self._token)
