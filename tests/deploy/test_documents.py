"""The documents name commands, settings, files and numbers that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import prefect.settings
import pytest

import main
from domain.settings import Settings
from tests.deploy import compose
from tests.deploy.compose import ROOT

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
DOCUMENTS = [ROOT / name for name in ("QUICKSTART.md", "DEPLOYMENT.md", "CONTRIBUTING.md")] + DECISIONS
MAKE_TARGETS = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
_CODE = re.compile(r"`([^`]+)`")
_FILE = re.compile(r"^[\w./-]+\.(?:py|sql|ya?ml|json|md|txt|in|toml)$")
TO_BE_WRITTEN = {"docker-compose.override.yml", "sql/migrations/NNNN_what_it_does.sql"}
"""Files that a reader makes."""

KNOWN_EVERYWHERE = {"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}
"""Variables that most programs heed."""

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def words(path: Path) -> list[str]:
    """Return what stands in backticks or code blocks."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^ *```\w+\n(.*?)^ *```", text)
    inline = _CODE.findall(re.sub(r"(?ms)^ *```.*?^ *```", "", text))
    return inline + [line.strip() for block in blocks for line in block.splitlines()]


@each_document
def test_a_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists()


@each_document
def test_a_variable_is_known_to_whoever_reads_it(path: Path) -> None:
    named = {name for word in words(path) for name in re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", word)}
    ours = {name.upper() for name in Settings.model_fields} | compose.variables() | KNOWN_EVERYWHERE
    assert {name for name in named if name not in ours and not hasattr(prefect.settings, name)} == set()


@each_document
def test_a_command_of_ours_is_understood(path: Path) -> None:
    for word in words(path):
        for command in re.findall(r"(?:^|\s)python main\.py((?: [a-z|]+)*)", word):
            for alternative in _alternatives(shlex.split(command)):
                assert main._parse(alternative)  # noqa: SLF001 - what the command line means
        if word.startswith("make "):
            assert word.split()[1] in MAKE_TARGETS


def _alternatives(words: list[str]) -> list[list[str]]:
    """Return the commands that `set|delete|info` stands for."""
    if not words or "|" not in words[-1]:
        return [words]
    return [[*words[:-1], last] for last in words[-1].split("|")]


@each_document
def test_a_file_is_there(path: Path) -> None:
    names = {word for word in words(path) if _FILE.match(word)} - TO_BE_WRITTEN
    known = {found.name for folder in (".", "deploy") for found in (ROOT / folder).iterdir()}
    assert {name for name in names if not (ROOT / name).exists() and name not in known} == set()


@each_document
def test_a_container_that_a_command_enters_is_one(path: Path) -> None:
    entered = {name for word in words(path) for name in re.findall(r"docker compose exec (?:-T )?([a-z-]+)", word)}
    assert entered <= set(compose.services())


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_says_what_why_what_not_and_at_what_cost(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert all(part in text for part in ("**Decision.**", "**Why", "**Turned down**", "**Costs.**"))
    assert len(text.splitlines()) <= 50


def test_decisions_are_counted_through() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_numbers_in_the_documents_are_those_of_the_code() -> None:
    from prefect_flows import COHORTS_AT_ONCE
    from sql.update_store import CLAIM_SECONDS
    from worker import BATCH, MAX_ATTEMPTS, POLL_SECONDS_WITHOUT_LISTEN

    told = {path.name: " ".join(path.read_text(encoding="utf-8").split()) for path in DOCUMENTS}
    assert COHORTS_AT_ONCE == 3
    assert "three cohorts at a time" in told["DEPLOYMENT.md"]
    assert f"a lease of {CLAIM_SECONDS} s" in told["0004-updates-table-as-the-queue.md"]
    assert f"after {MAX_ATTEMPTS} attempts" in told["0004-updates-table-as-the-queue.md"]
    assert f"takes its updates after {CLAIM_SECONDS} s" in told["DEPLOYMENT.md"]
    assert f"up to {BATCH} under load" in told["0003-grading-in-a-long-lived-worker.md"]
    assert f"every {POLL_SECONDS_WITHOUT_LISTEN} s" in told["DEPLOYMENT.md"]
    for name, default in re.findall(r"`([A-Z_]+)` \((\d+)\)", told["DEPLOYMENT.md"]):
        assert float(default) == Settings.model_fields[name.lower()].default
