"""Finds in a piece of Python what might reach beyond it, before anybody runs it.

Theory of operation. Everything dangerous in Python is reached by importing it, by a builtin, or by walking from an
object along its attributes. So imports are held to a list of modules, builtins that run, read or look up by a name are
refused, and so are attributes that lead to frames, globals or to another module. Syntax that reads attributes without
naming them as such (class patterns) is refused as a whole.
"""

from __future__ import annotations

import ast
import importlib
import types
import warnings
from collections.abc import Iterator

PURE_MODULES = frozenset(
    [
        "array",
        "bisect",
        "calendar",
        "collections",
        "collections.abc",
        "copy",
        "csv",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "graphlib",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "random",
        "re",
        "statistics",
        "struct",
        "textwrap",
        "zlib",
        "zoneinfo",
    ]
)
"""What Python that a stranger wrote may import: modules that reach neither files nor processes nor the network, nor
attributes by their names, as ``operator`` and ``string`` do."""

_HANDED_ON = frozenset(
    name
    for module in PURE_MODULES
    for name, value in vars(importlib.import_module(module)).items()
    if isinstance(value, types.ModuleType) and name not in PURE_MODULES | {"abc"}
)
"""Names under which those modules hand on what they import themselves, such as `enum.bltns` or `calendar.sys`."""

_FORBIDDEN_NAMES = frozenset(
    [
        "breakpoint",
        "compile",
        "delattr",
        "eval",
        "exec",
        "getattr",
        "globals",
        "help",
        "input",
        "license",
        "locals",
        "memoryview",
        "open",
        "setattr",
        "vars",
    ]
)

_FORBIDDEN_ATTRIBUTES = frozenset(["update_wrapper", "wraps"])
"""They copy attributes by names that they are given."""

_INNER_PREFIXES = ("_", "ag_", "co_", "cr_", "f_", "gi_", "tb_")
"""How attributes begin that lead into the interpreter: to frames, code, globals."""


def find_stray(code: str) -> str | None:
    """Return what in a piece of Python might reach beyond it: a module, a name or an attribute; None if nothing.

    Args:
        code: what a stranger wrote.
    """
    if "\0" in code:
        return "a null character"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as a doubtful escape, which is no error where the code runs
            tree = ast.parse(code)
    except SyntaxError:
        return None  # running it shows the error, which may be what is asked for
    except (ValueError, RecursionError, MemoryError):
        return "code that cannot be read"
    return next((stray for node in ast.walk(tree) for stray in _strays(node)), None)


def _strays(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names if alias.name not in PURE_MODULES)
        case ast.ImportFrom(module=module, level=level, names=names):
            if level or module not in PURE_MODULES:
                yield module or "."
            yield from (alias.name for alias in names if alias.name == "*" or _leads_out(alias.name))
        case ast.Name(id=name) if name in _FORBIDDEN_NAMES or name.startswith("__"):
            yield name
        case ast.Attribute(attr=name) if _leads_out(name):
            yield name
        case ast.MatchClass(patterns=patterns, kwd_attrs=names) if patterns or names:
            yield "a class pattern"


def _leads_out(name: str) -> bool:
    return name.startswith(_INNER_PREFIXES) or name in _HANDED_ON or name in _FORBIDDEN_ATTRIBUTES
