"""The shape of the code: which part may import which, and how long a file may be."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from dev.tools.structure import files_of_product, part_of
from tests.conftest import ROOT

MAX_LINES = 500
LONG_FILES: dict[str, int] = {}
"""Files that may be longer, and how long; this list only shrinks."""

NOT_OURS = {"build", "node_modules", "__pycache__"}

ALLOWED_IMPORTS = {
    part: set(others.split())
    for part, others in {
        "main": "roles flows wiring question_sources repository observability local domain",
        "roles": (
            "prefect_flows flows wiring telegram_bot bot quizzes question_sources repository "
            "question_bank difficulty_adapter storage observability local adaptation domain"
        ),
        "prefect_flows": "flows quizzes observability domain",
        "flows": "wiring quizzes question_sources observability domain",
        "wiring": (
            "telegram_bot bot quizzes quiz_generator repository difficulty_adapter storage observability domain"
        ),
        "telegram_bot": "bot quizzes difficulty_adapter observability adaptation domain",
        "bot": "quizzes difficulty_adapter storage observability domain",
        "quizzes": "quiz_generator repository difficulty_adapter observability adaptation domain",
        "quiz_generator": "question_sources repository observability domain",
        "question_sources": "repository question_bank storage observability adaptation domain",
        "repository": "storage domain",
        "question_bank": "sandbox domain",
        "simulator": "local",
        "difficulty_adapter": "adaptation domain",
        "storage": "observability domain",
        "sandbox": "domain",
        "observability": "domain",
        "local": "domain",
        "adaptation": "domain",
        "domain": "",
    }.items()
}
"""What each top-level module and package may import of ours, top down; a new import is entered here first."""

FREE = {"tests", "dev"}
"""What does not ship, and may import whatever it measures, tests or makes."""


@cache
def python_files() -> list[Path]:
    """Return every Python file of the repository."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.startswith(".")]
        found += [Path(folder, name) for name in files if name.endswith(".py")]
    return sorted(found)


PARTS = {part_of(path) for path in python_files()}


