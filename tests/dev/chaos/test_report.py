"""What a run of the drills leaves: a table, and figures that a later run of one fault alone completes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev.chaos import report
from dev.chaos.__main__ import main
from dev.chaos.drill import QUICK, Outcome
from dev.chaos.probe import Count


def outcome(**fields: Any) -> Outcome:
    values: dict[str, Any] = {
        "about": "SIGKILL of the bot",
        "first_reply_seconds": 0.5,
        "well_seconds": 3.25,
        "count": Count(20, 20, 0, 0),
        "copies": 1,
        "remarks": ["5 of 9 sent before"],
        "deviations": [],
    }
    return Outcome(**(values | fields))


def figures(*outcomes: Outcome) -> dict[str, Any]:
    run = report.run_figures(QUICK, quick=True)
    return {f"fault-{place}": {"run": run, "result": one.figures()} for place, one in enumerate(outcomes)}


def test_a_row_tells_what_a_fault_cost() -> None:
    assert report.row("kill-bot", outcome().figures()) == [
        *("kill-bot", "0.5", "3.2", "20", "20", "0", "0", "1", "as it should be")
    ]


def test_what_is_lost_or_wrong_stands_out(tmp_path: Path) -> None:
    bad = outcome(well_seconds=None, count=Count(20, 18, 2, 1), deviations=["quiz 7 is answered and not graded"])
    assert not bad.is_good
    report.write(tmp_path, figures(outcome(), bad))
    page = (tmp_path / report.PAGE).read_text(encoding="utf-8")
    assert "| fault-1 | 0.5 | – | 20 | 18 | **2** | **1** | 1 | **1 lines** |" in page
    assert "- `fault-1`: quiz 7 is answered and not graded" in page
    assert "- `fault-0`: SIGKILL of the bot (5 of 9 sent before)" in page
    assert "At quick size" in page


def test_lost_or_doubled_is_bad_even_if_the_replay_is_silent() -> None:
    assert outcome().is_good
    assert not outcome(count=Count(20, 19, 1, 0)).is_good
    assert not outcome(count=Count(20, 20, 0, 1)).is_good


def test_earlier_figures_are_found_again(tmp_path: Path) -> None:
    assert report.read(tmp_path) == {}
    kept = figures(outcome())
    report.write(tmp_path, kept)
    assert report.read(tmp_path) == kept


def test_a_fault_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["earthquake"])
    assert "there is no fault earthquake" in capsys.readouterr().err
