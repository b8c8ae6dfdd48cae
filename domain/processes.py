"""What a process keeps to itself: which environment its children get, how they end, and who may read its memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from domain import kernel
from domain.errors import StartupError
from domain.settings import Settings

_PLAIN = {
    *("HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "TZDIR", "USER"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"),
}
_PLAIN_STARTS = ("LC_", "PYTHON")
"""What any program may need to run at all; none of it is a secret."""

_OUTWARD = {
    *("ALL_PROXY", "DO_NOT_TRACK", "FORWARDED_ALLOW_IPS", "HTTPS_PROXY", "HTTP_PROXY", "MPLCONFIGDIR", "NO_PROXY"),
    *("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
}
_OUTWARD_STARTS = ("OTEL_", "PG", "PREFECT_")
"""What the service's libraries read by themselves: the ways out, OpenTelemetry, asyncpg and Prefect."""


def plain_environment() -> dict[str, str]:
    """Return what a program gets that needs none of the service's settings."""
    return {name: value for name, value in os.environ.items() if _is_plain(name.upper())}


def service_environment() -> dict[str, str]:
    """Return what a process of the service gets: its settings by name, and nothing of other programs."""
    return {name: value for name, value in os.environ.items() if _is_of_service(name.upper())}


def _is_plain(name: str) -> bool:
    return name in _PLAIN or name.startswith(_PLAIN_STARTS)


def _is_of_service(name: str) -> bool:
    own = name.lower() in Settings.model_fields
    return own or name in _OUTWARD or name.startswith(_OUTWARD_STARTS) or _is_plain(name)


async def run_program(
    *command: str | Path, environment: Mapping[str, str], output: int | IO[bytes] = asyncio.subprocess.PIPE
) -> tuple[int, str, str]:
    """Run a program, which ends with this process, and with the task that waits for it.

    Args:
        output: where what it prints goes; by default it is returned.

    Returns:
        Its exit status, what it printed, and what it wrote to standard error.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        preexec_fn=kernel.end_with_parent,
    )
    try:
        printed, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, (printed or b"").decode(errors="replace"), errors.decode(errors="replace")


def guard_memory() -> None:
    """Keep other processes of the same user from reading this one's environment and memory, and write no core dump.

    On Linux only; elsewhere nothing happens. A debugger or profiler of the same user is kept out as well; root is not.

    Raises:
        StartupError: the kernel refuses it.
    """
    try:
        kernel.close_memory()
    except OSError as error:
        reason = f"PR_SET_DUMPABLE: {error.strerror}"
        raise StartupError(f"the kernel refuses to protect this process's memory ({reason})") from error
