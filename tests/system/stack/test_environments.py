"""No process of the stack has a secret in its environment that it does not need."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_for
from tests.system.stack.conftest import FOREIGN_SECRET, RunningStack, command_of

pytestmark = [
    pytest.mark.stack,
    pytest.mark.prefect,
    pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root reads the roles' environments"),
]


def environment_of(process: psutil.Process) -> str:
    """Return what a process was started with; empty if it has ended."""
    try:
        return Path(f"/proc/{process.pid}/environ").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_secrets_reach_the_roles_and_their_flows_and_nobody_else(stack: RunningStack) -> None:
    token = (stack.data / "data" / "simulator-token").read_text().strip()
    stack.start_run("upkeep/hourly", {})
    found: dict[int, tuple[list[str], str]] = {}

    def seen() -> bool:
        found.update({one.pid: (command_of(one), environment_of(one)) for one in stack.descendants()})
        return any(command[-1:] == ["flow"] and environment for command, environment in found.values())

    wait_for(seen, stack.describe)
    programs = {Path(command[0]).name for command, _ in found.values() if command}
    assert any("postgres" in name for name in programs)
    assert any("valkey" in name for name in programs)

    assert not [command for command, environment in found.values() if FOREIGN_SECRET in environment]
    knowing = {command[-1] for command, environment in found.values() if token in environment}
    assert knowing == {"bot", "worker", "prefect", "flow"}
    assert not [command for command, _ in found.values() if token in " ".join(command)]
    others = [environment for command, environment in found.values() if command[-1:] and command[-1] not in knowing]
    assert others
    assert not [environment for environment in others if "TELEGRAM_BOT_TOKEN" in environment]
