"""Everything that a running service has logged, and a look for what must not be in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from tests.support.waiting import WAIT_SECONDS
from tests.system.stack.conftest import RunningStack, command_of

PAGE = 200
SHOWN = 160


def find_leaks(stack: RunningStack, secrets: Mapping[str, str]) -> list[str]:
    """Return each place in which a secret stands, with what stands around it.

    Args:
        stack: running, or just stopped.
        secrets: what nobody may read, by name.
    """
    return [
        f"{name} in {where}: ...{text[max(0, at - SHOWN) : at + SHOWN]}..."
        for where, text in places(stack)
        for name, secret in secrets.items()
        if (at := text.find(secret)) >= 0
    ]


def places(stack: RunningStack) -> Iterator[tuple[str, str]]:
    """Yield what was logged: by the roles, by each server, and by Prefect into its own database.

    Args:
        stack: running.
    """
    yield "the terminal", stack.output
    for log in stack.data.rglob("*"):
        if log.is_file() and (log.suffix == ".log" or log.name == "log"):
            yield log.name, log.read_text(errors="replace")
    for kind in ("logs", "flow_runs", "deployments", "artifacts", "task_runs", "work_pools"):
        yield f"Prefect's {kind}", "\n".join(map(str, prefects(stack, kind)))
    for process in stack.descendants():
        yield "a command line", " ".join(command_of(process))


def prefects(stack: RunningStack, kind: str) -> Iterator[Any]:
    """Yield everything of a kind that Prefect keeps.

    Args:
        stack: with a Prefect server.
        kind: as its API calls them.
    """
    offset = 0
    while True:
        reply = httpx.post(
            f"{stack.prefect}/api/{kind}/filter", json={"limit": PAGE, "offset": offset}, timeout=WAIT_SECONDS
        )
        reply.raise_for_status()
        found = reply.json()
        yield from found
        offset += PAGE
        if len(found) < PAGE:
            return
