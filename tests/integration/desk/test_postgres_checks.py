"""PostgreSQL checks of strangers: none reaches beyond its own database, and the next finds no trace of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from local.throwaway_postgres import PROCESS_BYTES, throwaway_postgres
from question_bank.postgres_check import run_postgres
from sandbox.results import Failed, Limits, OutOfMemory, Rows, SqlResult, TimedOut, Unsupported

LIMITS = Limits(seconds=20)
SHORT = Limits(seconds=1.5)
TOKEN = "424242:planted-token"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a throw-away server, started by a process whose environment has a token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
        with throwaway_postgres() as url:
            yield url


def error_of(result: SqlResult) -> str:
    """Return the class of the error that a check ended in."""
    assert isinstance(result, Failed), result
    return result.error


def works(server: str) -> bool:
    """Say whether a well-behaved check gives its result, in a database without a trace of another."""
    rows = run_postgres(
        server,
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2);",
        "SELECT count(*), (SELECT count(*) FROM pg_tables WHERE schemaname = 'public'),"
        " current_setting('statement_timeout'), current_setting('work_mem'), (SELECT count(*) FROM pg_locks"
        " WHERE locktype = 'advisory'), (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'check%') FROM t",
        LIMITS,
    )
    return isinstance(rows, Rows) and rows.rows == ((2, 1, "10s", "4MB", 0, 1),)


def databases(server: str) -> set[str]:
    """Return the names of the server's databases."""

    async def ask() -> set[str]:
        connection = await asyncpg.connect(server)
        try:
            return {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
        finally:
            await connection.close()

    return asyncio.run(ask())


# ---------------------------------------------------------------- what they leave behind

LEFTOVERS = {
    "a commit": "CREATE TABLE t (a int); COMMIT; CREATE TABLE u (a int);",
    "a commit and a new transaction": "CREATE TABLE t (a int); COMMIT; BEGIN; CREATE TABLE u (a int);",
    "a rollback": "ROLLBACK; CREATE TABLE t (a int);",
    "settings of the session": "COMMIT; SET statement_timeout = 0; SET work_mem = '1GB';",
    "settings of its role": "ALTER ROLE CURRENT_USER SET statement_timeout = 0; "
    "ALTER ROLE CURRENT_USER SET work_mem = '1GB'; COMMIT; BEGIN",
    "a password of its role": "ALTER ROLE CURRENT_USER PASSWORD 'mine'; COMMIT; BEGIN",
    "an advisory lock": "SELECT pg_advisory_lock(1); COMMIT; BEGIN",
    "a subscription": "LISTEN everything; NOTIFY everything; COMMIT; BEGIN",
    "a large object": "SELECT lo_from_bytea(0, 'x'); COMMIT; BEGIN",
    "a temporary table": "CREATE TEMP TABLE t (a int); COMMIT; BEGIN",
}


@pytest.mark.parametrize("what", sorted(LEFTOVERS))
def test_nothing_of_a_check_is_left_for_the_next(what: str, server: str) -> None:
    result = run_postgres(server, LEFTOVERS[what], "SELECT 1", LIMITS)
    assert isinstance(result, Rows) or result == Unsupported("its setup ends the transaction that it runs in")
    assert works(server)
    assert databases(server) == {"postgres", "template0", "template1"}


def test_a_commit_in_what_is_run_is_one_statement_and_no_more(server: str) -> None:
    assert error_of(run_postgres(server, "", "COMMIT; CREATE TABLE t (a int)", LIMITS)) == "PostgresSyntaxError"
    assert run_postgres(server, "CREATE TABLE t (a int)", "COMMIT", LIMITS) == Rows((), ())
    assert works(server)


# ---------------------------------------------------------------- what they may not

FORBIDDEN = {
    "a program": "COPY (SELECT 1) TO PROGRAM 'touch {place}'",
    "a program's output": "COPY t FROM PROGRAM 'cat /etc/passwd'",
    "a file to write": "COPY (SELECT 1) TO '{place}'",
    "a file to read": "SELECT pg_read_file('/etc/passwd')",
    "a file as bytes": "SELECT pg_read_binary_file('/etc/passwd')",
    "a file's standing": "SELECT pg_stat_file('/etc/passwd')",
    "a folder": "SELECT pg_ls_dir('/')",
    "the server's log": "SELECT pg_ls_logdir()",
    "an import of a large object": "SELECT lo_import('/etc/passwd')",
    "an export of a large object": "SELECT lo_export(1, '{place}')",
    "an extension": "CREATE EXTENSION dblink",
    "a trusted extension": "CREATE EXTENSION hstore",
    "a function in C": "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc.so.6', 'getpid'",
    "a library": "LOAD '/lib/x86_64-linux-gnu/libc.so.6'",
    "the superuser's role": "SET ROLE postgres",
    "the superuser's session": "SET SESSION AUTHORIZATION postgres",
    "rights of its own": "ALTER ROLE CURRENT_USER SUPERUSER",
    "a role": "CREATE ROLE mine SUPERUSER",
    "a database": "CREATE DATABASE mine",
    "a schema": "CREATE SCHEMA mine",
    "a setting of the server": "ALTER SYSTEM SET work_mem = '1GB'",
    "a setting of all": "ALTER ROLE ALL SET work_mem = '1GB'",
    "a setting of its database": "ALTER DATABASE template1 SET work_mem = '1GB'",
    "the limit on files": "SET temp_file_limit = -1",
    "the passwords": "SELECT * FROM pg_authid",
    "the path of the data": "SHOW data_directory",
    "a session to end": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "a checkpoint": "CHECKPOINT",
    "a foreign server": "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
    "a tablespace": "CREATE TABLESPACE mine LOCATION '/tmp'",
}
REFUSALS = {
    "InsufficientPrivilegeError",
    "InvalidParameterValueError",
    "UndefinedObjectError",
    "UndefinedTableError",
    "ActiveSQLTransactionError",
}


@pytest.mark.parametrize("where", ["setup", "run"])
@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_a_check_has_no_right_to(what: str, where: str, server: str, tmp_path: Path) -> None:
    statement = FORBIDDEN[what].format(place=tmp_path / "written")
    setup, run = (statement, "SELECT 1") if where == "setup" else ("", statement)
    result = run_postgres(server, setup, run, LIMITS)
    assert error_of(result) in REFUSALS
    assert isinstance(result, Failed)
    assert result.in_setup == (where == "setup")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("database", ["postgres", "template1"])
async def test_a_role_of_a_check_cannot_connect_to_another_database(database: str, server: str) -> None:
    superuser = await asyncpg.connect(server)
    await superuser.execute("CREATE ROLE visitor LOGIN")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(server, user="visitor", database=database)
    finally:
        await superuser.execute("DROP ROLE visitor")
        await superuser.close()


async def test_the_server_has_nothing_of_the_services_environment(server: str) -> None:
    superuser = await asyncpg.connect(server)
    try:
        await superuser.execute("CREATE TEMP TABLE told (line text); COPY told FROM PROGRAM 'env'")
        names = {row["line"].partition("=")[0] for row in await superuser.fetch("SELECT line FROM told")}
    finally:
        await superuser.close()
    assert "PATH" in names
    assert "TELEGRAM_BOT_TOKEN" not in names


# ---------------------------------------------------------------- what they use up

ENDLESS = {
    "sleep": "SELECT pg_sleep(60)",
    "sleep without a timeout": "DO $$ BEGIN SET statement_timeout = 0; PERFORM pg_sleep(60); END $$",
    "a loop": "DO $$ BEGIN LOOP END LOOP; END $$",
    "a loop that catches": "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60); "
    "EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$",
    "many rows": "SELECT count(*) FROM generate_series(1, 100000000000)",
    "a recursion": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r WHERE n < 0",
    "a join": "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b",
    "a big number": "SELECT length((factorial(30000) ^ 20)::text)",
}


@pytest.mark.parametrize("what", sorted(ENDLESS))
def test_a_check_without_an_end_is_cut_off(what: str, server: str) -> None:
    result = run_postgres(server, "", ENDLESS[what], SHORT)
    assert isinstance(result, TimedOut | OutOfMemory | Failed), result
    if isinstance(result, Failed):  # the server itself finds it too much
        assert result.error in {
            "ProgramLimitExceededError",
            "NumericValueOutOfRangeError",
            "InvalidRegularExpressionError",
        }
    assert works(server)


GREEDY = {
    "a long text": "SELECT repeat('x', 1000000000)",
    "eight long texts": "SELECT " + ", ".join(["length(repeat('x', 400000000))"] * 8),
    "texts put together": "SELECT string_agg(repeat('x', 1000000), '') FROM generate_series(1, 2000)",
    "a long array": "SELECT array_agg(n) FROM generate_series(1, 1000000000) n",
    "rows with much in them": "SELECT repeat('x', 100000) FROM generate_series(1, 100000)",
    "sorting with all memory": "SELECT set_config('work_mem', '100GB', true), "
    "(SELECT count(*) FROM (SELECT repeat('x', 10000) || n FROM generate_series(1, 10000000) n ORDER BY 1) t)",
    "a large table": "CREATE TABLE t AS SELECT repeat(md5(n::text), 100) FROM generate_series(1, 10000000) n",
    "a large file of the sort": "SELECT repeat(md5(n::text), 100) FROM generate_series(1, 10000000) n ORDER BY 1",
    "deep recursion": "SELECT f(1)",
    "deep brackets": f"SELECT {'(' * 50_000}1{')' * 50_000}",
}


TOO_MUCH = {
    ("StatementTooComplexError", "stack depth limit exceeded"),
    ("PostgresSyntaxError", "memory exhausted"),
    ("OutputTooLarge", "the rows take more than 65536 bytes"),
}


@pytest.mark.parametrize("what", sorted(GREEDY))
def test_a_check_that_takes_too_much_is_ended(what: str, server: str) -> None:
    recursion = "CREATE FUNCTION f(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN f(n + 1); END'"
    result = run_postgres(server, recursion, GREEDY[what], LIMITS)
    assert not isinstance(result, Rows)
    if isinstance(result, Failed):
        assert (result.error, result.message.partition(" at ")[0]) in TOO_MUCH
    assert works(server)


HUGE = {
    "bytes": "SELECT decode(repeat('00', 20000000), 'hex')",
    "an array of nothing": "SELECT array_fill(NULL::int, ARRAY[5000000])",
    "an array of numbers": "SELECT array_fill(1::int8, ARRAY[8000000])",
    "jsonb": "SELECT jsonb_build_object('a', repeat('x', 60000000))",
    "many columns": "SELECT " + ", ".join(["repeat('x', 60000)"] * 1600),
    "what is copied": "COPY (SELECT repeat('x', 100000000)) TO STDOUT",
    "an error": "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 60000000); END $$",
    "a notice": "DO $$ BEGIN SET client_min_messages = notice; RAISE NOTICE '%', repeat('x', 60000000); END $$",
    "many notices": "DO $$ BEGIN SET client_min_messages = notice; FOR i IN 1..100 LOOP "
    "RAISE NOTICE '%', repeat('x', 1000000); END LOOP; END $$",
}
MORE_BYTES = 32 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("where", ["setup", "run"])
@pytest.mark.parametrize("what", sorted(HUGE))
def test_what_a_check_sends_takes_the_callers_memory_up_to_a_limit_only(what: str, where: str, server: str) -> None:
    setup, run = (HUGE[what], "SELECT 1") if where == "setup" else ("", HUGE[what])
    held = peak_memory(reset=True)
    result = run_postgres(server, setup, run, LIMITS)
    assert peak_memory() - held < MORE_BYTES
    assert result == Failed("OutputTooLarge", "the rows take more than 65536 bytes", in_setup=where == "setup")
    assert works(server)


def peak_memory(*, reset: bool = False) -> int:
    """Return how many bytes this process held at most, since it was last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


@pytest.mark.parametrize(
    "number",
    [
        "ARRAY[1, 10::numeric ^ 100000]",
        "ROW(10::numeric ^ 100000)::pair",
        "ARRAY[ROW(10::numeric ^ 100000)::pair]",
        "numrange(1, 10::numeric ^ 100000)",
        "ARRAY[numrange(10::numeric ^ 100000, NULL)]",
    ],
)
def test_a_number_of_too_many_digits_is_found_however_deep_it_is(number: str, server: str) -> None:
    result = run_postgres(server, "CREATE TYPE pair AS (n numeric)", f"SELECT {number}", LIMITS)
    assert result == Unsupported("a number of more than 1000 digits")


def test_types_within_types_end_in_some_result(server: str) -> None:
    types = ["CREATE TYPE t0 AS (a int)", *(f"CREATE TYPE t{n} AS (a t{n - 1})" for n in range(1, 500))]
    value = "1"
    for n in range(500):
        value = f"ROW({value})::t{n}"
    assert isinstance(run_postgres(server, "; ".join(types), f"SELECT {value}", LIMITS), Rows | Unsupported)
    assert works(server)


def test_a_session_that_ends_itself_or_crashes_is_no_answer(server: str) -> None:
    ended = run_postgres(server, "", "SELECT pg_terminate_backend(pg_backend_pid())", LIMITS)
    assert ended == Unsupported("it ended its own session")
    assert works(server)


async def test_the_server_outlives_the_crash_of_a_session(server: str) -> None:
    crasher, bystander = await asyncpg.connect(server), await asyncpg.connect(server)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await crasher.execute("COPY (SELECT 1) TO PROGRAM 'kill -SEGV $PPID; sleep 60'")
    while not bystander.is_closed():  # the server ends all sessions and recovers
        await asyncio.sleep(0.01)
    assert await asyncio.to_thread(works, server)


# ---------------------------------------------------------------- what they give


def test_a_check_gives_its_rows_and_their_names(server: str) -> None:
    rows = run_postgres(
        server, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (2) RETURNING a, a + 1 AS b", LIMITS
    )
    assert rows == Rows(("a", "b"), ((1, 2), (2, 3)))


def test_rows_beyond_the_limit_are_not_read(server: str) -> None:
    assert error_of(run_postgres(server, "", "SELECT * FROM generate_series(1, 1001)", LIMITS)) == "TooManyRows"
    rows = run_postgres(server, "", "SELECT * FROM generate_series(1, 1000)", LIMITS)
    assert isinstance(rows, Rows)
    assert len(rows.rows) == LIMITS.max_rows


@pytest.mark.parametrize(
    "odd", ["-- nothing", ";", "COPY t FROM STDIN", "COPY t TO STDOUT", "\x00", "FETCH ALL FROM c"]
)
def test_odd_statements_end_in_some_result(odd: str, server: str) -> None:
    table = "CREATE TABLE t (a int)"
    assert isinstance(run_postgres(server, table, odd, SHORT), Rows | Failed | TimedOut | Unsupported)
    assert isinstance(
        run_postgres(server, f"{table};\n{odd}", "SELECT 1", SHORT), Rows | Failed | TimedOut | Unsupported
    )
    assert works(server)


def test_a_value_that_python_does_not_have_is_not_supported(server: str) -> None:
    assert isinstance(run_postgres(server, "", "SELECT date '5874897-12-31'", LIMITS), Unsupported | Rows)


@pytest.mark.parametrize(
    ("setup", "run"),
    [
        ("", "SELECT * FROM pg_stats LIMIT 1"),
        ("SET client_min_messages = notice; SET client_encoding = 'LATIN1'; DO $$ BEGIN RAISE NOTICE 'é'; END $$", ""),
        ("", "SELECT 1e100000::numeric"),
        ("", "SELECT 1e-10000::numeric"),
    ],
)
def test_an_answer_that_the_driver_cannot_take_is_not_supported(setup: str, run: str, server: str) -> None:
    assert isinstance(run_postgres(server, setup, run or "SELECT 1", LIMITS), Unsupported)
    assert works(server)


def test_a_notice_in_another_encoding_is_not_sent(server: str) -> None:
    setup = "SET client_encoding = 'LATIN1'; DO $$ BEGIN RAISE NOTICE 'é'; END $$"
    assert run_postgres(server, setup, "SELECT 1 AS a", LIMITS) == Rows(("a",), ((1,),))


def test_the_classes_of_errors_are_those_that_keys_name(server: str) -> None:
    assert error_of(run_postgres(server, "", "SELECT 1 / 0", LIMITS)) == "DivisionByZeroError"
    failed = run_postgres(server, "CREATE TABEL t", "SELECT 1", LIMITS)
    assert failed == Failed("PostgresSyntaxError", 'syntax error at or near "TABEL"', in_setup=True)


def test_each_process_of_the_server_is_limited(server: str) -> None:
    postmaster = (
        Path(parse_qs(urlsplit(server).query)["host"][0], "postmaster.pid").read_text(encoding="utf-8").split()[0]
    )
    limits = Path(f"/proc/{postmaster}/limits").read_text(encoding="utf-8")
    [line] = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert line.split()[3:5] == [str(PROCESS_BYTES)] * 2


async def test_a_throw_away_server_is_gone_afterwards() -> None:
    with throwaway_postgres() as url:
        assert await asyncio.to_thread(works, url)
    with pytest.raises(OSError, match=r"No such file|refused"):
        await asyncpg.connect(url)
