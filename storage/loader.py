"""Reads `queries.sql` into a mapping from name to text."""

from __future__ import annotations

import re
from pathlib import Path

QUERIES_FILE = Path(__file__).with_name("queries.sql")

_NAME = re.compile(r"-- name: ([a-z_]+)")


def load_queries(path: Path = QUERIES_FILE) -> dict[str, str]:
    """Return every query by its name.

    Args:
        path: a file in which each query begins with ``-- name: verb_noun`` and at least one line on what it is for.

    Raises:
        ValueError: a name is malformed or stands twice, or a query has no description or no text.
    """
    queries: dict[str, str] = {}
    for block in _blocks(path.read_text(encoding="utf-8")):
        name = _NAME.fullmatch(block[0])
        body = [line for line in block[1:] if not line.startswith("-- ==")]
        described = bool(body) and body[0].startswith("-- ")
        text = "\n".join(line for line in body if not line.startswith("--")).strip().removesuffix(";")
        if name is None or not described:
            msg = f"{path.name}: {block[0]!r} needs a verb_noun for a name and a line on what it is for"
            raise ValueError(msg)
        if name[1] in queries or not text:
            msg = f"{path.name}: query {name[1]!r} {'stands twice' if text else 'has no text'}"
            raise ValueError(msg)
        queries[name[1]] = text
    return queries


def _blocks(text: str) -> list[list[str]]:
    """Cut a file into its queries, each from its name on."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("-- name:"):
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
    return blocks
