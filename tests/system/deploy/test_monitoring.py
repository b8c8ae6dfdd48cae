"""Dashboard and alerts ask for metrics that exist, by labels that they have, of services that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from domain.settings import Settings
from observability import metrics
from observability.service_metrics import ServiceMetrics
from tests.system.deploy import compose
from tests.system.deploy.compose import ROOT

FROM_PROMETHEUS = {"job", "instance", "le"}
_METRIC = re.compile(r"\bquiz_[a-z0-9_]+")
_SELECTED = re.compile(r"(quiz_[a-z0-9_]+)\{([^}]*)\}")
_GROUPED = re.compile(r"by \(([^)]*)\)")


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / name).read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    return [rule for group in read_yaml("alerts.yml")["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return shown + [rule["expr"] for rule in alerts()]


def declared() -> Iterable[MetricWrapperBase]:
    return [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]


def series() -> dict[str, set[str]]:
    """Return the labels of every time series that the service shows, by its name."""
    found = {gauge.name: set(gauge._labelnames) for gauge in ServiceMetrics.describe()}  # noqa: SLF001 - as below
    for metric in declared():
        name, labels = metric._name, set(metric._labelnames)  # noqa: SLF001 - the library tells them no other way
        if isinstance(metric, Counter):
            found[f"{name}_total"] = labels
        elif isinstance(metric, Histogram):
            found |= {f"{name}_{part}": labels for part in ("bucket", "sum", "count")}
        else:
            assert isinstance(metric, Gauge)
            found[name] = labels
    return found


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_what_exists(expression: str) -> None:
    known = series()
    asked = set(_METRIC.findall(expression))
    assert asked or "up{" in expression
    assert asked <= set(known)
    labels = set().union(*(known[name] for name in asked)) | FROM_PROMETHEUS
    for _, selectors in _SELECTED.findall(expression):
        assert {re.split(r"[=!]", selector)[0].strip() for selector in selectors.split(",")} <= labels
    for group in _GROUPED.findall(expression):
        assert {label.strip() for label in group.split(",")} <= labels


def test_no_metric_is_forgotten() -> None:
    asked = {name for expression in expressions() for name in _METRIC.findall(expression)}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in series()} == shown


def test_prometheus_finds_the_roles_where_their_metrics_are() -> None:
    services = compose.services()
    ports = {"quiz-bot": "WEBHOOK_PORT", "quiz-worker": "WORKER_METRICS_PORT"}
    configured = read_yaml("prometheus.yml")
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in configured["scrape_configs"]}
    assert set(jobs) == set(ports)
    for name, found in jobs.items():
        assert found["names"] == [name]
        assert str(found["port"]) == compose.environment_of(services[name])[ports[name]]
    assert all((ROOT / "deploy" / rules).is_file() for rules in configured["rule_files"])
    assert {job for expression in expressions() for job in re.findall(r'job="([^"]+)"', expression)} == set(jobs)


def test_a_counter_exists_before_it_first_grows() -> None:
    """One that begins with its first event hides that event from `increase`; some words are not known beforehand."""
    open_words = {
        metrics.TELEGRAM_REQUESTS: "methods that the library adds",
        metrics.GENERATION_FAILED: "errors of any source",
        metrics.LLM_CALLS: "statuses of any server",
        metrics.BACKGROUND_ERRORS: "each task makes its own when it begins",
    }
    counters = [metric for metric in declared() if isinstance(metric, Counter) and metric._labelnames]  # noqa: SLF001
    assert [one._name for one in counters if one not in open_words and not one._metrics] == []  # noqa: SLF001


def test_an_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]


def test_an_alert_names_settings_that_exist() -> None:
    named = {name for rule in alerts() for name in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", str(rule["annotations"]))}
    assert named <= {name.upper() for name in Settings.model_fields}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
