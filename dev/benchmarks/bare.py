"""What the webhook is measured against: one durable insert behind FastAPI, and an endpoint that does nothing at all.

`python -m dev.benchmarks.bare PORT`, with DATABASE_URL in the environment. The server has the bot role's settings.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator

import asyncpg
import uvicorn
from fastapi import FastAPI, Request, Response

from dev.stack import BOT_ID
from local.servers import LOOPBACK

TABLE = "bare_updates"
INSERT_PATH = "/insert"
NOTHING_PATH = "/nothing"
POOL_SIZE = 10
"""The service's default."""

_INSERT = f"""
INSERT INTO {TABLE} (bot_id, update_id, learner_id, kind, content, message_id) VALUES ($1, $2, $3, $4, $5, $6)
"""


async def make_table(database_url: str) -> None:
    """Make a table like the one that updates are kept in: the same columns, defaults, checks and indexes."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"CREATE TABLE {TABLE} (LIKE updates INCLUDING ALL)")
    await connection.close()


def create_app(database_url: str) -> FastAPI:
    """Build the application."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            database_url, min_size=1, max_size=POOL_SIZE, server_settings={"jit": "off"}
        ) as pool:
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.post(INSERT_PATH)
    async def insert(request: Request) -> Response:
        update = json.loads(await request.body())
        if tap := update.get("callback_query"):
            row = (tap["from"]["id"], "tap", tap["data"], tap["message"]["message_id"])
        else:
            message = update["message"]
            row = (message["from"]["id"], "command", message["text"][1:], message["message_id"])
        await app.state.pool.execute(_INSERT, BOT_ID, update["update_id"], *row)
        return Response()

    @app.post(NOTHING_PATH)
    async def nothing(request: Request) -> Response:
        await request.body()
        return Response()

    return app


def main() -> None:
    """Serve until SIGTERM."""
    uvicorn.run(
        create_app(os.environ["DATABASE_URL"]),
        host=LOOPBACK,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
