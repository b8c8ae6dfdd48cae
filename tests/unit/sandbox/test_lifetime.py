"""Processes of the sandbox: what they hold, that they end, and that runs do not meet."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from domain.errors import SandboxError
from sandbox import python, sql
from sandbox.confinement import describe_protections
from sandbox.python import run_python
from sandbox.results import Failed, Limits, OutOfMemory, Printed, Rows, TimedOut
from sandbox.sql import run_sql
from tests.conftest import ROOT
from tests.support.waiting import WAIT_SECONDS

LOOP = "while True: pass"
COUNT = "select count(*) from range(100000000000000)"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Begin without a process of the sandbox."""
    python.close()
    sql.close()
    yield
    python.close()
    sql.close()


def wait_for(what: str, condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """Return the processes below one, this one as a rule."""
    return psutil.Process(pid).children(recursive=True)


def named(word: str) -> list[psutil.Process]:
    """Return processes of the sandbox below this one, by a word of their command."""
    found = []
    for process in descendants():
        try:
            if word in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def has_ended(process: psutil.Process) -> bool:
    """Say whether a process is gone, or waits for its parent to notice."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except psutil.NoSuchProcess:
        return True


def wait_until_ended(processes: list[psutil.Process]) -> None:
    """Wait until each of some processes is gone."""
    wait_for("all are gone", lambda: all(map(has_ended, processes)))


def seen_environment(process: psutil.Process) -> bytes | None:
    """Return a process's environment, or None if it lets nobody see it."""
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes()
    except PermissionError:
        return None


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@needs_proc
def test_a_process_that_runs_sql_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "Zq7-planted-secret")
    inherited = os.dup(1)
    os.set_inheritable(inherited, True)  # noqa: FBT003 - its only form
    with ThreadPoolExecutor() as pool:
        run = pool.submit(run_sql, "", COUNT, Limits(seconds=WAIT_SECONDS))
        wait_for("template, keeper and runner", lambda: len(named("sql_child")) == 3)
        processes = sorted(named("sql_child"), key=lambda process: len(process.parents()))
        assert all(not seen_environment(process) for process in processes)
        assert all("Zq7" not in " ".join(process.cmdline()) for process in processes)
        runner = processes[-1].pid
        wait_for("the runner is confined", lambda: "Max open files            0" in limits_of(runner))
        status = Path(f"/proc/{runner}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "Threads:\t1" in status
        if os.geteuid() == 0:
            assert len(list(Path(f"/proc/{runner}/fd").iterdir())) == 1
            assert Path(f"/proc/{runner}/cwd").readlink().name.endswith("(deleted)")
        processes[-1].kill()
        assert run.result() == OutOfMemory()  # as who else would kill it
    os.close(inherited)


def limits_of(pid: int) -> str:
    """Return a process's limits as the kernel writes them."""
    return Path(f"/proc/{pid}/limits").read_text()


@needs_proc
@pytest.mark.parametrize("runs_before", [0, 1])
def test_a_process_that_runs_python_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch, runs_before: int) -> None:
    monkeypatch.setenv("PLANTED", "Zq7-planted-secret")
    for _ in range(runs_before):
        assert run_python("print(1)") == Printed("1\n")
    inherited = os.dup(1)
    os.set_inheritable(inherited, True)  # noqa: FBT003 - its only form
    with ThreadPoolExecutor() as pool:
        run = pool.submit(run_python, LOOP, Limits(seconds=WAIT_SECONDS))
        wait_for(
            "a worker that is limited", lambda: any("files            0" in limits_of(p.pid) for p in named("monty"))
        )
        workers = named("monty")
        assert all(not seen_environment(worker) for worker in workers)
        assert all(
            worker.cmdline()[1:] == ["subprocess"] or worker.cmdline()[1:] == ["subprocess", ""] for worker in workers
        )
        for worker in workers:
            status = Path(f"/proc/{worker.pid}/status").read_text()
            assert "NoNewPrivs:\t1" in status
            assert ("Seccomp:\t2" in status) == ("seccomp" in describe_protections())
            open_files = {
                str(path.readlink()) for path in Path(f"/proc/{worker.pid}/fd").iterdir() if int(path.name) > 2
            }
            assert open_files <= {"/dev/null"}
            worker.kill()
        assert isinstance(run.result(), Failed)
    os.close(inherited)


PROGRAM = f"""
import sys, threading
from sandbox.python import run_python
from sandbox.results import Limits
from sandbox.sql import run_sql
def run_again(run, *code):
    for _ in range(TIMES):
        run(*code, Limits(seconds=0.5))
print(run_python("print(1)"), run_sql("", "select 1"), flush=True)
threading.Thread(target=run_again, args=(run_python, {LOOP!r})).start()
threading.Thread(target=run_again, args=(run_sql, "", {COUNT!r})).start()
sys.stdin.read()
"""


