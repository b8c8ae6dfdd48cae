"""A language model that accepts every connection and never answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from local import servers


@dataclass(slots=True)
class HangingModel:
    """Where it is, and how often somebody came."""

    url: str
    connections: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings that lead the service to it."""
        return {"OPENAI_API_KEY": "sk-hanging", "OPENAI_BASE_URL": self.url}


@asynccontextmanager
async def hanging_model() -> AsyncIterator[HangingModel]:
    """Yield such a model, and cut every connection at the end."""
    model = HangingModel("")
    open_writers: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        model.connections += 1
        open_writers.add(writer)
        await reader.read()  # until whoever asks gives up
        open_writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(accept, servers.LOOPBACK, 0)
    model.url = f"http://{servers.LOOPBACK}:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield model
    finally:
        server.close()
        for writer in open_writers:
            writer.close()
