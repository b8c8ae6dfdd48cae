"""Tells an error of the code from something that CPython has and Monty 1.4 lacks.

Only messages are read, and the names that this Python has: its own parser would not be safe from hostile text.
"""

from __future__ import annotations

import builtins
import re
import sys
import types

from sandbox.results import Unsupported

_IGNORED_METHOD = re.compile(
    r"\b__(?:"
    r"aenter|aexit|aiter|anext|await|bool|bytes|class_getitem|complex|del|delattr|delete"
    r"|delitem|dir|format|fspath|ge|get|getattr|getattribute|getnewargs|getstate|gt|iadd|iand"
    r"|ifloordiv|ilshift|imatmul|imod|imul|init_subclass|instancecheck|ior|ipow|irshift|isub"
    r"|itruediv|ixor|le|len|length_hint|lt|mro_entries|ne|new|prepare|reduce|reduce_ex"
    r"|reversed|set|set_name|setattr|setstate|sizeof|slots|subclasscheck|subclasshook"
    r")__\b"
)
"""Special methods of classes that Monty never calls: with some, such as ``__bool__``, it prints something else."""

_REFUSAL = re.compile(
    r"not yet support|not supported (?:in this environment|by Monty)|error in monty|Wildcard imports"
    r"|too deeply nested|too large: jump"
)
_NO_NAME = re.compile(r"name '(\w+)' is not defined")
_NO_MODULE = re.compile(r"No module named '(\w+)")
_NO_MEMBER = re.compile(r"module '(\w+)[\w.]*' has no attribute|cannot import name '\w+' from '(\w+)")
_NO_ATTRIBUTE = re.compile(r"(?:type object )?'([\w.]+)' (?:object )?has no attribute '(\w+)'")

_OF_EVERY_CLASS = {"__dict__", "__module__", "__name__", "__qualname__", "__bases__", "__mro__"}

_TYPES = {kind.__name__: kind for kind in [*vars(builtins).values(), *vars(types).values()] if isinstance(kind, type)}


def find_ignored_method(code: str) -> Unsupported | None:
    """Refuse code that names a special method which Monty would pass over without a word."""
    found = _IGNORED_METHOD.search(code)
    return Unsupported(f"special method {found[0]}") if found else None


def find_reason(error: BaseException, message: str, code: str) -> Unsupported | None:
    """Say what Monty lacks if that is why it raised an error, as far as can be told.

    An error whose class the code names itself is taken for the code's own.
    """
    missing: str | None = None
    match error:
        case _ if _REFUSAL.search(message):
            missing = message
        case NotImplementedError() | PermissionError() | re.error() if type(error).__name__ not in code:
            missing = message
        case ImportError():
            missing = _module(_NO_MODULE, message) or _module(_NO_MEMBER, message)
        case AttributeError():
            missing = _module(_NO_MEMBER, message) or _attribute(message, code)
        case NameError():
            found = _NO_NAME.search(message)
            missing = f"builtin {found[1]!r}" if found and hasattr(builtins, found[1]) else None
    return Unsupported(missing) if missing else None


def _module(pattern: re.Pattern[str], message: str) -> str | None:
    found = pattern.search(message)
    name = next(filter(None, found.groups()), "") if found else ""
    return message if name in sys.stdlib_module_names else None


def _attribute(message: str, code: str) -> str | None:
    """Return the message unless the type is the code's own, or one whose attributes this Python knows."""
    found = _NO_ATTRIBUTE.search(message)
    if found is None:
        return message
    owner, name = found[1].rpartition(".")[2], found[2]
    kind = object if re.search(rf"\bclass\s+{owner}\b", code) else _TYPES.get(owner)
    is_known = kind is not None and not hasattr(kind, name) and name not in _OF_EVERY_CLASS
    return None if is_known else message
