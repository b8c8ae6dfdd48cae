"""SQL in DuckDB: values, errors and limits, and what the caller makes of a reply that no DuckDB would write."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import SandboxError
from sandbox.results import Failed, Limits, OutOfMemory, Rows, TimedOut, Unsupported
from sandbox.sql import _read_ending, measure_sql, run_sql
from sandbox.wire import from_json, to_json


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("null", None),
        ("true", True),
        ("42", 42),
        ("170141183460469231731687303715884105727::hugeint", 2**127 - 1),
        ("1.5::double", 1.5),
        ("'infinity'::double", math.inf),
        ("1.50::decimal(10, 2)", Decimal("1.50")),
        ("0.0000001::decimal(10, 7)", Decimal("0.0000001")),
        ("99999999999999999999999999999999999999::decimal(38, 0)", Decimal(10**38 - 1)),
        ("'ä💣'", "ä💣"),
        ("''", ""),
        ("'\\x00\\xFF'::blob", b"\x00\xff"),
        ("date '2026-02-28'", date(2026, 2, 28)),
        ("time '10:00:00.5'", time(10, 0, 0, 500_000)),
        ("timestamp '2026-02-28 10:00'", datetime.fromisoformat("2026-02-28 10:00")),
        ("timestamptz '2026-02-28 10:00+02'", datetime(2026, 2, 28, 8, tzinfo=UTC)),
        ("interval '1 day 1 second'", timedelta(days=1, seconds=1)),
        ("uuid '12345678-1234-5678-1234-567812345678'", UUID("12345678-1234-5678-1234-567812345678")),
        ("[1, null, 3]", [1, None, 3]),
        ("array_value(1, 2)", (1, 2)),
        (
            "{'a': [1.5::decimal(3, 1)], 'b': {'c': date '2026-01-01'}}",
            {"a": [Decimal("1.5")], "b": {"c": date(2026, 1, 1)}},
        ),
        ("map {date '2026-01-01': 1}", {date(2026, 1, 1): 1}),
        ("'a'::enum ('a', 'b')", "a"),
        ("'101'::bit", "101"),
        ("'{\"a\": 1}'::json", '{"a": 1}'),
        ("date '294247-01-10'", "294247-01-10"),
    ],
)
def test_a_value_comes_back_as_what_it_is(expression: str, value: Any) -> None:
    result = run_sql("", f"select {expression} as value")
    assert result == Rows(("value",), ((value,),))
    assert isinstance(result, Rows)
    assert type(result.rows[0][0]) is type(value)


def test_the_rows_of_the_last_statement_count() -> None:
    setup = "create table t (a int, b text); insert into t values (2, 'y'), (1, 'x')"
    assert run_sql(setup, "update t set a = a + 1; select a, b from t order by a") == Rows(
        ("a", "b"), ((2, "x"), (3, "y"))
    )
    assert run_sql(setup, "select * from t where false") == Rows(("a", "b"), ())
    assert run_sql("", " -- nothing") == Rows((), ())


def test_an_error_has_duckdbs_class_and_one_line() -> None:
    result = run_sql("", "select missing from (select 1 as a)")
    assert isinstance(result, Failed)
    assert result.error == "BinderException"
    assert "missing" in result.message
    assert "\n" not in result.message
    assert not result.in_setup


def test_an_error_in_the_setup_says_so() -> None:
    result = run_sql("create table t (a nonsense)", "select 1")
    assert isinstance(result, Failed)
    assert result.in_setup


def test_time_counts_for_setup_and_run_together() -> None:
    count = "select count(*) from range(100000000000000)"
    assert run_sql(count, "select 1", Limits(seconds=0.2)) == TimedOut()
    assert run_sql("", count, Limits(seconds=0.2)) == TimedOut()


def test_memory_is_held_whatever_the_engine_thinks_of_it() -> None:
    idle = measure_sql("", "select 1")[1]
    limits = Limits(seconds=10, memory_bytes=128 << 20)
    result, peak = measure_sql("", "select " + " || ".join(["repeat('x', 400000000)"] * 8), limits)
    assert result == OutOfMemory()
    assert peak < idle + limits.memory_bytes


def test_rows_and_their_size_have_limits() -> None:
    assert run_sql("", "from range(5)", Limits(max_rows=5)) == Rows(("range",), tuple((n,) for n in range(5)))
    assert run_sql("", "from range(6)", Limits(max_rows=5)) == Failed("TooManyRows", "more than 5 rows")
    assert run_sql("", "select repeat('x', 100000) as a", Limits(output_bytes=1000)) == Failed(
        "OutputTooLarge", "the rows take more than 1000 bytes"
    )


def test_no_name_is_a_variable_of_the_program() -> None:
    for name in ("request", "connection", "CONFIG", "os"):
        assert isinstance(run_sql("", f"from {name}"), Failed)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b"null",
        b'{"rows": [[1]]}',
        b'{"columns": ["a"], "rows": [1]}',
        b'{"columns": ["a"], "rows": [[{"decimal": "1e999999999"}]]}',
        b'{"columns": ["a"], "rows": [[{"exec": "x"}]]}',
        b'{"columns": ["a"], "rows": [[{"timedelta": 1e400}]]}',
        b'{"columns": ["a"], "rows": [[{"dict": [[{"dict": []}, 1]]}]]}',
        b'{"columns": ["a"], "rows": [[' + b"9" * 5000 + b"]]}",
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_reply_that_no_engine_writes_is_a_crash(reply: bytes) -> None:
    header = {"ending": "ended", "signal": 0, "peak_bytes": 0}
    result = _read_ending(header, reply, Limits())
    assert isinstance(result, Failed)
    assert result.error == "Crashed"


def test_values_that_have_no_type_here_are_unsupported() -> None:
    header = {"ending": "ended", "signal": 0, "peak_bytes": 0}
    assert _read_ending(header, b'{"unsupported": "a value of type Point"}', Limits()) == Unsupported(
        "a value of type Point"
    )


def test_a_sandbox_that_does_not_start_is_no_verdict_on_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox import sql

    sql.close()
    monkeypatch.setattr(sql, "_CHILD", Path("/nowhere/child.py"))
    with pytest.raises(SandboxError, match=r"The sandbox failed.*: SQL: "):
        run_sql("", "select 1")
    sql.close()


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**127), 2**128)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-(10**20), max_value=10**20)
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.timedeltas()
    | st.uuids()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(scalars, inner), max_leaves=20
)


@given(values)
def test_a_value_survives_its_way(value: Any) -> None:
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["bytes", "decimal", "datetime", "timedelta", "uuid", "float", "tuple", "dict", "x"]), inner
        )
    ),
    max_leaves=20,
)


@given(anything)
def test_what_nobody_wrote_is_read_or_refused_and_nothing_else(value: Any) -> None:
    try:
        from_json(value)
    except (ValueError, TypeError, AttributeError):
        return
