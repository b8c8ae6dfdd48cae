"""Python in Monty: what it prints, and how an error of the code is told from something that Monty lacks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sandbox.python import run_python
from sandbox.results import Failed, Limits, OutOfMemory, Printed, TimedOut, Unsupported


def cpython(code: str) -> str | None:
    """Return what CPython prints, or None if it ends with an error."""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout


def test_it_returns_what_is_printed() -> None:
    assert run_python("for i in range(3):\n    print(i, end=';')\nprint('ä', 1.5)") == Printed("0;1;2;ä 1.5\n")


def test_standard_error_and_a_last_value_are_no_output() -> None:
    assert run_python("import sys\nprint('no', file=sys.stderr)\n1 + 1") == Printed("")


@pytest.mark.parametrize("code", ["", "# nothing", "def f():\n    return 1\n", "if True:\n    pass # end"])
def test_code_may_end_in_any_way(code: str) -> None:
    assert run_python(code) == Printed("")


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("raise ValueError('first\\nsecond')", "ValueError", "first"),
        ("{}['x']", "KeyError", "'x'"),
        ("assert 1 == 2", "AssertionError", ""),
        ("assert 1 == 2, 'why'", "AssertionError", "why"),
        ("import json\njson.loads('x')", "json.decoder.JSONDecodeError", "Expecting value: line 1 column 1 (char 0)"),
        ("raise NotImplementedError('mine')", "NotImplementedError", "mine"),
        ("raise PermissionError('mine')", "PermissionError", "mine"),
        ("raise MemoryError('mine')", "MemoryError", "mine"),
        ("raise TimeoutError('mine')", "TimeoutError", "mine"),
        ("raise SystemExit('mine')", "SystemExit", "mine"),
        ("raise RuntimeError('mine')", "RuntimeError", "mine"),
        ("print(undefined)", "NameError", "name 'undefined' is not defined"),
        ("import not_installed", "ModuleNotFoundError", "No module named 'not_installed'"),
        ("(1).nothing", "AttributeError", "'int' object has no attribute 'nothing'"),
        ("class A: pass\nA().x", "AttributeError", "'A' object has no attribute 'x'"),
        ("def f(n): return f(n)\nf(1)", "RecursionError", "maximum recursion depth exceeded"),
    ],
)
def test_an_error_of_the_code_is_a_failure(code: str, error: str, message: str) -> None:
    assert run_python(code) == Failed(error, message)
    assert cpython(code) is None


@pytest.mark.parametrize("code", ["def f(:", "1 +", "x = = 1", "eval('1 +')", "if True:", "'abc", "f(a=1, 2)"])
def test_what_nobody_can_parse_is_a_failure(code: str) -> None:
    result = run_python(code)
    assert isinstance(result, Failed)
    assert result.error == "SyntaxError"
    assert cpython(code) is None


LACKING = {
    "module": "import operator\nprint(operator.add(1, 2))",
    "module_of_package": "import urllib.parse\nprint(urllib.parse.quote('a b'))",
    "name_of_module": "from datetime import UTC\nprint(UTC)",
    "attribute_of_module": "import sys\nsys.exit()",
    "attribute_of_type": "print((10).bit_length())",
    "attribute_of_object": "print(().__class__)",
    "attribute_of_function": "def f(): pass\nprint(f.__globals__ is None)",
    "builtin": "print(bytearray(b'x'))",
    "del": "x = [1]\ndel x[0]\nprint(x)",
    "yield": "def g():\n    yield 1\nprint(list(g()))",
    "inheritance": "class A: pass\nclass B(A): pass\nprint(B)",
    "exception_class": "class E(Exception): pass\ntry:\n    raise E\nexcept E:\n    print('e')",
    "async_with": "async def f():\n    async with x: pass\nprint(1)",
    "star_except": "try:\n    print(1)\nexcept* ValueError: pass",
    "exit_with_number": "raise SystemExit(0)",
    "file": "import os\nprint(len(os.listdir('/')) > 0)",
    "environment": "import os\nprint(os.environ is None)",
    "deep": "x = " + "-" * 900 + "1\nprint(x)",
    "regex": "import re\nprint(bool(re.match('(a{1000}){1000}', '')))",
}


@pytest.mark.parametrize("code", LACKING.values(), ids=LACKING)
def test_what_cpython_runs_and_monty_does_not_is_unsupported(code: str) -> None:
    result = run_python(code)
    assert isinstance(result, Unsupported)
    assert result.reason
    assert "\n" not in result.reason
    assert cpython(code) is not None


def test_an_exit_without_a_reason_is_an_end() -> None:
    assert run_python("print(1)\nraise SystemExit\nprint(2)") == Printed("1\n")


BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and", "or", "xor"]
SIGNS = ["+", "-", "*", "/", "//", "%", "**", "@", "<<", ">>", "&", "|", "^"]
OPERATORS = {
    **{name: ("1", f"print(A() {sign} 1)") for name, sign in zip(BINARY, SIGNS, strict=True)},
    **{f"r{name}": ("1", f"print(1 {sign} A())") for name, sign in zip(BINARY, SIGNS, strict=True)},
    **{f"i{name}": ("9", f"a = A()\na {sign}= 1\nprint(a)") for name, sign in zip(BINARY, SIGNS, strict=True)},
}
SPECIAL = OPERATORS | {
    "len": ("3", "print(len(A()), bool(A()))"),
    "bool": ("False", "print(bool(A()))\nif A(): print('true')"),
    "lt": ("True", "print(A() < A())"),
    "le": ("True", "print(A() <= A())"),
    "gt": ("True", "print(A() > A())"),
    "ge": ("True", "print(A() >= A())"),
    "eq": ("True", "print(A() == A(), A() != A())"),
    "ne": ("False", "print(A() != A())"),
    "hash": ("7", "print(hash(A()))"),
    "str": ("'s'", "print(A(), f'{A()}', '%s' % A())"),
    "repr": ("'r'", "print(A(), [A()], f'{A()!r}')"),
    "format": ("'f'", "print(f'{A()}', f'{A():x}')"),
    "getattr": ("5", "print(A().x)"),
    "getattribute": ("5", "print(A().x)"),
    "setattr": ("print('set')", "a = A()\na.x = 1"),
    "del": ("print('gone')", "a = A()\na = None\nprint('end')"),
    "new": ("5", "print(A())"),
    "call": ("1", "print(A()())"),
    "iter": ("iter([1, 2])", "print(list(A()), 1 in A())\na, b = A()"),
    "next": ("1", "print(next(A()))"),
    "getitem": ("2", "print(A()[0], A()[1:2])"),
    "setitem": ("print('set')", "a = A()\na[1] = 2"),
    "delitem": ("print('del')", "a = A()\ndel a[1]"),
    "contains": ("True", "print(1 in A(), 1 not in A())"),
    "reversed": ("iter([1])", "print(list(reversed(A())))"),
    "index": ("1", "print([1, 2, 3][A()], hex(A()))"),
    "int": ("4", "print(int(A()))"),
    "float": ("4.5", "print(float(A()))"),
    "complex": ("1j", "print(complex(A()))"),
    "bytes": ("b'x'", "print(bytes(A()))"),
    "round": ("4", "print(round(A()))"),
    "abs": ("4", "print(abs(A()))"),
    "neg": ("4", "print(-A())"),
    "pos": ("4", "print(+A())"),
    "invert": ("4", "print(~A())"),
    "divmod": ("4", "print(divmod(A(), 1))"),
    "class_getitem": ("3", "print(A[1])"),
    "set_name": ("print('named')", "class B:\n    x = A()"),
    "get": ("9", "class B:\n    x = A()\nprint(B().x)"),
    "set": ("print('set')", "class B:\n    x = A()\nB().x = 1"),
    "dir": ("['z']", "print(dir(A()))"),
    "instancecheck": ("True", "print(isinstance(1, A()))"),
    "fspath": ("'x'", "import os\nprint(os.fspath(A()))"),
    "await": ("iter([])", "import asyncio\nasync def f(): return await A()\nprint(asyncio.run(f()))"),
    "copy": ("3", "import copy\nprint(copy.copy(A()))"),
    "reduce": ("'gone'", "import copy\nprint(copy.copy(A()))"),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_a_special_method_does_what_it_does_in_cpython_or_is_refused(name: str) -> None:
    """Monty passes over some without a word, which would prove wrong answers right."""
    body, use = SPECIAL[name]
    code = f"class A:\n    def __{name}__(self, *arguments):\n        return {body}\n{use}\n"
    result = run_python(code)
    if isinstance(result, Printed):
        assert result.text == cpython(code)
    else:
        assert isinstance(result, Unsupported)


def test_a_run_is_killed_when_it_does_not_stop_by_itself() -> None:
    squares = "x = 7 ** (10 ** 6)\nwhile True:\n    x = x * x"
    assert run_python(squares, Limits(seconds=0.2)) == TimedOut()


def test_sleep_has_a_limit_of_its_own() -> None:
    assert run_python("import time\ntime.sleep(0.01)\nprint(1)", Limits(seconds=0.2)) == Printed("1\n")
    assert run_python("import time\nwhile True: time.sleep(0.1)", Limits(seconds=0.2)) == TimedOut()


def test_memory_and_output_have_limits() -> None:
    assert run_python("x = [0] * 10**9", Limits(memory_bytes=32 << 20)) == OutOfMemory()
    assert run_python("print('x' * 99)", Limits(output_bytes=100)) == Printed("x" * 99 + "\n")
    assert run_python("print('ä' * 50)", Limits(output_bytes=100)) == Failed(
        "OutputTooLarge", "it prints more than 100 bytes"
    )


def test_the_clock_is_in_utc() -> None:
    assert run_python("import datetime\nprint(datetime.datetime.now().astimezone().tzinfo)") == Printed("UTC\n")
