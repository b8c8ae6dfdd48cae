"""The shape of the code: which part may import which, and how long a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

MOST_LINES = 500
LONG_FILES: dict[str, int] = {}
"""Files that may be longer, and how long; this list only shrinks."""

NOT_OURS = {".venv", ".git", ".data", "build", "node_modules", "__pycache__"}

ARROWS: dict[str, set[str]] = {
    "main": {
        "question_desk",
        "prefect_flows",
        "work_pool",
        "worker",
        "webhook",
        "services",
        "quiz_generator",
        "repository",
        "local",
        "observability",
        "domain",
    },
    "question_desk": {"desk", "question_bank", "repository", "local", "observability", "domain"},
    "desk": {"question_bank", "domain"},
    "refill_flow": {"prefect_flows", "llm", "observability", "domain"},
    "worker": {
        "prefect_flows",
        "llm",
        "telegram_bot",
        "quiz_upkeep",
        "quiz_grading",
        "quiz_session",
        "services",
        "repository",
        "bot",
        "observability",
        "domain",
    },
    "webhook": {"services", "quiz_generator", "repository", "bot", "observability", "domain"},
    "prefect_flows": {
        "cohort_runs",
        "services",
        "quiz_upkeep",
        "quiz_reports",
        "quiz_grading",
        "quiz_session",
        "observability",
        "domain",
    },
    "cohort_runs": {"work_pool", "quiz_session", "observability", "domain"},
    "work_pool": {"domain"},
    "services": {
        "telegram_bot",
        "quiz_grading",
        "quiz_session",
        "quiz_generator",
        "redis_store",
        "repository",
        "bot",
        "observability",
        "domain",
    },
    "conversation": {"quiz_session", "bot", "domain"},
    "telegram_bot": {
        "conversation",
        "quiz_upkeep",
        "quiz_reports",
        "quiz_grading",
        "quiz_session",
        "adaptation",
        "difficulty_adapter",
        "bot",
        "observability",
        "domain",
    },
    "quiz_upkeep": {"quiz_reports", "quiz_grading", "quiz_session", "observability", "domain"},
    "quiz_reports": {"quiz_session", "observability", "domain"},
    "quiz_grading": {"quiz_session", "difficulty_adapter", "adaptation", "observability", "domain"},
    "quiz_session": {"quiz_generator", "repository", "observability", "domain"},
    "quiz_generator": {
        "llm",
        "question_picker",
        "adaptation",
        "repository",
        "question_bank",
        "observability",
        "domain",
    },
    "llm": {"question_picker", "redis_store", "repository", "sql", "question_bank", "observability", "domain"},
    "question_picker": {"adaptation", "repository", "domain"},
    "bot": {"redis_store", "repository", "difficulty_adapter", "observability", "domain"},
    "redis_store": {"redis_cluster", "domain"},
    "redis_cluster": set(),
    "repository": {"sql", "domain"},
    "sql": {"domain"},
    "question_bank": {"domain"},
    "difficulty_adapter": {"adaptation", "domain"},
    "adaptation": {"domain"},
    "observability": {"domain"},
    "local": {"domain"},
    "deploy": set(),
    "domain": set(),
    "simulator": set(),
}
"""What each part may import of ours; a new part is entered here, and in PROJECT_STRUCTURE.md, before it is used."""

FREE = {"tests", "benchmarks", "chaos", "fuzz", "tools"}
"""What stands outside the product and may import whatever it measures, tests or makes."""


def python_files() -> Iterator[Path]:
    """Yield every Python file of the repository."""
    for path in sorted(ROOT.rglob("*.py")):
        if not NOT_OURS & set(path.relative_to(ROOT).parts):
            yield path


def part_of(path: Path) -> str:
    """Return the part that a file belongs to: its top folder, or its own name."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


PARTS = {part_of(path) for path in python_files()}


@cache
def syntax_of(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and part of each import of ours in a file, wherever in the file it stands."""
    for node in ast.walk(syntax_of(path)):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        for module in modules:
            part = module.split(".")[0]
            if part in PARTS:
                yield node.lineno, part


PRODUCT = [path for path in python_files() if part_of(path) not in FREE]


def test_every_part_has_its_arrows() -> None:
    assert set(ARROWS) == PARTS - FREE


def test_arrows_never_lead_in_a_circle() -> None:
    order = list(TopologicalSorter(ARROWS).static_order())
    assert order.index("domain") < order.index("repository") < order.index("quiz_session") < order.index("main")


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_arrows_allow(path: Path) -> None:
    part = part_of(path)
    strays = [f"line {line}: {other}" for line, other in imports_of(path) if other not in ARROWS[part] | {part}]
    assert strays == []


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_is_relative(path: Path) -> None:
    tree = ast.walk(syntax_of(path))
    assert [node.lineno for node in tree if isinstance(node, ast.ImportFrom) and node.level] == []


def test_every_arrow_is_used() -> None:
    """What nobody imports any more need not stay allowed; logs and metrics may be used wherever there is work."""
    used = {(part_of(path), other) for path in PRODUCT for _, other in imports_of(path)}
    idle = {(part, other) for part, others in ARROWS.items() for other in others - {"observability"}} - used
    assert idle == set()


def test_the_simulator_is_known_to_tests_and_benchmarks_alone() -> None:
    users = {part_of(path) for path in python_files() for _, other in imports_of(path) if other == "simulator"}
    assert users <= {"simulator", "tests", "benchmarks"}


def test_only_the_edge_reads_the_clock() -> None:
    """Pure code is given the moment; it never asks for it."""
    for name in (
        "difficulty_adapter.py",
        "bot/messages.py",
        "bot/progress.py",
        "bot/chart.py",
        "bot/keyboards.py",
        "bot/zones.py",
        "bot/callbacks.py",
        "domain/models.py",
        "domain/history.py",
    ):
        tree = ast.walk(syntax_of(ROOT / name))
        calls = {node.func.attr for node in tree if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
        assert not calls & {"now", "today", "utcnow", "monotonic", "time"}, name


def test_no_part_hides_a_module_that_others_need() -> None:
    """A flat layout must not shadow the standard library, or a library that we use."""
    import sys

    assert PARTS & (set(sys.stdlib_module_names) | {"telegram", "prefect", "redis", "openai", "fastapi"}) == set()


@pytest.mark.parametrize("path", list(python_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_within_its_length(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONG_FILES.get(str(path.relative_to(ROOT)), MOST_LINES)
