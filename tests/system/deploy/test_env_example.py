""".env.example lists every setting, once, with its default and a line about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from domain.settings import Settings
from tests.system.deploy import compose
from tests.system.deploy.compose import ROOT

FILE = ROOT / ".env.example"
SETTINGS = {name.upper(): field for name, field in Settings.model_fields.items()}
_ASSIGNMENT = re.compile(r"^(?P<off># )?(?P<name>[A-Z][A-Z_]+)=(?P<value>.*)$")


def assignments() -> list[re.Match[str]]:
    """Return the file's lines that name a variable, switched off or not."""
    return [match for line in FILE.read_text(encoding="utf-8").splitlines() if (match := _ASSIGNMENT.match(line))]


def test_every_setting_and_every_variable_of_compose_stands_there_once() -> None:
    names = [match["name"] for match in assignments()]
    assert len(names) == len(set(names))
    assert set(names) == set(SETTINGS) | compose.variables()


def test_what_must_be_filled_in_is_all_that_is_not_commented_out() -> None:
    assert {match["name"] for match in assignments() if not match["off"]} == set(compose.REQUIRED)


def test_a_line_says_what_a_variable_is_for() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    for match in assignments():
        before = lines[lines.index(match[0]) - 1]
        assert before.startswith("# ") or before == "POSTGRES_PASSWORD=", match["name"]
        assert "---" not in before, match["name"]
        assert _ASSIGNMENT.match(before) is None or before == "POSTGRES_PASSWORD=", match["name"]


def test_each_value_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    lines = [f"{match['name']}={match['value']}" for match in assignments() if match["name"] in SETTINGS]
    switched_on = tmp_path / ".env"
    switched_on.write_text("\n".join(lines), encoding="utf-8")
    assert Settings(_env_file=switched_on) == Settings(_env_file=None)


def test_a_default_that_exists_is_written_out() -> None:
    written = {match["name"]: match["value"] for match in assignments()}
    assert [name for name, field in SETTINGS.items() if _can_be_written(field.default) and not written[name]] == []


def _can_be_written(default: object) -> bool:
    """Say whether a default is something, and the same on every machine."""
    return default not in (None, (), "") and not (isinstance(default, Path) and default.is_absolute())


def test_an_untouched_copy_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    assert Settings(_env_file=FILE) == Settings(_env_file=None)


def test_prefect_finds_nothing_in_an_untouched_copy() -> None:
    """Prefect reads .env as well, and takes a setting that stands there empty as one that is set."""
    names = [match for match in assignments() if match["name"].startswith("PREFECT_")]
    assert {match["name"] for match in names if not match["off"]} == {"PREFECT_API_AUTH_STRING"}


def test_an_empty_login_is_none_to_prefect(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path / ".env")
    code = "from prefect import get_client; print('Authorization' in get_client()._client.headers)"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=tmp_path, env=environment, text=True) == "False\n"
