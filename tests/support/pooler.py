"""PgBouncer in transaction mode, in front of the tests' Postgres."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from local import servers
from storage.database import Database
from tests.support.waiting import WAIT_SECONDS

Route = Callable[[str], str]
"""Leads from a database's own address to the one that the service is given."""

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
"""Debian keeps it where only root looks."""

MISSING = "PgBouncer is not on this machine (apt install pgbouncer)"

USABLE = bool(PROGRAM or os.environ.get("QUIZ_REQUIRE_POOLER"))
"""Whether tests that need it run: continuous integration wants them to fail where it is missing."""

CONFIGURATION = """
[databases]
* = host={socket} user=postgres

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 2000
default_pool_size = 4
server_round_robin = 1
server_login_retry = 1
query_wait_timeout = 5
log_connections = 0
log_disconnections = 0
"""
"""Few connections that take turns: what wants to meet the same one twice fails at once, and what holds two may hang.

By itself PgBouncer lets queries wait for 120 s while Postgres is down, and after a failed login looks again after 15 s.
"""


@contextmanager
def running_pooler(postgres_url: str, folder: Path) -> Iterator[str]:
    """Run PgBouncer, and yield the start of its addresses, to which a database's name is added.

    It refuses to be root, so that root lets the user run it whose Postgres it leads to.
    """
    assert PROGRAM
    port, log = servers.free_port(), folder / "pgbouncer.log"
    socket = Path(parse_qs(urlsplit(postgres_url).query)["host"][0])
    folder.mkdir()
    file = folder / "pgbouncer.ini"
    file.write_text(CONFIGURATION.format(socket=socket, host=servers.LOOPBACK, port=port), encoding="utf-8")
    owner = pwd.getpwuid((socket / ".s.PGSQL.5432").stat().st_uid) if os.geteuid() == 0 else None
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, str(file)],
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    servers.wait_until_listening(port, process, log, "PgBouncer")
    try:
        yield f"postgresql://postgres@{servers.LOOPBACK}:{port}/"
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def pooled(url: str, start: str) -> str:
    """Return the address of a database through PgBouncer."""
    return start + urlsplit(url).path.removeprefix("/")


def is_pooled(url: str) -> bool:
    """Say whether an address leads through PgBouncer: the tests' Postgres itself listens on a file alone."""
    return urlsplit(url).port is not None


async def connect(url: str, *, size: int = 10) -> Database:
    """Open a pool as the service does, whichever way the address leads."""
    return await Database.connect(url, size=size, pooler=is_pooled(url))


def environment_of(url: str) -> dict[str, str]:
    """Return the variables that a role needs for an address."""
    return {"DATABASE_URL": url, "DATABASE_POOLER": str(is_pooled(url)).lower()}
