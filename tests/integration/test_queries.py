"""The named queries: well formed, all of them used, none missing, and valid for the schema."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from storage.loader import QUERIES_FILE, load_queries
from tests.conftest import ROOT

RUNNERS = {"fetch", "fetchrow", "fetchval", "execute", "executemany"}
FILES = [ROOT / "repository.py", *sorted((ROOT / "storage").glob("*.py"))]


def names_used(path: Path) -> Iterator[str]:
    """Yield each name that a file runs a query by."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(attr=attr), args=[ast.Constant(value=str(name)), *_]) if attr in RUNNERS:
                yield name
            case ast.Subscript(value=ast.Attribute(attr="_queries"), slice=ast.Constant(value=str(name))):
                yield name


USED = {name for path in FILES for name in names_used(path)}
QUERIES = load_queries()


def write(folder: Path, text: str) -> Path:
    """Return a file of queries with this text."""
    path = folder / "queries.sql"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_query_is_used() -> None:
    assert set(QUERIES) - USED == set()


def test_every_name_used_exists() -> None:
    assert USED - set(QUERIES) == set()
    assert len(USED) > 40


def test_no_query_of_the_file_is_overlooked() -> None:
    marks = re.findall(r"^-- name:", QUERIES_FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(marks) == len(QUERIES)


async def test_every_query_is_one_statement_that_the_schema_can_run(shared_database_url: str) -> None:
    connection = await asyncpg.connect(shared_database_url)
    for name, query in QUERIES.items():
        parameters = (await connection.prepare(query)).get_parameters()
        numbers = {int(number) for number in re.findall(r"\$(\d+)", query)}
        assert numbers == set(range(1, len(parameters) + 1)), name
    await connection.close()


def test_a_query_ends_where_the_next_one_begins(tmp_path: Path) -> None:
    first = "-- name: get_one\n-- The first.\nSELECT 1;\n\n-- ==== more\n\n"
    second = "-- name: get_two\n-- The second,\n-- in two lines.\nSELECT 2;\n"
    assert load_queries(write(tmp_path, first + second)) == {"get_one": "SELECT 1", "get_two": "SELECT 2"}


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    text = "-- name: get_one\n-- One.\nSELECT 1;\n\n-- name: get_one\n-- Two.\nSELECT 2;\n"
    with pytest.raises(ValueError, match=r"queries\.sql: query 'get_one' stands twice"):
        load_queries(write(tmp_path, text))


def test_a_query_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="query 'get_one' has no text"):
        load_queries(write(tmp_path, "-- name: get_one\n-- One.\n\n-- name: get_two\n-- Two.\nSELECT 2;\n"))


@pytest.mark.parametrize(
    "text",
    [
        "-- name: get_one\n-- One.\nSELECT 1;\n\n-- name: get_two\nSELECT 2;\n",
        "-- name: get_one\n-- One.\n-- name: get_two\n-- Two.\nSELECT 2;\n",
        "-- name: get_one\n-- One.\nSELECT 1;\n\n-- name: GetTwo\n-- Two.\nSELECT 2;\n",
    ],
    ids=["no description", "swallowed by a description", "no verb_noun"],
)
def test_a_query_that_is_not_described_as_asked_is_refused(text: str, tmp_path: Path) -> None:
    """Otherwise it would silently become a part of the query before it."""
    with pytest.raises(ValueError, match=r"queries\.sql"):
        load_queries(write(tmp_path, text))
