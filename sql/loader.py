"""Reads `queries.sql` into a mapping from name to text."""

from __future__ import annotations

import re
from pathlib import Path

QUERIES_FILE = Path(__file__).with_name("queries.sql")

_NAME = re.compile(r"^-- name: (?P<name>[a-z_]+)\n(?P<about>(?:-- .*\n)+)", re.MULTILINE)
_RULER = re.compile(r"^-- =+ .*$", re.MULTILINE)


def load_queries(path: Path = QUERIES_FILE) -> dict[str, str]:
    """Return every query by its name.

    Args:
        path: a file in which each query begins with ``-- name: verb_noun`` and at least one line on what it is for.

    Raises:
        ValueError: a name stands twice, or a query has no text.
    """
    text = _RULER.sub("", path.read_text(encoding="utf-8"))
    found = list(_NAME.finditer(text))
    queries: dict[str, str] = {}
    for match, following in zip(found, [*found[1:], None], strict=True):
        query = text[match.end() : following.start() if following else len(text)].strip().removesuffix(";")
        name = match["name"]
        if name in queries or not query:
            msg = f"{path.name}: query {name!r} {'stands twice' if query else 'has no text'}"
            raise ValueError(msg)
        queries[name] = query
    return queries
