"""A release has one version, and whatever shows it shows the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from prometheus_client import REGISTRY

import main
from domain.version import VERSION
from observability import metrics
from tests.system.deploy import compose
from tests.system.deploy.compose import ROLES, ROOT
from tests.system.deploy.test_dockerfile import all_of


def test_the_command_line_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main.main(["--version"])
    assert capsys.readouterr().out == f"{VERSION}\n"


def test_a_metric_tells_it() -> None:
    assert metrics.BUILD_INFO
    assert REGISTRY.get_sample_value("quiz_build_info", {"version": VERSION}) == 1


def test_the_first_line_of_a_role_tells_it() -> None:
    environment = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/quiz",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "TELEGRAM_BOT_TOKEN": compose.REQUIRED["TELEGRAM_BOT_TOKEN"],
        "LOG_FORMAT": "json",
    }
    done = subprocess.run(
        [sys.executable, "main.py", "bot"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    first, *_ = done.stderr.splitlines()
    assert (json.loads(first)["message"], json.loads(first)["role"]) == (f"version {VERSION} starts", "bot")


def test_the_image_and_its_label_are_of_it() -> None:
    labels = dict(word.split("=", 1) for rest in all_of("LABEL") for word in rest.split())
    assert labels["org.opencontainers.image.version"] == VERSION
    services = compose.services()
    assert {services[role]["image"] for role in ROLES} == {f"data-engineering-quiz:{VERSION}"}


def test_the_newest_release_in_the_changelog_is_of_it() -> None:
    """Above it there may be what is not released yet."""
    headings = re.findall(r"(?m)^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings[0] in {"Unreleased", VERSION}
    assert not released or released[0] == VERSION
