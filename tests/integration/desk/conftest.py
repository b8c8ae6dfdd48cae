"""The operators' command, on a database of the test's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import main
from tests.integration.desk.support import Desk
from tests.support.pooler import environment_of


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """Give the root logger back as it was: a role sends its lines elsewhere."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def desk(
    database_url: str,
    bank_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quiet_logs: None,
) -> Desk:
    """Return what runs a command in this process, and returns its status, output and errors."""
    for name, value in environment_of(database_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("QUESTION_BANK_DIR", str(bank_folder))
    monkeypatch.chdir(tmp_path)  # where no .env is

    async def run_command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = await asyncio.to_thread(main.main, ["questions", *map(str, arguments)])
        output, errors = capsys.readouterr()
        return status, output, errors

    return run_command
