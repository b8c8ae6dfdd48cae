"""The Makefile's way to an environment, in a folder of its own and with nothing to install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.deploy.compose import ROOT


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in a copy of the Makefile whose requirements are empty."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.txt", "requirements-local.txt"):
        (folder / name).touch()
    command = ["make", f"PYTHON={sys.executable}", *arguments]
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # of `make test`, which would have this one tell where it enters
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_an_environment_that_was_left_half_made_is_finished(tmp_path: Path) -> None:
    """As after Ctrl-C, or on a Debian that had no package python3-venv at the first try: a Python without pip."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    done = make(tmp_path, ".venv/run")
    assert done.returncode == 0, done.stderr
    assert (binaries / "pip").exists()


@pytest.mark.parametrize("python", ["/nowhere/python3", "/bin/false"])
def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path, python: str) -> None:
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(python)
    (binaries / "pip").touch(mode=0o755)
    (tmp_path / ".venv" / "run").touch()
    done = make(tmp_path, "-o", "requirements.txt", "-o", "requirements-local.txt", ".venv/run")
    assert done.returncode == 0, done.stderr
    subprocess.run([binaries / "python", "-m", "pip", "--version"], check=True, capture_output=True)


def test_a_python_that_is_too_old_is_one_clear_line(tmp_path: Path) -> None:
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    done = make(tmp_path, f"PYTHON={old}", ".venv/run")
    assert done.returncode != 0
    assert done.stdout.splitlines()[0] == "Python 3.11 or newer is needed; name it with PYTHON=..."
    assert not (tmp_path / ".venv").exists()
