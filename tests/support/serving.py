"""Serves an ASGI application on the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    """Leaves signals to pytest."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


@asynccontextmanager
async def serving(app: Any, port: int) -> AsyncIterator[str]:
    """Serve an application and yield its address."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=2,
        timeout_keep_alive=3600,  # or it may end a connection just as a client takes it up again
    )
    async with serving_as(config) as url:
        yield url


@asynccontextmanager
async def serving_as(config: uvicorn.Config) -> AsyncIterator[str]:
    """Serve as a configuration says and yield the address."""
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
            msg = "the application did not start"
            raise RuntimeError(msg)
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{config.port}"
    finally:
        server.should_exit = True
        await task
