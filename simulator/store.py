"""Remembering across starts: changes are gathered and written to SQLite in batches, off the event loop."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import orjson

from simulator.model import StoredFile
from simulator.params import Json

_FLUSH_SECONDS: Final = 0.5
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL,
    bot INTEGER NOT NULL,
    id INTEGER NOT NULL,
    body BLOB NOT NULL,
    content BLOB,
    PRIMARY KEY (kind, bot, id)
) WITHOUT ROWID
"""
_PUT: Final = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM records WHERE kind = ? AND bot = ? AND id = ?"

Key = tuple[str, int, int]
"""Kind, bot id, and number within both."""


class Storable(Protocol):
    """Something that can be stored."""

    def record(self) -> Json:
        """What of it is stored."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One stored row."""

    kind: str
    bot: int
    id: int
    body: Json
    content: bytes | None


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: list[tuple[str, int, int, bytes, bytes | None]]
    gone: list[Key]


class Store:
    """A write-behind store; without a folder it forgets everything at once."""

    def __init__(self, folder: Path | None) -> None:
        """Open or create `simulator.sqlite3` in a folder.

        Raises:
            OSError: The folder cannot be made.
            sqlite3.Error: The file is no database of ours.
        """
        self._changed: dict[Key, Storable | None] = {}
        self._connection: sqlite3.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(folder / "simulator.sqlite3", check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_SCHEMA)
            self._connection.commit()

    def put(self, kind: str, bot: int, number: int, value: Storable) -> None:
        """Note that a value changed; its state at the next flush is written."""
        if self._connection is not None:
            self._changed[kind, bot, number] = value

    def delete(self, kind: str, bot: int, number: int) -> None:
        """Note that a value is gone."""
        if self._connection is not None:
            self._changed[kind, bot, number] = None

    def load(self) -> Iterator[Record]:
        """Everything stored, by kind, bot and number."""
        if self._connection is None:
            return
        rows = self._connection.execute("SELECT kind, bot, id, body, content FROM records ORDER BY kind, bot, id")
        for kind, bot, number, body, content in rows:
            yield Record(kind, bot, number, orjson.loads(body), content)

    def clear(self) -> None:
        """Forget everything stored."""
        self._changed.clear()
        if self._connection is not None:
            self._connection.execute("DELETE FROM records")
            self._connection.commit()

    def start(self) -> None:
        """Begin to flush now and then; needs a running event loop."""
        if self._connection is not None and self._task is None:
            self._task = asyncio.create_task(self._flush_forever())

    async def close(self) -> None:
        """Write what is left and close the file."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._writing is not None:
            await self._writing
        if self._connection is not None:
            self._write(self._collect())
            self._connection.close()
            self._connection = None

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            if self._changed:
                self._writing = asyncio.create_task(asyncio.to_thread(self._write, self._collect()))
                # Shielded: a batch that has begun is written to its end even when the simulator stops.
                await asyncio.shield(self._writing)

    def _collect(self) -> _Batch:
        """Serialise all changes here, where nothing else changes them meanwhile."""
        changed, self._changed = self._changed, {}
        batch = _Batch([], [])
        for key, value in changed.items():
            if value is None:
                batch.gone.append(key)
            else:
                content = value.content if isinstance(value, StoredFile) else None
                batch.rows.append((*key, orjson.dumps(value.record()), content))
        return batch

    def _write(self, batch: _Batch) -> None:
        if self._connection is not None:
            with self._connection:
                self._connection.executemany(_PUT, batch.rows)
                self._connection.executemany(_DELETE, batch.gone)
