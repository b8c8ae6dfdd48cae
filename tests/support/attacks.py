"""Hostile snippets: each reads a planted secret or writes a file, where nothing holds it back.

In each text ``NAME`` stands for an environment variable, ``SECRET`` for the path of a CSV file, and ``WRITTEN`` for a
path at which nothing is.
"""

from __future__ import annotations

from pathlib import Path

VARIABLE = "PLANTED_TOKEN"

READ_BY_PYTHON = {
    "environment": "import os\nprint(os.environ['NAME'])",
    "getenv": "import os\nprint(os.getenv('NAME'))",
    "file": "print(open('SECRET').read())",
    "path": "import pathlib\nprint(pathlib.Path('SECRET').read_text())",
    "descriptor": "import os\nprint(os.read(os.open('SECRET', os.O_RDONLY), 999))",
    "environment of the process": "print(open('/proc/self/environ').read())",
    "cache of lines": "import linecache\nprint(linecache.getlines('SECRET'))",
    "codecs": "import codecs\nprint(codecs.open('SECRET').read())",
    "program": "import subprocess\nprint(subprocess.run(['cat', 'SECRET'], capture_output=True).stdout)",
    "shell": "import os\nprint(os.popen('echo $NAME').read())",
    "C library": "import ctypes\nget = ctypes.CDLL(None).getenv\nget.restype = ctypes.c_char_p\nprint(get(b'NAME'))",
    "pickle": "import pickle\nprint(pickle.loads(b\"cos\\ngetenv\\n(S'NAME'\\ntR.\"))",
    "dunder import": "print(__import__('os').environ['NAME'])",
    "importlib": "import importlib\nprint(importlib.import_module('os').environ['NAME'])",
    "eval": "print(eval(\"__import__('os').environ['NAME']\"))",
    "exec": "exec(\"import os\\nprint(os.environ['NAME'])\")",
    "builtins of a function": "print(print.__self__.__import__('os').environ['NAME'])",
    "module that hands on another": "import random\nprint(random._os.environ['NAME'])",
    "attribute by its name": "import operator, random\nprint(operator.attrgetter('_os.environ')(random)['NAME'])",
    "subclasses": "for kind in ().__class__.__base__.__subclasses__():\n"
    "    if kind.__name__ == '_wrap_close':\n"
    "        print(kind.__init__.__globals__['environ']['NAME'])",
    "frame of a generator": "frame = (x for x in ()).gi_frame\n"
    "print(frame.f_builtins['__import__']('os').environ['NAME'])",
    "frame of a traceback": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n"
    "    frame = error.__traceback__.tb_frame\n    print(frame.f_builtins['open']('SECRET').read())",
    "format of an attribute": "import os\nprint('{0.environ[NAME]}'.format(os))",
    "class pattern": "import random\nmatch random:\n    case object(_os=found):\n        print(found.environ['NAME'])",
    "objects of the collector": "import gc\n"
    "for found in gc.get_objects():\n"
    "    if type(found) is dict and 'environ' in found and 'getenv' in found:\n"
    "        print(found['getenv']('NAME'))\n        break",
    "enum in the place of a builtin": "import enum\nfound = []\n"
    "class Spy:\n    def __call__(self, module, *_):\n        found.append(module)\n        return True\n"
    "names = enum.Enum('names', {'hasattr': 1}, type=Spy, module='builtins')\n"
    "enum.global_enum(names)\nimport random\n"
    "print([one for one in found if 'environ' in getattr(one, '__dict__', ())][0].environ['NAME'])",
    "enum's builtins": "import enum\nprint(enum.bltns.open('SECRET').read())",
}

WRITE_BY_PYTHON = {
    "file": "open('WRITTEN', 'w').write('x')",
    "path": "import pathlib\npathlib.Path('WRITTEN').touch()",
    "folder": "import os\nos.mkdir('WRITTEN')",
    "shell": "import os\nos.system('touch WRITTEN')",
    "program": "import subprocess\nsubprocess.run(['touch', 'WRITTEN'])",
    "database": "import sqlite3\nsqlite3.connect('WRITTEN').execute('CREATE TABLE t (a)')",
    "log": "import logging\nlogging.basicConfig(filename='WRITTEN')\nlogging.error('x')",
    "shell by the collector": "import gc\n"
    "for found in gc.get_objects():\n"
    "    if type(found) is dict and 'system' in found and 'getenv' in found:\n"
    "        found['system']('touch WRITTEN')\n        break",
}

READ_BY_SQL = {
    "text": "SELECT content FROM read_text('SECRET')",
    "blob": "SELECT content FROM read_blob('SECRET')",
    "table": "SELECT * FROM read_csv('SECRET', header = false)",
    "name of a table": "SELECT * FROM 'SECRET'",
    "copy": "CREATE TABLE t (a TEXT); COPY t FROM 'SECRET' (HEADER false); FROM t",
}

WRITE_BY_SQL = {
    "copy": "COPY (SELECT 1) TO 'WRITTEN'",
    "database": "ATTACH 'WRITTEN' AS other; CREATE TABLE other.t (a INT); CHECKPOINT other",
    "export": "EXPORT DATABASE 'WRITTEN'",
}

ONLY_FOR_SQL = {
    "setting": "SET enable_external_access = true; SELECT content FROM read_text('SECRET')",
    "reset": "RESET enable_external_access; SELECT content FROM read_text('SECRET')",
    "unlocked": "SET lock_configuration = false; SET enable_external_access = true; FROM read_text('SECRET')",
    "allowed folders": "SET allowed_directories = ['/']; SELECT content FROM read_text('SECRET')",
    "extension": "INSTALL httpfs; LOAD httpfs; SELECT 1",
    "environment": "SELECT getenv('NAME')",
    "variable of the program": "SELECT * FROM os",
    "files of a folder": "SELECT * FROM glob('/proc/self/*')",
}
"""Nothing of it works in any DuckDB without a change of its configuration first, or shows anything of worth."""

ENDLESS_PYTHON = {
    "a loop": "while True:\n    pass",
    "a power": "print(len(str(9 ** 9 ** 9)))",
    "a long list": "print(len([0] * 10 ** 11))",
    "a list that grows": "x = [1]\nwhile True:\n    x += x",
    "a text that grows": "x = 'x'\nwhile True:\n    x += x",
    "a recursion": "def f():\n    return f() + f()\nprint(f())",
    "much output": "while True:\n    print('x' * 1000)",
    "sleep": "import time\ntime.sleep(600)",
}

ENDLESS_SQL = {
    "one long text eight times": "SELECT " + ", ".join(["length(repeat('x', 400000000))"] * 8),
    "eight long texts": "SELECT " + ", ".join(f"repeat('{letter}', 400000000)" for letter in "abcdefgh"),
    "many numbers": "SELECT sum(sin(range)) FROM range(99999999999)",
    "a join": "SELECT count(*) FROM range(9999999) a, range(9999999) b WHERE a.range + b.range = 7",
    "a recursion": "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "a long list": "SELECT list(range) FROM range(999999999)",
    "sorting": "SELECT * FROM range(9999999999) ORDER BY hash(range) LIMIT 1",
    "a large table": "CREATE TABLE t AS SELECT repeat('x', 1000) a FROM range(99999999)",
}


def aim(attack: str, secret: Path, written: Path) -> str:
    """Return an attack on these files and on the planted variable.

    Args:
        attack: one of the above.
        secret: a file that holds the secret.
        written: a path at which nothing is.
    """
    return attack.replace("NAME", VARIABLE).replace("SECRET", str(secret)).replace("WRITTEN", str(written))
