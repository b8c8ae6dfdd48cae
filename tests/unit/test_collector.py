"""What a process has loaded is passed over by the garbage collector, and let go at its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import gc
import duckdb  # warns at the end of what it finds not let go
from observability.gc_freeze import freeze_startup_objects

class Piece:
    pass

before = len(gc.get_objects())
freeze_startup_objects()
assert gc.get_freeze_count() > 1_000
assert len(gc.get_objects()) < before / 10
piece = Piece()
piece.itself = piece
del piece
print(gc.collect())
"""


def test_what_is_loaded_is_passed_over_and_later_garbage_is_found() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= 1
