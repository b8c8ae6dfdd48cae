"""`make run` on a machine that is odd in several ways at once: it starts, and a learner is served."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import WAIT_SECONDS, wait_for
from tests.system.stack.conftest import ROOT, RunningStack
from tests.system.stack.test_smoke import answers

pytestmark = [pytest.mark.stack, pytest.mark.long]

LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", ".data", ".env", ".hypothesis", ".*_cache", "__pycache__", "build"),
    *("tests", "docs", "benchmarks"),
)
"""What other tests write to meanwhile, what is this machine's own, and what the service does without."""

ODD = {
    "LC_ALL": "xx_YY.UTF-8",
    "LANG": "xx_YY.UTF-8",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "PYTHONIOENCODING": "ascii",
    "PGHOST": "nowhere.invalid",
    "PGPORT": "9",
    "PGSSLMODE": "require",
    "OPENAI_BASE_URL": "",
    "PREFECT_API_URL": "",
}
"""A locale that is not installed, proxies that lead nowhere, a terminal of few letters, another database's settings."""


class MadeStack(RunningStack):
    """The same, started with make from a folder with a blank in its name."""

    def launch(self) -> None:
        """Start it without waiting."""
        root = self.data / "my quiz"
        shutil.copytree(ROOT, root, ignore=LEFT_OUT)
        (root / ".venv").symlink_to(Path(sys.prefix))
        environment = {name: value for name, value in self.environment().items() if name != "DATA_DIR"}
        with (self.data / "output").open("wb") as output:
            self.process = subprocess.Popen(
                ["make", "-o", ".venv/run", "run"],  # noqa: S607 - whichever make there is
                cwd=root,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, number: int = signal.SIGINT) -> int:
        """Stop it as Ctrl-C does, which reaches make and what it runs."""
        assert self.process is not None
        os.killpg(self.process.pid, number)
        return self.process.wait(WAIT_SECONDS)


def test_it_starts_in_a_folder_with_a_blank_without_its_locale_and_with_proxies_set(tmp_path: Path) -> None:
    stack = MadeStack(tmp_path, extra=ODD)
    stack.start()
    try:
        assert "WARNING ALL_PROXY is ignored: its kind of proxy is not supported" in stack.output
        assert "Traceback" not in stack.output
        wait_for(lambda: answers(stack, 1001, "/help", "How it works"), stack.describe)
    finally:
        stack.stop()
    assert "Stopped. The data is kept" in stack.output
