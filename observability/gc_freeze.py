"""Python's garbage collector, which stops everything else in a process while it looks for garbage."""

from __future__ import annotations

import atexit
import gc


def freeze_startup_objects() -> None:
    """Let the collector look no more at what there is now: modules, classes and caches that stay until the end.

    To be called once by a process that lives long, when it has loaded what it works with; see decision 25. What becomes
    garbage later is found as before, in a fraction of the time.
    """
    gc.collect()  # or garbage of the start would be kept for good
    gc.freeze()
    atexit.register(gc.unfreeze)  # or DuckDB's binding warns, at the end, of all that it does not find let go
