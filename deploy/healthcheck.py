"""`python deploy/healthcheck.py URL|workers`: whether a container serves, for docker-compose.yml.

It runs every few seconds, so it imports the standard library only: loading the service for it would cost more than the
service itself does when idle.
"""  # noqa: INP001 - a script, imported by nobody

from __future__ import annotations

import base64
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

SECONDS = 4
MAX_BYTES = 1000
"""Of an answer that says what is wrong."""


def main(arguments: list[str]) -> int:
    """Ask once.

    Args:
        arguments: an address that must answer 200; or `workers`, for this container's worker in Prefect's work pool.

    Returns:
        0 when it serves, else 1 with one line on what is wrong.
    """
    (what,) = arguments
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))  # they are our own
    try:
        problem = _find_worker() if what == "workers" else _get(what)
    except (urllib.error.URLError, OSError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        print(problem)  # noqa: T201 - `docker inspect` shows it
    return 1 if problem else 0


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as reply:  # noqa: S310 - an address of our own
            return None if reply.status == 200 else f"status {reply.status}"  # noqa: PLR2004 - OK
    except urllib.error.HTTPError as error:  # whose body says what is wrong, at /ready
        return f"status {error.code}: {error.read(MAX_BYTES).decode(errors='replace').strip()}"


def _find_worker() -> str | None:
    """Ask the Prefect server, which knows a worker as online by its heartbeats; its name holds that of its host."""
    pool = os.environ.get("PREFECT_WORK_POOL") or "quiz"
    url = f"{os.environ['PREFECT_API_URL']}/work_pools/{pool}/workers/filter"
    headers = {"Content-Type": "application/json"}
    if login := _find_login():
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    request = urllib.request.Request(url, b"{}", headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310 - the same
        workers = json.load(reply)
    host = socket.gethostname()
    online = [worker for worker in workers if worker["status"] == "ONLINE" and host in worker["name"]]
    return None if online else f"no worker of {host!r} in the work pool {pool!r} is online"


def _find_login() -> str:
    """Look where the settings do, in this order."""
    name = "PREFECT_API_AUTH_STRING"
    path = Path(os.environ.get("SECRETS_DIR") or "/run/secrets", name)
    return os.environ.get(name) or (path.read_text(encoding="utf-8").strip() if path.is_file() else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
