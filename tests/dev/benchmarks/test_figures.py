"""Percentiles are values that were measured, and a page keeps what earlier runs found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.texts import TRY_AGAIN_TEXT
from dev.benchmarks import large, memory, readme, report
from dev.benchmarks.__main__ import BENCHMARKS
from dev.benchmarks.learners import Action, least_waits, summarise
from dev.benchmarks.numbers import Figures, latency_figures, percentile, spread
from dev.benchmarks.section import Section, Table
from dev.benchmarks.targets import judge
from domain.ids import LearnerId


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([7.0], 0.99, 7.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 101)], 1.0, 100.0),
    ],
)
def test_a_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_latencies_are_told_in_milliseconds_whatever_their_order() -> None:
    assert latency_figures([0.003, 0.001, 0.002]) == {
        "count": 3,
        "p50_ms": 2.0,
        "p95_ms": 3.0,
        "p99_ms": 3.0,
        "max_ms": 3.0,
    }


def test_a_spread_shows_how_far_repeated_measurements_differ() -> None:
    assert spread([3, 1, 10]) == {"median": 3, "least": 1, "greatest": 10}


def make_section(title: str) -> Section:
    table = Table("Speeds", ["name", "ratio"], [["ours", "**0.50**"]])
    return Section(title, "About it.", [table], ["A note."], ["The network."])


def make_figures(*, quick: bool) -> Figures:
    return {"run": report.describe_run(quick=quick), "result": {"speed": 1}}


def test_one_benchmark_run_again_keeps_the_others_on_the_page(tmp_path: Path) -> None:
    report.write(tmp_path, {"first": make_figures(quick=False)}, {"first": make_section("First")})
    figures = report.read_figures(tmp_path) | {"second": make_figures(quick=False)}
    report.write(tmp_path, figures, {"first": make_section("First"), "second": make_section("Second")})
    kept = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert kept.keys() == {"first", "second"}
    assert page.index("## First") < page.index("## Second")
    assert "| ours | **0.50** |" in page
    assert "no measurement" not in page


def test_a_page_of_quick_figures_says_so(tmp_path: Path) -> None:
    report.write(tmp_path, {"first": make_figures(quick=True)}, {"first": make_section("First")})
    assert "no measurement" in (tmp_path / "performance.md").read_text(encoding="utf-8")


def test_the_page_names_the_machine_and_the_versions(tmp_path: Path) -> None:
    figures = make_figures(quick=False)
    report.write(tmp_path, {"first": figures}, {"first": make_section("First")})
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    machine = figures["run"]["machine"]
    assert f"{machine['cores']} cores" in page
    for name in ("python", "postgres", "prefect"):
        assert str(machine[name]) in page
        assert str(machine[name])[0].isdigit()


def test_memory_that_is_kept_for_good_shows_as_growth() -> None:
    def samples(values: Sequence[float]) -> Figures:
        return {"samples": [{"updates": n, "rss_mb": {"worker": value}} for n, value in enumerate(values)]}

    sawtooth = samples([90, 95, 99, 100, 100, 112, 100, 108])
    assert memory.quarters(sawtooth, "worker") == [(90, 95), (99, 100), (100, 112), (100, 108)]
    (before, _), (after, _) = memory.quarters(samples(range(100, 120)), "worker")[-2:]
    assert after - before == 5


def test_what_prefect_costs_is_what_the_flow_costs_more() -> None:
    ways = {
        "flow": {"client_cpu_ms": 9.0, "prefect_cpu_ms_without_idle": 2.0},
        "functions": {"client_cpu_ms": 7.5, "prefect_cpu_ms_without_idle": 0.1},
    }
    assert large.prefect_cost({"unlimited": ways}) == pytest.approx(3.5)


def test_figures_that_were_kept_can_be_shown() -> None:
    for name, kept in report.read_figures(readme.ROOT / "docs").items():
        assert BENCHMARKS[name].present(kept["result"]).tables


@pytest.mark.parametrize(
    ("asked_at", "burst", "waits"),
    [
        ([0, 0, 0, 0], 1, [0, 0.1, 0.2, 0.3]),
        ([0, 0, 0, 0], 2, [0, 0, 0.1, 0.2]),
        ([0, 0.05, 0.5, 0.5], 1, [0, 0.05, 0, 0.1]),
        ([0, 0, 0, 10, 10, 10], 2, [0, 0, 0.1, 0, 0, 0.1]),
    ],
)
def test_nobody_waits_longer_than_the_rate_makes_them(asked_at: list[float], burst: int, waits: list[float]) -> None:
    assert least_waits(asked_at, 10, burst) == pytest.approx(waits)


def test_the_messages_that_may_go_at_once_after_a_rest_leave_a_tenth_more_than_the_rate_in_any_second() -> None:
    sent = least_waits([0] * 100, 30, 3)
    assert max(sum(start <= at < start + 1 for at in sent) for start in sent) in range(30, 34)


def test_each_learner_waits_for_what_comes_before_they_act_again() -> None:
    def call(learner_id: int, at: float, text: str = "?") -> Figures:
        return {"at": at, "values": {"chat_id": str(learner_id), "text": text}}

    alice, bob = LearnerId(1), LearnerId(2)
    actions = [Action(10.0, alice, "question"), Action(12.0, alice, "feedback"), Action(10.0, bob, "question")]
    calls = [call(1, 11.0), call(1, 12.5), call(1, 12.6, TRY_AGAIN_TEXT), call(3, 10.5)]
    told = summarise(actions, calls, 30, 1)
    assert (told["missing"], told["extra"], told["try_again"]) == (1, 1, 1)
    assert told["kinds"]["question"]["reply"] == latency_figures([1.0])
    assert told["kinds"]["feedback"]["reply"] == latency_figures([0.5])


def feedback_figures(with_prefect: float, *, quick: bool = False) -> Figures:
    def mode(milliseconds: float) -> Figures:
        return {"phases": [{"load": "15 a second", "tap_to_feedback_ms": {"p50": milliseconds, "p95": milliseconds}}]}

    return {"run": report.describe_run(quick=quick), "result": {"modes": [mode(with_prefect), mode(10)]}}


def test_a_target_that_is_missed_says_why() -> None:
    table, missed = judge({"feedback": feedback_figures(18)}, {"feedback": "Feedback"})
    assert [row[1:] for row in table.rows] == [["≤ 1.5", "**1.8, missed**", "Feedback"], ["≤ 2", "1.8", "Feedback"]]
    assert len(missed) == 1
    assert table.rows[0][0] in missed[0]
    assert judge({"feedback": feedback_figures(15)}, {"feedback": "Feedback"})[1] == []


def test_a_quick_run_misses_no_target() -> None:
    table, missed = judge({"feedback": feedback_figures(18, quick=True)}, {"feedback": "Feedback"})
    assert (table.rows, missed) == ([], [])


def test_the_page_begins_with_the_targets(tmp_path: Path) -> None:
    report.write(
        tmp_path, {"feedback": feedback_figures(18)}, {"feedback": make_section("Feedback: from a tap, to the grade")}
    )
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert page.index("**1.8, missed** | [Feedback](#feedback-from-a-tap-to-the-grade)") < page.index("## Feedback")
