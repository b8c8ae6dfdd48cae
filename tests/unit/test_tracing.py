"""Tracing is off without a collector, and one that takes nothing is reported once."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from domain.ids import LearnerId, QuizId, UpdateRow
from domain.settings import Settings
from local.servers import free_port
from observability import tracing
from observability.log_ids import current_ids
from observability.tracing import Handled, set_up_tracing, shut_down_tracing
from tests.conftest import ROOT
from tests.support.collector import collecting
from tests.support.factories import TOKEN

ROLES = """
import sys
import main, prefect_flows, roles.webhook, roles.worker
from domain.settings import Settings
from observability.tracing import set_up_tracing
set_up_tracing(Settings(_env_file=None), "worker")
print("imported", *sys.modules)
"""
NOT_INSTALLED = """
import sys
sys.modules |= {"opentelemetry.sdk": None, "opentelemetry.exporter": None}
"""
SENDING = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf", "requests")
"""What only a process with a collector needs. The SDK's metrics are not among it: redis-py imports them if it can."""


def run_program(program: str, **environment: str) -> str:
    """Return what a program of the service writes."""
    kept = {"PATH": os.environ["PATH"], **environment}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=kept, check=False, capture_output=True, text=True
    )
    return run.stdout + run.stderr


@pytest.fixture
def off_at_the_end() -> Iterator[None]:
    """Leave no tracing behind."""
    yield
    shut_down_tracing()


def test_without_a_collector_nothing_that_sends_spans_is_imported() -> None:
    imported = run_program(ROLES).partition("imported ")[2].split()
    assert "roles.worker" in imported
    assert [name for name in imported if name.startswith(SENDING)] == []


def test_where_the_sdk_is_not_installed_every_role_runs_without_it() -> None:
    assert "roles.worker" in run_program(NOT_INSTALLED + ROLES)


def test_a_collector_without_the_sdk_is_refused_in_one_line() -> None:
    start = "import main; raise SystemExit(main.main(['bot']))"
    servers = {"DATABASE_URL": "postgresql://db/quiz", "REDIS_URL": "redis://redis", "TELEGRAM_BOT_TOKEN": TOKEN}
    told = run_program(NOT_INSTALLED + start, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318", **servers)
    missing = "OTEL_EXPORTER_OTLP_ENDPOINT: OpenTelemetry's SDK is missing; install requirements-tracing.txt"
    assert told == f"quiz: The service cannot start: {missing}\n"


def test_without_a_collector_there_are_no_spans_but_log_lines_have_ids() -> None:
    learner = LearnerId(1)
    with (
        tracing.span("receive tap"),
        tracing.handling({learner: Handled(UpdateRow(42))}),
        tracing.steps("adapt difficulty", [learner]),
        tracing.step("send feedback", learner, quiz=QuizId(7)),
    ):
        assert dict(current_ids()) == {"update": 42, "quiz": 7}
        assert tracing.current_traceparent() is tracing.current_trace_id() is None


@pytest.mark.usefixtures("off_at_the_end")
def test_a_collector_that_takes_nothing_is_reported_once_and_so_is_its_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from observability.span_export import ReportingExporter

    port = free_port()
    ReportingExporter("http://127.0.0.1:1", None)  # another of the process does not take the words away
    exporter = ReportingExporter(f"http://127.0.0.1:{port}", None)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            exporter.export([])
        with collecting(port):
            for _ in range(2):
                exporter.export([])
    lost, again = (record.getMessage() for record in caplog.records)
    assert lost.startswith("the collector takes no traces, which are lost until it does: ")
    assert "Connection refused" in lost
    assert again == "the collector takes traces again"


@pytest.mark.usefixtures("off_at_the_end")
def test_the_collector_is_shown_the_headers_of_the_settings() -> None:
    with collecting() as collector:
        settings = Settings(
            _env_file=None,
            otel_exporter_otlp_endpoint=collector.url,
            otel_exporter_otlp_headers=SecretStr("Authorization=Basic%20dXNlcjpwYXNz,x-tenant=quiz"),
        )
        set_up_tracing(settings, "worker")
        with tracing.span("receive tap"):
            pass
        shut_down_tracing()
    (headers,) = collector.requests
    assert (headers["authorization"], headers["x-tenant"]) == ("Basic dXNlcjpwYXNz", "quiz")
    (span,) = collector.spans
    assert (span.service, span.name, span.failed) == ("quiz-worker", "receive tap", False)