def start_program(times: int) -> subprocess.Popen[bytes]:
    """Start a process that uses both engines, and which ends its main thread when its input is closed."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("TIMES", str(times))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert program.stdout
    assert program.stdout.readline()
    return program


@needs_proc
def test_nothing_is_left_running_when_the_caller_is_killed() -> None:
    with start_program(times=1000) as program:
        wait_for("a worker, a template, a keeper and a runner", lambda: len(descendants(program.pid)) >= 4)
        left = descendants(program.pid)
        program.kill()
    wait_until_ended(left)


def test_nothing_is_left_running_when_the_caller_ends() -> None:
    with start_program(times=1) as program:
        left = descendants(program.pid)
        assert left
    assert program.returncode == 0
    wait_until_ended(left)


def test_closing_ends_the_processes_and_the_next_run_starts_others() -> None:
    python.close()
    sql.close()
    servers = descendants()  # of other tests
    for _ in range(2):
        assert run_python("print(1)") == Printed("1\n")
        assert run_sql("", "select 1 as a") == Rows(("a",), ((1,),))
        left = [process for process in descendants() if process not in servers]
        assert left
        python.close()
        sql.close()
        wait_until_ended(left)


def test_a_process_that_is_killed_does_not_take_the_next_run_along() -> None:
    limits = Limits(seconds=WAIT_SECONDS)
    with ThreadPoolExecutor() as pool:
        runs: list[Future[Any]] = [pool.submit(run_python, LOOP, limits), pool.submit(run_sql, "", COUNT, limits)]
        wait_for("all are there", lambda: len(named("sql_child")) == 3 and named("monty"))
        runner = max(named("sql_child"), key=lambda process: len(process.parents()))
        for process in [runner, *named("monty")]:
            process.send_signal(signal.SIGKILL)
        for run in runs:
            assert run.result() != TimedOut()
    assert run_python("print(1)") == Printed("1\n")
    assert run_sql("", "select 1 as a") == Rows(("a",), ((1,),))


def test_a_template_that_is_killed_is_replaced() -> None:
    assert run_sql("", "select 1 as a") == Rows(("a",), ((1,),))
    [template] = [process for process in named("sql_child") if process.ppid() == os.getpid()]
    template.kill()
    wait_until_ended([template])
    assert run_sql("", "select 1 as a") == Rows(("a",), ((1,),))


@needs_proc
def test_a_template_that_died_leaves_no_socket_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    sound = sql._CHILD  # noqa: SLF001 - the script that it starts
    monkeypatch.setattr(sql, "_CHILD", broken)
    sql.close()  # that of an earlier test
    gc.collect()  # what earlier tests left to it may be closed at any moment
    held = psutil.Process().num_fds()
    with pytest.raises(SandboxError):
        run_sql("", "select 1 as a")
    child = sql._child  # noqa: SLF001 - the process whose script is broken
    assert child
    wait_for("it ended", lambda: not child.is_alive())
    monkeypatch.setattr(sql, "_CHILD", sound)
    assert run_sql("", "select 1 as a") == Rows(("a",), ((1,),))
    assert list(tmp_path.iterdir()) == [broken]
    sql.close()
    assert psutil.Process().num_fds() <= held


@pytest.mark.parametrize("error", ['OSError(1, "refused")', 'ValueError("not allowed to raise")'])
def test_a_process_that_cannot_confine_itself_does_not_blame_the_code(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "sql_child.py"
    child.write_text(UNCONFINED.format(root=str(ROOT), error=error, child=str(sql._CHILD)))  # noqa: SLF001 - as above
    monkeypatch.setattr(sql, "_CHILD", child)
    with pytest.raises(SandboxError, match=r"cannot confine itself: .*(refused|not allowed)"):
        run_sql("", "select 1 as a")


UNCONFINED = """
import runpy, sys
sys.path.insert(0, {root!r})
from sandbox import confinement
def refuse(): raise {error}
confinement._apply_landlock = refuse
runpy.run_path({child!r}, run_name="__main__")
"""


@pytest.mark.skipif("seccomp" not in describe_protections(), reason="this kernel has no seccomp")
def test_a_worker_that_is_not_confined_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "confine_thread", lambda _: None)
    with pytest.raises(SandboxError, match="a worker that is not confined"):
        run_python("print(1)")


def test_a_thread_that_cannot_confine_itself_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise OSError(1, "refused")

    monkeypatch.setattr(python, "confine_thread", refuse)
    with pytest.raises(SandboxError):
        run_python("print(1)")
    assert not named("monty")


def test_many_threads_share_both_engines() -> None:
    with ThreadPoolExecutor(8) as pool:
        printed = list(pool.map(lambda number: run_python(f"print({number})"), range(40)))
        rows = list(pool.map(lambda number: run_sql("", f"select {number} as a"), range(40)))
    assert printed == [Printed(f"{number}\n") for number in range(40)]
    assert rows == [Rows(("a",), ((number,),)) for number in range(40)]


async def test_both_engines_work_off_the_event_loop() -> None:
    results = await asyncio.gather(
        *(asyncio.to_thread(run_python, "print(1)") for _ in range(4)),
        *(asyncio.to_thread(run_sql, "", "select 1 as a") for _ in range(4)),
    )
    assert results == [Printed("1\n")] * 4 + [Rows(("a",), ((1,),))] * 4


def test_a_run_finds_nothing_of_the_one_before() -> None:
    run_sql("create table t as select 1 as a; create macro m() as 1", "select * from t")
    assert isinstance(run_sql("", "select * from t"), Failed)
    assert isinstance(run_sql("", "select m()"), Failed)
    run_python("x = 1\nimport random\nrandom.seed(1)")
    assert isinstance(run_python("print(x)"), Failed)
