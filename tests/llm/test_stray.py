"""Python that a stranger wrote: what is refused unread, what the guard stops when it runs, and what is let through."""

from __future__ import annotations

import ast
import socket
from pathlib import Path

import pytest

from llm.stray import PURE_MODULES, find_stray
from question_bank.checks import run_guarded_python

IMPORTS = [
    "import os",
    "import os.path",
    "import sys as re",
    "import math, socket",
    "import subprocess",
    "import ctypes",
    "import importlib",
    "import builtins",
    "import operator",
    "import string",
    "import pickle",
    "import gc",
    "import inspect",
    "import types",
    "import posix",
    "import _posixsubprocess",
    "import json.tool",
    "import json.decoder",
    "import zoneinfo._common",
    "import sqlite3",
    "import urllib.request",
    "import prefect",
    "from os import path",
    "from . import os",
    "from .os import path",
    "from random import _os",
    "from calendar import sys",
    "from enum import bltns",
    "from json import codecs",
    "from json.tool import Path",
    "from functools import update_wrapper",
    "from functools import wraps as polite",
    "from math import *",
    "def f():\n    import os",
    "class A:\n    from os import system",
    "if 1:\n  try:\n    pass\n  finally:\n    import os",
]

BUILTINS = [
    "open('/etc/passwd')",
    "f = open",
    "print(ｏｐｅｎ)",  # noqa: RUF001 - Python reads these letters as the plain ones
    "eval('1')",
    "exec('1')",
    "compile('1', '', 'eval')",
    "__import__('os')",
    "__builtins__['open']",
    "__builtins__.open",
    "__loader__.load_module('os')",
    "__spec__.loader",
    "getattr(1, 'real')",
    "setattr(f, 'a', 1)",
    "delattr(f, 'a')",
    "vars()",
    "globals()['__builtins__']",
    "locals()",
    "input()",
    "breakpoint()",
    "help('modules')",
    "license()",
    "memoryview(b'')",
    "list(map(eval, ['1']))",
    "f'{open(0)}'",
    "lambda: open",
    "@exec\ndef f(): pass",
]

WALKS = [
    "().__class__.__base__.__subclasses__()",
    "[].__class__.__mro__[1]",
    "''.__class__",
    "(lambda: 0).__globals__",
    "print.__self__",
    "f.__code__",
    "f'{().__class__}'",
    "import random\nrandom._os.system('true')",
    "import random as r\nr._os",
    "import calendar\ncalendar.sys.modules",
    "import enum\nenum.bltns.exec('import os')",
    "import json\njson.codecs.open('/etc/passwd')",
    "import statistics\nstatistics.numbers",
    "import fractions\nfractions.operator.attrgetter('a')",
    "import re\nre.copyreg",
    "g = (x for x in [1])\ng.gi_frame.f_builtins",
    "async def c(): pass\nc().cr_frame",
    "async def a():\n  yield\na().ag_frame",
    "try:\n  1 / 0\nexcept Exception as e:\n  e.__traceback__.tb_frame.f_globals",
    "class A:\n  def __exit__(self, kind, error, trace):\n    trace.tb_frame",
    "import functools\nfunctools.update_wrapper(a, b, assigned=('__globals__',))",
    "import functools\nfunctools.wraps(a, assigned=('__globals__',))",
    "import random\nmatch random:\n  case object(_os=o):\n    o",
    "match 1:\n  case M(o):\n    pass",
    "super().__init__",
    "type.__getattribute__",
    "del f.__defaults__",
    "f.__code__ = g",
]

UNREADABLE = ["-" * 100_000 + "1", "a.b" + ".c" * 20_000, "print(1)\x00"]


@pytest.mark.parametrize("code", IMPORTS + BUILTINS + WALKS + UNREADABLE, ids=lambda code: code[:40])
def test_code_that_reaches_out_is_refused_unread(code: str) -> None:
    assert find_stray(code)
    assert find_stray(f"x = 1\n\n\ndef inner():\n    return 2\n\n\n{code}")


