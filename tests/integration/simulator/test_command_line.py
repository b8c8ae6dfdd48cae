"""`python -m simulator` as a process."""

import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import WAIT_SECONDS

TOKEN = f"4001:{'y' * 35}"
LONG_POLL = 50
"""Seconds, the most that Telegram allows."""


@asynccontextmanager
async def running(*arguments: str, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", "--port", "0", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_SECONDS):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+[^/\s]", line)
        assert found, line
        yield process, found[0]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(WAIT_SECONDS):
        _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_at_once_and_nothing_is_lost(tmp_path: Path, sign: signal.Signals) -> None:
    async with (
        running("--data", str(tmp_path)) as (process, url),
        httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as http,
    ):
        await http.get(f"/bot{TOKEN}/getMe")
        await http.post("/api/learners/1001/messages", json={"text": "remember"})
        # A page and a long poll are open meanwhile: they must not hold it up.
        async with http.stream("GET", "/api/events") as stream:
            await anext(stream.aiter_lines())
            poll = asyncio.create_task(
                http.get(f"/bot{TOKEN}/getUpdates", params={"timeout": LONG_POLL, "offset": 2**31})
            )
            await asyncio.sleep(0.1)
            began = time.monotonic()
            process.send_signal(sign)
            status, errors = await ended(process)
            assert time.monotonic() - began < LONG_POLL / 2
        await asyncio.gather(poll, return_exceptions=True)
    assert (status, errors) == (0, "")
    async with (
        running("--data", str(tmp_path)) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as http,
    ):
        shown = (await http.get("/api/learners/1001/messages")).json()
        assert [one["text"] for one in shown["messages"]] == ["remember"]


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "simulator", "--port", str(port), "--data", str(tmp_path),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        status, errors = await ended(process)
    assert (status, errors) == (1, f"simulator: cannot listen on 127.0.0.1:{port}: Address already in use\n")


async def test_the_prefect_address_reaches_the_page() -> None:
    async with (
        running(PREFECT_UI_URL="http://127.0.0.1:4200") as (_, url),
        httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as http,
    ):
        assert (await http.get("/api/state")).json()["prefect_ui_url"] == "http://127.0.0.1:4200"
