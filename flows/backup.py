"""The flow that backs up the database: `python main.py backup` on a schedule, with its outcome in Prefect."""

from __future__ import annotations

import sys
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from domain.errors import BackupError
from domain.processes import run_program, service_environment
from flows.artifacts import rename_run
from flows.work_pool import ROOT
from observability.logs import one_line
from observability.states import redact_states

redact_states()  # of whichever process runs this flow


@task(name="dump and verify", cache_policy=NO_CACHE)
async def dump_and_verify() -> str:
    """Run the command in a process of its own, which reads every stored answer, and return what it says.

    Raises:
        BackupError: it failed; the message is its line.
    """
    status, printed, errors = await run_program(
        sys.executable, ROOT / "main.py", "backup", environment=service_environment()
    )
    if status:
        lines = errors.splitlines() or [f"it ended with {status}"]
        raise BackupError(one_line(lines[-1]).removeprefix("quiz: "))
    return one_line(printed)


@flow(name="back_up", flow_run_name="backup")
async def back_up() -> State[Any]:
    """Dump the database into BACKUP_DIR, verify the dump by restoring it elsewhere, and keep the newest."""
    told = await dump_and_verify()
    await rename_run(f"backup · {told}")
    return Completed(message=told)