@pytest.mark.parametrize(
    "code",
    [
        "import math, random as r\nprint(math.pi, r.Random(1).random())",
        "from collections import Counter, defaultdict\nfrom collections.abc import Iterable\nprint(Counter('ab'))",
        "import collections.abc\nprint(isinstance([], collections.abc.Sequence))",
        "import json\nprint(json.loads('[1]'), json.dumps({'a': 1}))",
        "import re\nprint(re.compile('a+').findall('aab'))",
        "import datetime\nprint(datetime.datetime(2026, 1, 1).date())",
        "from datetime import datetime as D\nfrom zoneinfo import ZoneInfo as Z\nprint(D(2026, 3, 9, tzinfo=Z('UTC')))",
        "class A:\n  def __init__(self, queue):\n    self.queue, self.code, self.os = queue, 1, 2\nprint(A(1).queue)",
        "def f(*rows):\n  yield from rows\nprint(list(f(1, 2)))",
        "match {'a': 1}:\n  case {'a': int()}:\n    print('yes')",
        "try:\n  {}['a']\nexcept KeyError as error:\n  print(error.args)",
        "from decimal import Decimal\nprint(f'{Decimal(1) / 3:.3f}')",
        "import functools\n@functools.lru_cache\ndef f(n):\n  return n\nprint(f(2), f.cache_info())",
        "print('\\d')",
        "print('not closed",  # running it shows the error
    ],
)
def test_code_that_keeps_to_itself_is_let_through(code: str) -> None:
    assert find_stray(code) is None


def test_a_module_hands_on_no_other_module_unseen() -> None:
    for name in sorted(PURE_MODULES):
        module = __import__(name, fromlist=["x"])
        for attribute, value in vars(module).items():
            if isinstance(value, type(ast)) and value.__name__ not in PURE_MODULES | {"abc"}:
                assert find_stray(f"import {name}\n{name}.{attribute}"), (name, attribute)
                assert find_stray(f"from {name} import {attribute}"), (name, attribute)


# ---------------------------------------------------------------- the guard, for what was not found

STOPPED = {
    "a shell": "import os\nos.system('touch {place}')",
    "a process": "import subprocess\nsubprocess.run(['touch', '{place}'])",
    "a spawned process": "import os\nos.posix_spawn('/usr/bin/touch', ['touch', '{place}'], {{}})",
    "another program": "import os\nos.execv('/usr/bin/touch', ['touch', '{place}'])",
    "a fork": "import os\nos.fork()",
    "a foreign file": "print(open('/etc/passwd').read())",
    "a foreign file by its path": "import pathlib\nprint(pathlib.Path('/etc/passwd').read_text())",
    "a foreign file by bytes": "print(open(b'/etc/passwd').read())",
    "a foreign file from above": "import os\nprint(os.read(os.open('/proc/self/environ', 0), 10))",
    "a link to a foreign file": "import os\nos.symlink('/etc/passwd', 'here')",
    "another folder": "import os\nos.chdir('/etc')\nprint(open('passwd').read())",
    "a file to write": "open('{place}', 'w').write('1')",
    "a file to remove": "import os\nos.remove('{kept}')",
    "a file to rename": "import os\nos.rename('{kept}', 'mine')",
    "a tree to remove": "import shutil\nshutil.rmtree('{folder}')",
    "a signal": "import os\nos.kill(os.getppid(), 0)",
    "a connection": "import socket\nsocket.create_connection(('127.0.0.1', {port}))",
    "a page": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}/')",
    "the C library": "import ctypes\nctypes.CDLL(None).getpid()",
    "a way around the hook": "import os\nos.path.realpath = lambda path: '/dev/null'\nprint(open('/etc/passwd'))",
    "a module that hands on another": "import enum\nenum.bltns.open('/etc/passwd')",
}


@pytest.mark.parametrize("what", sorted(STOPPED))
def test_the_guard_stops_what_wanders_off(what: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("still here", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        code = STOPPED[what].format(place=tmp_path / "new", kept=kept, folder=tmp_path, port=port)
        assert run_guarded_python("", code) == "error: PermissionError"
        with pytest.raises(BlockingIOError):
            server.accept()
    assert list(tmp_path.iterdir()) == [kept]


def test_the_guard_lets_an_honest_snippet_work() -> None:
    code = "open('mine', 'w').write('7')\nprint(open('mine').read(), math.gcd(6, 4))"
    assert run_guarded_python("import math", code) == "7 2"
