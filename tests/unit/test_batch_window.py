"""A batch window: how long it is open, and that its batches depend on nothing but themselves."""

from __future__ import annotations

import asyncio

import pytest

from domain.ids import LearnerId
from domain.models import Delivery, Outcome
from flows import batch_window
from flows.batch_window import BatchWindow, Report, Tally, closing_time
from prefect_flows import ANSWERS, REQUESTS

SENT = Delivery(LearnerId(1), Outcome.SENT)
FAILED = Delivery(LearnerId(2), Outcome.FAILED, "no answer")
SKIPPED = Delivery(LearnerId(3), Outcome.SKIPPED, "nothing to review")


@pytest.mark.parametrize(
    ("used_at", "closes_at"), [(100.0, 101.0), (100.7, 101.7), (103.9, 104.9), (104.5, 105.0), (99.0, 101.0)]
)
def test_a_window_is_open_for_a_second_after_the_latest_batch_and_for_five_at_most(
    used_at: float, closes_at: float
) -> None:
    assert closing_time(100.0, used_at) == pytest.approx(closes_at)


@pytest.fixture
def ending() -> asyncio.Event:
    return asyncio.Event()


async def test_batches_are_handled_at_once_and_beside_each_other(ending: asyncio.Event) -> None:
    window = BatchWindow(ending)
    task_run = asyncio.create_task(window.stay_open())
    second_is_done = asyncio.Event()

    async def first() -> Report:
        await second_is_done.wait()
        return Report([SENT], right=1)

    async def second() -> Report:
        second_is_done.set()
        return Report([FAILED])

    await asyncio.gather(window.begin(first), window.begin(second))
    assert window.is_open
    ending.set()
    await task_run
    assert not window.is_open
    assert (window.tally.outcomes.total(), window.tally.right, window.deliveries) == (2, 1, [FAILED, SENT])


async def report_after(released: asyncio.Event) -> Report:
    await released.wait()
    return Report([SENT])


async def test_a_window_that_closes_waits_for_its_batches(ending: asyncio.Event) -> None:
    window, released = BatchWindow(ending), asyncio.Event()
    task_run = asyncio.create_task(window.stay_open())
    batch = window.begin(lambda: report_after(released))
    await asyncio.sleep(0)
    ending.set()
    while window.is_open:
        await asyncio.sleep(0)
    assert not task_run.done()
    released.set()
    await task_run
    assert await batch == Report([SENT])


async def test_a_batch_that_fails_is_counted_and_its_error_reaches_who_gave_it(ending: asyncio.Event) -> None:
    window = BatchWindow(ending)
    task_run = asyncio.create_task(window.stay_open())

    async def fail() -> Report:
        raise LookupError("a batch")

    with pytest.raises(LookupError, match="a batch"):
        await window.begin(fail)
    ending.set()
    await task_run
    assert window.tally.failed_batches == 1


async def test_a_task_run_that_is_cut_off_takes_no_more_and_leaves_its_batches_alone(ending: asyncio.Event) -> None:
    window, released = BatchWindow(ending), asyncio.Event()
    task_run = asyncio.create_task(window.stay_open())
    batch = window.begin(lambda: report_after(released))
    await asyncio.sleep(0)
    task_run.cancel()
    await asyncio.wait({task_run})
    assert not window.is_open
    released.set()
    assert await batch == Report([SENT])


async def test_a_batch_does_not_wait_for_its_task_run(ending: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    window = BatchWindow(ending)

    async def work() -> Report:
        return Report([SENT])

    assert await window.begin(work) == Report([SENT])
    assert not window.is_stuck
    monkeypatch.setattr(batch_window, "MAX_OPEN_SECONDS", -1.0)
    assert window.is_stuck


async def test_a_window_closes_by_itself(ending: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_window, "OPEN_SECONDS", 0.01)
    window = BatchWindow(ending)
    await window.stay_open()
    assert not window.is_open


def tally(*deliveries: Delivery, right: int = 0, failed_batches: int = 0) -> Tally:
    counted = Tally(failed_batches=failed_batches)
    counted.add(Report(list(deliveries), right=right))
    return counted


def test_names_say_what_was_done() -> None:
    assert ANSWERS.describe(tally(SENT, right=1)) == "1 answer · 1 right"
    assert ANSWERS.describe(tally(SENT, SENT, FAILED, right=2)) == "3 answers · 2 right · 1 without feedback yet"
    assert ANSWERS.describe(tally(SENT, failed_batches=2)) == "1 answer · 0 right · 2 batches failed"
    assert REQUESTS.describe(tally(SENT)) == "1 question sent"
    assert REQUESTS.describe(tally(SENT, SKIPPED, FAILED)) == "1 question sent · 1 skipped · 1 failed"
