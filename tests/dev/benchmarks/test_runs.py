"""Each benchmark runs at a tiny size, on servers of its own, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dev.benchmarks.distribution import FLOWS
from storage.loader import load_queries
from tests.support.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[3]
RUN_SECONDS = 240


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder for temporary files, its name short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="qb-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def start(folder: Path, *names: str) -> subprocess.Popen[str]:
    """Start benchmarks at quick size, in an environment whose settings would lead them astray."""
    (folder / "tmp").mkdir()
    astray = {"DATABASE_URL": "postgresql://nowhere.invalid/quiz", "TELEGRAM_RATE_PER_SECOND": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "dev.benchmarks", *names, "--quick", "--out", str(folder / "out")],
        cwd=ROOT,
        env={**os.environ, **astray, "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, name: str) -> dict[str, Any]:
    """Run a benchmark to its end and return its figures."""
    process = start(folder, name)
    printed, _ = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 0, printed
    figures = json.loads((folder / "out" / "figures.json").read_text(encoding="utf-8"))
    assert figures.keys() == {name}
    assert figures[name]["run"]["quick"]
    return dict(figures[name]["result"])


def left_behind(folder: Path) -> list[str]:
    """Return the files and processes that a benchmark should have ended with itself."""
    working = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                working.append(f"{process.pid} {process.name()}")
        except psutil.Error:
            continue  # it ended meanwhile, or is somebody else's
    return working + [path.name for path in (folder / "tmp").glob("quiz-bench-*")]


def test_every_update_that_the_webhook_answers_with_200_is_a_row(folder: Path) -> None:
    result = run(folder, "webhook")
    durable = result["durable"]
    assert durable["webhook_answered"] == durable["webhook_rows"] > 0
    assert durable["bare_answered"] == durable["bare_rows"] > 0
    assert durable["fsync"] == durable["synchronous_commit"] == "on"
    for at in result["at"]:
        assert all(at[name]["failed"] == 0 for name in ("webhook", "bare", "nothing"))
        assert at["ratio"]["least"] <= at["ratio"]["median"] <= at["ratio"]["greatest"]
    assert "What this does not show" in (folder / "out" / "performance.md").read_text(encoding="utf-8")
    assert left_behind(folder) == []


@pytest.mark.prefect
def test_every_tap_gets_its_feedback_with_the_prefect_server_and_without_it(folder: Path) -> None:
    result = run(folder, "feedback")
    for mode, runs_flows in zip(result["modes"], (True, False), strict=True):
        for phase in mode["phases"]:
            assert phase["tap_to_feedback_ms"]["count"] > 0
            assert phase["without_feedback"] == phase["too_many_requests"] == 0
        assert mode["questions"]["quiz_to_question_ms"]["count"] > 0
        assert (mode["task_runs"] > 0) is runs_flows
    assert left_behind(folder) == []


@pytest.mark.prefect
def test_everybody_in_a_crowd_has_one_reply_to_each_thing_they_do(folder: Path) -> None:
    result = run(folder, "crowd")
    for name in ("alone", "during", "crowd"):
        told = result[name]
        assert told["missing"] == told["extra"] == told["try_again"] == 0
        assert told["too_many_requests"] == told["failed_deliveries"] == 0
        assert told["updates"] == sum(kind["reply"]["count"] for kind in told["kinds"].values())
    for name in ("alone", "during"):
        for kind in ("question", "feedback"):
            assert result[name]["kinds"][kind]["reply"]["count"] == result["at_once"]
    crowd = result["crowd"]
    assert crowd["kinds"]["welcome"]["reply"]["count"] == result["learners"]
    assert all(crowd["max_mb"][role] > 1 for role in ("bot", "worker", "Prefect server", "PostgreSQL", "Valkey"))
    assert {who.partition(" ")[0] for who in crowd["max_connections"]} == {"quiz", "prefect"}
    assert {one["query"] for one in crowd["statements"]["quiz"]} & load_queries().keys()
    assert left_behind(folder) == []


@pytest.mark.prefect
def test_everybody_who_is_due_gets_one_message(folder: Path) -> None:
    result = run(folder, "distribution")
    for distribution in result["runs"]:
        for sender in ("flow", "plain", "model_hangs"):
            told = distribution[sender]
            assert told["sent"] == distribution["learners"]
            assert told["too_many_requests"] == told["duplicates"] == told["missing"] == 0
        completed, *begun = (distribution["flow"]["runs"].pop(name) for name in ("completed", *FLOWS))
        assert completed == sum(begun) >= 1
        assert distribution["flow"]["start_seconds"] > 0
        assert distribution["plain"]["runs"]["completed"] == 0
        assert distribution["model_hangs"]["requests_to_the_model"] == 0
    assert left_behind(folder) == []


def test_both_transports_are_measured_in_the_same_run(folder: Path) -> None:
    result = run(folder, "transport")
    for at in result["at"]:
        assert at["ratio"]["least"] <= at["ratio"]["median"] <= at["ratio"]["greatest"]
        for name in ("aiohttp", "httpx"):
            assert at[name]["latency"]["count"] >= at["concurrency"]
            assert at[name]["server_share_of_a_core"]["median"] < 1
    assert left_behind(folder) == []


def test_what_does_not_end_is_ended_after_its_deadline_and_not_before(folder: Path) -> None:
    result = run(folder, "sandbox")
    assert all(one["count"] > 0 and one["p50_ms"] > 0 for one in [*result["runs"].values(), *result["late"].values()])
    assert left_behind(folder) == []


@pytest.mark.prefect
def test_every_answer_is_graded_and_every_question_sent_while_memory_is_watched(folder: Path) -> None:
    result = run(folder, "memory")
    rounds = len(result["samples"])
    assert result["answers"] == result["questions"] == rounds * result["learners"]
    assert result["updates"] == rounds * (2 * result["learners"] + result["learners"] // 2)
    assert result["runs"] > 0 < result["task_runs"]
    assert all(mb > 10 for sample in result["samples"] for mb in sample["rss_mb"].values())
    assert left_behind(folder) == []


@pytest.mark.prefect
def test_a_prefect_worker_holds_more_while_a_distribution_runs(folder: Path) -> None:
    result = run(folder, "runs")
    assert sum(one["sent"] for one in result["distributions"]) == result["learners"]
    for one in result["distributions"]:
        assert one["max_mb"] > one["after_mb"] > 10
    assert left_behind(folder) == []


def test_passing_over_what_is_loaded_leaves_little_to_look_at(folder: Path) -> None:
    result = run(folder, "pauses")
    assert result["passed over"]["objects"] < result["looked through"]["objects"] / 100
    assert left_behind(folder) == []


def test_a_benchmark_that_is_told_to_end_stops_what_it_started(folder: Path) -> None:
    process = start(folder, "webhook")
    end = time.monotonic() + RUN_SECONDS
    while not list((folder / "tmp").glob("*/bare.log")):  # the last process that it starts
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode != 0
    assert left_behind(folder) == []
    assert not (folder / "out").exists()


def test_a_benchmark_that_is_not_there_is_refused(folder: Path) -> None:
    process = start(folder, "speed")
    printed, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 2
    assert "there is no benchmark speed" in printed


@pytest.mark.prefect
def test_what_happens_makes_the_database_of_prefect_grow(folder: Path) -> None:
    result = run(folder, "growth")
    assert result["distribution"]["learners"] == result["alone"]["answers"] + result["together"]["answers"]
    assert result["total_bytes"] > sum(result["tables"].values()) > 0
    assert all(isinstance(result[name]["bytes"], int) for name in ("idle", "alone", "together", "empty"))
    assert left_behind(folder) == []
