"""Every alert is caused and reaches its receiver, and every panel of the dashboard shows data.

A real Prometheus evaluates `deploy/alerts.yml` over a scripted hour of a real service, and a real Alertmanager routes
what fires by `deploy/alertmanager.yml`. Both are hurried (`tests/support/prometheus.py`): a quarter of an hour is a
second.
What cannot be had within a minute is told to Prometheus as series instead, and evaluated as it stands.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import prometheus
from tests.support.prometheus import DEPLOY, hurry, read, run_tool
from tests.system.deploy.scripted_hour import Hour, scripted_hour
from tests.system.deploy.test_monitoring import alerts, panels

if not prometheus.USABLE:
    pytest.skip(prometheus.MISSING, allow_module_level=True)

pytestmark = pytest.mark.slow

AS_SERIES: dict[str, dict[str, Any]] = {
    "QuizBackgroundErrors": {
        "why": "a task that fails waits up to 5 s before it tries again, so twenty errors take a minute and a half",
        "series": {'quiz_background_errors_total{task="recovery"}': "0+2x40"},
        "fires_at": "40m",
        "labels": {"task": "recovery"},
    },
    "QuizPaused": {
        "why": "a day is a minute and a half, hurried",
        "series": {'quiz_paused{bot="424242"}': "1x1600"},
        "fires_at": "25h",
        "labels": {"bot": "424242"},
    },
}
"""A value a minute; each is silent at first."""

CAUSED = {rule["alert"]: rule for rule in alerts() if rule["alert"] not in AS_SERIES}


@pytest.fixture(scope="module")
async def hour(
    tmp_path_factory: pytest.TempPathFactory,
    copy_template: Callable[[str], Awaitable[str]],
    postgres_url: Callable[[str], str],
    bank_folder: Path,
) -> AsyncIterator[Hour]:
    """Yield the scripted hour when it is over."""
    database_url = await copy_template("scripted_hour")
    folder = tmp_path_factory.mktemp("hour")
    async with scripted_hour(folder, database_url, postgres_url("postgres"), bank_folder) as hour:
        yield hour


@pytest.mark.long
@pytest.mark.parametrize("alert", CAUSED)
def test_an_alert_is_caused_and_reaches_its_receiver(hour: Hour, alert: str) -> None:
    assert set(hour.watched.told[alert]) == {CAUSED[alert]["labels"]["severity"]}


@pytest.mark.long
def test_a_missing_role_is_named(hour: Hour) -> None:
    assert "prefect" in {labels["role"] for labels in hour.watched.told["QuizRoleMissing"]["page"]}


@pytest.mark.long
def test_a_service_that_serves_everybody_alerts_nobody(hour: Hour) -> None:
    slow = {"QuizBotDown", "QuizWorkerDown", "QuizStateUnknown", "QuizRoleMissing"}  # a scrape on a busy machine
    assert hour.told_while_healthy <= slow


@pytest.mark.long
@pytest.mark.parametrize(
    ("panel", "expression"),
    [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]],
)
async def test_a_panel_shows_data(hour: Hour, panel: str, expression: str) -> None:
    shown = await hour.watched.query_since(
        expression.replace("$__rate_interval", "1m"), hour.begun_at, hour.ended_at or time.time()
    )
    values = [float(value) for series in shown for _, value in series["values"]]
    assert [value for value in values if math.isfinite(value)], panel


@pytest.mark.parametrize("alert", AS_SERIES)
def test_an_alert_fires_on_series(tmp_path: Path, alert: str) -> None:
    told = AS_SERIES[alert]
    [rule] = [rule for rule in alerts() if rule["alert"] == alert]
    fired = {"exp_labels": rule["labels"] | told["labels"], "exp_annotations": annotations_of(rule, told["labels"])}
    test = {
        "rule_files": [str(DEPLOY / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in told["series"].items()],
                "alert_rule_test": [
                    {"eval_time": "1m", "alertname": alert, "exp_alerts": []},
                    {
                        "eval_time": told["fires_at"],
                        "alertname": alert,
                        "exp_alerts": [fired],
                    },
                ],
            }
        ],
    }
    file = tmp_path / "alerts.test.yml"
    file.write_text(yaml.safe_dump(test), encoding="utf-8")
    run_tool("promtool", "test", "rules", str(file))


def annotations_of(rule: dict[str, Any], labels: dict[str, str]) -> dict[str, str]:
    """Return a rule's annotations as they are told with some labels."""
    texts = dict(rule["annotations"])
    for label, value in labels.items():
        texts = {name: text.replace(f"{{{{ $labels.{label} }}}}", value) for name, text in texts.items()}
    return texts


def test_the_files_are_what_the_programs_take(tmp_path: Path) -> None:
    run_tool("promtool", "check", "config", str(DEPLOY / "prometheus.yml"))
    run_tool("promtool", "check", "rules", str(DEPLOY / "alerts.yml"))
    run_tool("amtool", "check-config", str(DEPLOY / "alertmanager.yml"))


def test_hurrying_changes_durations_alone() -> None:
    slow, fast = (
        {rule["alert"]: rule for rule in yaml.safe_load(text)["groups"][0]["rules"]}
        for text in (read("alerts.yml"), hurry(read("alerts.yml")))
    )
    assert [name for name in slow if slow[name] | {"for": ""} != fast[name] | {"for": ""}] == []
    assert [name for name in slow if "for" in slow[name] and not fast[name]["for"].endswith("ms")] == []