@cache
def syntax_of(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules_of(path: Path) -> list[tuple[int, str]]:
    """Return line and top-level module of each import in a file, wherever in the file it stands."""
    found = []
    for node in statements_in(syntax_of(path)):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        found += [(node.lineno, module.partition(".")[0]) for module in modules]
    return found


def statements_in(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield every statement below a node; `ast.walk` looks into expressions as well, and takes five times as long."""
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for child in getattr(node, field, ()):
            if isinstance(child, ast.stmt):
                yield child
            yield from statements_in(child)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line, and top-level module or package, of each import of ours in a file."""
    return ((line, module) for line, module in modules_of(path) if module in PARTS)


PRODUCT = list(files_of_product())


def test_every_part_ships_and_has_its_imports_listed() -> None:
    assert set(ALLOWED_IMPORTS) == {part_of(path) for path in PRODUCT} == PARTS - FREE - {"deploy"}


def test_imports_have_no_cycle() -> None:
    order = list(TopologicalSorter(ALLOWED_IMPORTS).static_order())
    assert order.index("domain") < order.index("repository") < order.index("quizzes") < order.index("main")


def test_a_file_imports_only_what_is_allowed() -> None:
    strays = [
        f"{path.relative_to(ROOT)}:{line}: {other}"
        for path in PRODUCT
        for line, other in imports_of(path)
        if other not in ALLOWED_IMPORTS[part_of(path)] | {part_of(path)}
    ]
    assert strays == []


def test_no_import_is_relative() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PRODUCT
        for node in statements_in(syntax_of(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_every_allowed_import_is_used() -> None:
    """What nobody imports any more need not stay allowed; logs and metrics may be used wherever there is work."""
    used = {(part_of(path), other) for path in PRODUCT for _, other in imports_of(path)}
    idle = {(part, other) for part, others in ALLOWED_IMPORTS.items() for other in others - {"observability"}} - used
    assert idle == set()


PROVIDERS = packages_distributions()


def normalized(name: str) -> str:
    """Return a distribution's name as indexes compare them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_by(*files: str) -> set[str]:
    """Return the distributions that files of requirements name."""
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return {normalized(found[0]) for line in lines if (found := re.match(r"\w[\w.-]*", line))}


def providers(module: str) -> set[str]:
    """Return the distributions that a module comes from; that of its own name if it is not installed here."""
    return {normalized(name) for name in PROVIDERS.get(module, [module])}


def modules_without_requirement(paths: Iterable[Path], *files: str) -> set[str]:
    """Return the foreign modules that are imported and that no requirement names, though another may depend on them."""
    named = required_by(*files)
    foreign = {module for path in paths for _, module in modules_of(path)} - PARTS - sys.stdlib_module_names
    return {module for module in foreign if named.isdisjoint(providers(module))}


def test_what_the_product_imports_is_named_in_its_requirements() -> None:
    assert modules_without_requirement(PRODUCT, "requirements.in", "requirements-local.in") == set()


def test_what_else_is_imported_is_named_in_the_requirements_of_development() -> None:
    rivals = [path for path in python_files() if path.is_relative_to(ROOT / "dev" / "benchmarks" / "adaptivity")]
    similar = ROOT / "dev" / "tools" / "similar.py"
    others = set(python_files()) - set(PRODUCT) - {*rivals, similar}
    files = ("requirements.in", "requirements-local.in", "requirements-dev.in")
    assert modules_without_requirement(others, *files) == set()
    assert modules_without_requirement(rivals, *files, "requirements-bench.in") == set()
    assert modules_without_requirement([similar], *files, "requirements-similar.in") == set()


KEPT_ALIVE = {
    "account.gateway.watch": "bot/client.py",
    "intake.notifier.run": "roles/intake.py",
    "receive_updates": "roles/polling.py",
    "run.keep": "flows/standing_run.py",
    "send_heartbeats": "wiring.py",
}
"""Tasks that `run_forever` or `keep_trying` keeps alive, and where."""

OTHER_TASKS = {
    "work": "a whole role: its error is the process's",
    "worker.run": "likewise",
    "coroutine": "each of the worker's own, which tests/unit/test_background.py gives every error",
    "handling": "some updates, which are claimed again if it fails",
    "self._execute": "one flow run; `_note_end` tells of its error, and another is begun",
    "executing": "one task run; its error is logged, or reaches who awaits it",
    "_perform": "one batch, which the worker awaits",
    "publish_deliveries": "it suppresses every error",
    "self._generate_or_follow": "one question; `_log_end` tells of its error",
    "rename_run": "the flow awaits it",
    "self._watch": "the flow awaits it",
    "self._greet": "one group; it logs every error",
    "self._ask_for_broadcast": "`_end_asking` tells the broadcast's senders of its error",
}
"""Tasks that nothing keeps alive, and why they need not be."""

KEEPERS = {"run_forever", "keep_trying"}


def calls_in(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call below a node with what is called, such as ``asyncio.sleep``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def groups_in(tree: ast.AST) -> set[str]:
    """Return the names of the task groups below a node: they end with an error of any of their tasks."""
    return {
        ast.unparse(item.optional_vars)
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if item.optional_vars and ast.unparse(item.context_expr) == "asyncio.TaskGroup()"
    }


def tasks_in(tree: ast.AST) -> Iterator[str]:
    """Yield what is begun as a task of its own, outside of task groups."""
    groups = groups_in(tree)
    for name, call in calls_in(tree):
        owner, _, method = name.rpartition(".")
        if method in {"create_task", "ensure_future"} and owner not in groups:
            begun = call.args[0]
            yield ast.unparse(begun.func if isinstance(begun, ast.Call) else begun)


def test_no_error_ends_a_background_task_unnoticed() -> None:
    """Nobody would notice; so `run_forever` keeps each alive, or there is a reason why it need not."""
    paths = [path for path in PRODUCT if part_of(path) != "simulator"]
    begun = {task for path in paths for task in tasks_in(syntax_of(path))}
    assert begun - KEEPERS == set(KEPT_ALIVE) | set(OTHER_TASKS)


@pytest.mark.parametrize("task", KEPT_ALIVE)
def test_a_task_that_is_said_to_be_kept_alive_is_so(task: str) -> None:
    name = task.rpartition(".")[2]
    tree = syntax_of(ROOT / KEPT_ALIVE[task])
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and node.name == name]
    assert functions
    assert all(KEEPERS & {called for called, _ in calls_in(function)} for function in functions)


STARTS_A_PROCESS = re.compile(
    r"(?:asyncio\.create_|loop\.)?subprocess(?:_exec|_shell|\.\w+)$"
    r"|os\.(?:system|popen|spawn\w*|posix_spawnp?|exec\w*)$|multiprocessing\.\w+$|(?:\w+\.)?ProcessPoolExecutor$"
)


def test_a_child_process_is_given_its_environment_and_never_takes_ours() -> None:
    """Ours has the tokens; tests/unit/test_processes.py says what may be handed on."""
    started = [
        (f"{path.relative_to(ROOT)}:{call.lineno}: {name}", {keyword.arg: keyword.value for keyword in call.keywords})
        for path in PRODUCT
        for name, call in calls_in(syntax_of(path))
        if STARTS_A_PROCESS.match(name)
    ]
    assert len(started) >= 5
    heirs = {"None", "os.environ", "{**os.environ}", "os.environ.copy()", "dict(os.environ)"}
    assert [where for where, given in started if "env" not in given or ast.unparse(given["env"]) in heirs] == []


def test_the_simulator_is_known_to_tests_and_benchmarks_alone() -> None:
    users = {part_of(path) for path in python_files() for _, other in imports_of(path) if other == "simulator"}
    assert users <= {"simulator", "tests", "dev"}


def test_only_the_edge_reads_the_clock() -> None:
    """Pure code is given the moment; it never asks for it."""
    for name in (
        "difficulty_adapter.py",
        "bot/texts.py",
        "bot/progress.py",
        "bot/charts/picture.py",
        "bot/keyboards.py",
        "bot/zones.py",
        "domain/callbacks.py",
        "domain/models.py",
        "domain/history.py",
    ):
        tree = ast.walk(syntax_of(ROOT / name))
        calls = {node.func.attr for node in tree if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
        assert not calls & {"now", "today", "utcnow", "monotonic", "time"}, name


def test_no_part_hides_a_module_that_others_need() -> None:
    """A flat layout must not shadow the standard library, or a library that we use."""
    assert PARTS & (set(sys.stdlib_module_names) | {"telegram", "prefect", "redis", "openai", "fastapi"}) == set()


OLD_NAMES = re.compile(
    r"_?(most|MOST|LONGEST|SHORTEST|FEWEST|LEAST|LARGEST|BIGGEST|DEEPEST)_|_away$|AWAY|twin"
    r"|Fate$|Door$|Bell$|Wish$|LlmGate$|Lesson$|Proposal$|Ground$|Witness$|Workbench$|Askable$|FloodGate$|Lane$"
    r"|Wiring$|Services$|(pass_over_loaded|keep_beating|forget_the_dead|point_home|worn_levels|is_stray|require_open)$"
    r"|Prover$|provers?(_of)?$|_?proves?$|(mark_told|told_late|UNTOLD_AFTER|introduce|hide|tidy|room_of|EngineAtOnce|find_untold_grades|(REST|LOOK)_SECONDS)$"
)
"""Private words that standard terms have replaced; docs/glossary.md has those in use."""

SETTINGS_OF_OLD = {"most_exposure", "MOST_EXPOSURE"}
"""A setting's name does not change."""


def names_in(tree: ast.AST) -> Iterator[str]:
    """Yield every name that is defined below a node, arguments included."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name


def test_no_definition_has_an_old_name() -> None:
    old = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files()
        if path.is_relative_to(ROOT / "dev") or part_of(path) not in FREE
        for name in names_in(syntax_of(path))
        if OLD_NAMES.match(name) and name not in SETTINGS_OF_OLD
    ]
    assert old == []


def test_a_file_stays_within_its_length() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONG_FILES.get(name, MAX_LINES)} == {}
