"""The workflow of a release: in order, with pinned actions, and with no more rights than a step needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

from domain.version import VERSION
from tests.system.deploy.compose import ROOT

FILE = ROOT / ".github" / "workflows" / "cd.yml"
WORKFLOW = yaml.safe_load(FILE.read_text(encoding="utf-8"))
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
STEPS = [(name, step) for name, job in JOBS.items() for step in job["steps"]]


def needs_of(name: str) -> list[str]:
    needs = JOBS[name].get("needs", [])
    return [needs] if isinstance(needs, str) else needs


def text_of(job: str) -> str:
    return "\n".join(step.get("run", "") for step in JOBS[job]["steps"])


def test_a_tag_of_a_version_and_nothing_else_starts_it() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as a truth value
    assert 'test "$GITHUB_REF_NAME" = "v$version"' in text_of("test")
    (command,) = re.findall(r"version=\$\(python -c '(.*)'\)", text_of("test"))
    told = subprocess.check_output([sys.executable, "-c", command], cwd=ROOT, text=True)
    assert told.strip() == VERSION


def test_nothing_is_deployed_that_was_not_tested_scanned_signed_and_tried_in_staging() -> None:
    assert {name: needs_of(name) for name in JOBS} == {
        "test": [],
        "image": ["test"],
        "staging": ["image"],
        "production": ["image", "staging"],
    }
    steps = [step.get("name") for step in JOBS["image"]["steps"]]
    assert [name for name in steps if name] == ["Build", "Scan", "Push", "Sign"]
    for name in ("staging", "production"):
        assert JOBS[name]["environment"] == name
        commands = text_of(name)
        assert commands.index("cosign verify") < commands.index("release.sh production")
    assert not [step for _, step in STEPS if "continue-on-error" in step or "if" in step]


def test_both_environments_get_the_digest_that_was_signed() -> None:
    image = JOBS["image"]
    signed = image["steps"][-1]["env"]["IMAGE"]
    outputs = {name: value.removeprefix("${{ ").removesuffix(" }}") for name, value in image["outputs"].items()}
    assert signed == f"${{{{ {outputs['name']} }}}}@${{{{ {outputs['digest']} }}}}"
    for name in ("staging", "production"):
        assert JOBS[name]["env"]["IMAGE"] == "${{ needs.image.outputs.name }}@${{ needs.image.outputs.digest }}"
    build, push = (step["with"] for step in image["steps"] if "build-push" in step.get("uses", ""))
    scan = next(step["with"] for step in image["steps"] if step.get("name") == "Scan")
    assert build["tags"] == scan["image"]
    assert build["context"] == push["context"] == "."


@pytest.mark.parametrize("line", re.findall(r"uses: .*", FILE.read_text(encoding="utf-8")))
def test_an_action_is_pinned_by_commit(line: str) -> None:
    assert re.fullmatch(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)


def test_a_job_may_do_what_it_does_and_no_more() -> None:
    assert WORKFLOW["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == {
        "test": {"contents": "read"},
        "image": {"contents": "read", "packages": "write", "id-token": "write"},
        "staging": {"contents": "read", "packages": "read"},
        "production": {"contents": "read", "packages": "read"},
    }
    checkouts = [step for _, step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(JOBS)
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_no_command_has_an_expression_put_into_it() -> None:
    """Whoever names a tag would write a part of the command."""
    assert [step["run"] for _, step in STEPS if "${{" in step.get("run", "")] == []


def test_what_is_called_is_there() -> None:
    for name in ("staging", "production"):
        (script,) = re.findall(r"^\s*(\S+/release\.sh)", text_of(name), re.MULTILINE)
        assert shutil.which(ROOT / script)
    assert (ROOT / ".ci" / "run").is_file()
    for name in ("staging", "production"):
        assert "/.github/workflows/cd.yml@" in text_of(name)
