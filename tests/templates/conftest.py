"""Draws the templates in processes of their own, from the beginning of the session on: the draws take minutes.

While other tests wait for servers, a core is free; whoever runs the tests of this folder alone gets all of them.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from question_bank.templates import TEMPLATES
from tests.templates.drawing import Drawing, draw_many

NICE = 10
"""Other tests go first."""

_pool = pytest.StashKey[ProcessPoolExecutor]()
_futures = pytest.StashKey[dict[str, "Future[Drawing]"]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to draw those templates whose draws are asked for."""
    asked = [item for item in session.items if "drawings" in getattr(item, "fixturenames", ())]
    if not asked or session.config.option.collectonly:
        return
    names = [name for name in TEMPLATES if any(f"[{name}]" in item.name for item in asked)]
    others = any("templates" not in item.path.parts for item in session.items)
    workers = max(1, (os.cpu_count() or 1) - (1 if others else 0))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=os.nice, initargs=(NICE,))
    session.config.stash[_pool] = pool
    session.config.stash[_futures] = {name: pool.submit(draw_many, name) for name in names}


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no process behind."""
    if pool := config.stash.get(_pool, None):
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def drawings(pytestconfig: pytest.Config) -> dict[str, Future[Drawing]]:
    """Return what becomes of a thousand draws of each template."""
    return pytestconfig.stash[_futures]
