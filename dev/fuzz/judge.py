"""Judges a run: the answers one by one, then what is stored, against what may be and what must be."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import asyncpg

from dev.fuzz.inputs import NO_ANSWER, REFUSED, TAKEN, TOO_LARGE, WRONG_SECRET, Input
from dev.fuzz.oracle import Row, agrees, allowed_rows, may_be_kept
from dev.fuzz.updates import MARK
from dev.fuzz.wire import Heard, Talk

SHOWN = 200
"""Bytes of an input that a finding shows."""

MAX_FINDINGS = 50
BROKEN_FROM = 500

_CALLBACK_ID = re.compile(rb'"callback_query_id":"(?:[^"\\]|\\.)*"')
"""What an answer to a tap has to repeat: the tap's own id."""

_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"


@dataclass(slots=True)
class Judge:
    """Remembers what may be stored, and collects what is wrong."""

    findings: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How many inputs of each kind were answered with which status."""
    stored: Counter[str] = field(default_factory=Counter)
    """How many inputs of each kind left a row."""
    _allowed: dict[int, list[tuple[Row, str]]] = field(default_factory=dict)
    _must: dict[int, tuple[Row, Input]] = field(default_factory=dict)

    def hear(self, given: Input, status: int, answer: bytes) -> None:
        """Take an answer."""
        self.answers[given.kind, status] += 1
        if status not in given.statuses:
            self.find(f"{describe(given)} was answered {status} {answer[:SHOWN]!r}")
        if MARK.encode() in _CALLBACK_ID.sub(b"", answer):
            self.find(f"{describe(given)}: the answer repeats what somebody wrote: {answer[:SHOWN]!r}")
        if status == TAKEN:
            for update_id in self.allow(given.kind, given.body):
                if given.must is not None:
                    self._must[update_id] = (given.must, given)

    def hear_talk(self, number: int, said: Talk, heard: Heard) -> None:
        """Take what came back over a socket."""
        kind = f"socket: {said.kind}"
        about = f"connection {number} ({said.kind}) {said.pieces[0][:SHOWN]!r}"
        for status in heard.statuses:
            if status >= BROKEN_FROM or (said.statuses is not None and status not in said.statuses):
                self.find(f"{about} was answered {status}")
        self.answers[kind, heard.statuses[-1]] += 1
        if said.must_end and not heard.hung_up:
            self.find(f"{about} is still listened to")

    def allow(self, kind: str, body: bytes) -> list[int]:
        """Remember what may be stored of a body that was taken, and return its update id if it has one."""
        rows = allowed_rows(body)
        for update_id, row in rows:
            self._allowed.setdefault(update_id, []).append((row, kind))
        return [update_id for update_id, _ in rows]

    def find(self, line: str) -> None:
        """Note something that is wrong."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(line)

    async def look_at_stored(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Compare what is stored with what may be and what must be."""
        rows = await connection.fetch("SELECT update_id, learner_id, kind, content, message_id FROM updates")
        for stored in rows:
            self._look_at(stored)
        missing = set(self._must) - {stored["update_id"] for stored in rows}
        for update_id in sorted(missing):
            self.find(f"{describe(self._must[update_id][1])} was answered {TAKEN} and is not stored")
        await self._look_for_marks(connection)

    def _look_at(self, stored: asyncpg.Record) -> None:
        row = Row(stored["learner_id"], stored["kind"], stored["content"], stored["message_id"])
        allowed = self._allowed.get(stored["update_id"], [])
        kinds = [kind for one, kind in allowed if agrees(row, one)]
        self.stored.update(kinds[:1])
        if not kinds:
            self.find(f"stored as {stored['update_id']}: {row}, where {[one for one, _ in allowed]} may be")
        elif len(allowed) == 1 and (must := self._must.get(stored["update_id"])) and must[0] != row:
            self.find(f"{describe(must[1])} is stored as {row} instead of {must[0]}")
        if not may_be_kept(row.content):
            self.find(f"stored as {stored['update_id']}: {row.content!r}, which is no command and no button's data")

    async def look_at_handled(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Look whether everything that was stored came to a good end."""
        for row in await connection.fetch("SELECT * FROM updates WHERE state <> 'done' OR error IS NOT NULL"):
            self.find(
                f"update {row['update_id']} ({row['kind']} {row['content']!r}) ended {row['state']} after "
                f"{row['attempts']} attempts: {row['error']}"
            )
        await self._look_for_marks(connection)

    async def _look_for_marks(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        for table in [row["table_name"] for row in await connection.fetch(_TABLES)]:
            query = f'SELECT count(*) FROM "{table}" AS one WHERE one::text LIKE $1'
            if found := await connection.fetchval(query, f"%{MARK}%"):
                self.find(f"{found} rows of {table} keep somebody's name or words")

    def row(self, kind: str | None) -> list[int]:
        """Return how many inputs came, were stored, dropped, refused, not answered, and broke something.

        Args:
            kind: which; None for all.
        """
        if kind is None:
            return [sum(column) for column in zip(*map(self.row, {one for one, _ in self.answers}), strict=True)]
        counts = Counter({status: count for (one, status), count in self.answers.items() if one == kind})
        stored = self.stored[kind]
        named = (TAKEN, REFUSED, WRONG_SECRET, TOO_LARGE, NO_ANSWER)
        broken = sum(count for status, count in counts.items() if status >= BROKEN_FROM)
        rest = counts.total() - broken - sum(counts[status] for status in named)
        refused = [counts[status] for status in (REFUSED, WRONG_SECRET, TOO_LARGE)]
        dropped = max(0, counts[TAKEN] - stored)  # a row may be there though nobody heard the answer
        return [counts.total(), stored, dropped, *refused, rest, counts[NO_ANSWER], broken]


def describe(given: Input) -> str:
    """Return a line by which an input is known again."""
    body = given.body if len(given.body) <= SHOWN else given.body[:SHOWN] + b"..."
    return f"input {given.number} ({given.kind}) {body!r}"
