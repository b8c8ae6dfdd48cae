"""Which error of a task group counts."""

from __future__ import annotations

from observability.background import first_error


def test_a_signal_to_end_counts_before_what_followed_from_it() -> None:
    inner = BaseExceptionGroup("senders", [ValueError("later"), SystemExit(143)])
    assert isinstance(first_error(BaseExceptionGroup("cohorts", [KeyError("first"), inner])), SystemExit)


def test_the_first_of_several_errors_counts() -> None:
    assert isinstance(first_error(ExceptionGroup("senders", [KeyError("first"), ValueError("second")])), KeyError)
