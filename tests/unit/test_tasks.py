"""Tasks of the flows: what talks to the database or to Telegram is tried again, later each time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from prefect import Task

import prefect_flows
from flows import refill

PAID = {"write and verify a question"}
"""A retry would cost money; the next run makes up for what was not made."""

TASKS = {
    found.name: found
    for module in (prefect_flows, refill)
    for found in vars(module).values()
    if isinstance(found, Task)
}


@pytest.mark.parametrize("name", sorted(TASKS.keys() - PAID))
def test_a_task_is_tried_again_after_growing_pauses(name: str) -> None:
    task = TASKS[name]
    pauses = task.retry_delay_seconds
    assert task.retries == 3
    assert isinstance(pauses, list)
    assert all(later > sooner for sooner, later in pairwise(pauses))
    assert task.retry_jitter_factor


def test_what_is_paid_for_is_tried_once() -> None:
    assert {name for name, task in TASKS.items() if not task.retries} == PAID
