"""Roles as processes of their own, with the settings of a test and nothing else of this machine's environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from domain.settings import Settings
from tests.support.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[2]
PLAIN = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Role:
    """A process under way, and what it wrote."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables that say what some settings say."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    shown = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in given.items()}
    return {name.upper(): str(value) for name, value in shown.items() if isinstance(value, str | int | float | Path)}


@contextmanager
def running_role(settings: Settings, folder: Path, arguments: Sequence[str], **extra: str) -> Iterator[Role]:
    """Run a program of the service, in a folder that has no `.env`, until the test is through with it."""
    plain = {name: os.environ[name] for name in PLAIN if name in os.environ}
    quick = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_HOME": str(folder / "prefect-home"), "DO_NOT_TRACK": "1"}
    log = folder / f"{Path(arguments[-2]).stem}-{arguments[-1]}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=plain | quick | environment_of(settings) | extra,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Role(process, log)
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)
