"""How long the garbage collector stops a worker: with what the process has loaded looked through each time, and not."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass

from dev.benchmarks.numbers import Figures, latency_figures
from dev.benchmarks.section import Section, Table, plain
from dev.stack import Say
from local.programs import ROOT

GARBAGE = 10_000
"""Pieces that refer to themselves, for each collection to find: about what one picture of /stats leaves behind."""

_PROGRAM = """
import gc, json, sys, time
import bot.charts.picture, prefect_flows, roles.worker, wiring  # what a worker has loaded once it has served everything
from observability.gc_freeze import freeze_startup_objects

GARBAGE = int(sys.argv[2])

def collect(times):
    seconds = []
    for _ in range(times):
        for _ in range(GARBAGE):
            piece = []
            piece.append(piece)
        began = time.perf_counter()
        gc.collect()
        seconds.append(time.perf_counter() - began)
    return {"objects": len(gc.get_objects()), "seconds": seconds}

gc.disable()  # only what is measured collects
times = int(sys.argv[1])
loaded = collect(times)
freeze_startup_objects()
print(json.dumps({"looked through": loaded, "passed over": collect(times)}))
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    processes: int
    collections: int
    """In each process, either way."""


FULL = Size(processes=5, collections=40)
QUICK = Size(processes=1, collections=2)


async def measure(size: Size, say: Say) -> Figures:
    """Let processes that have loaded what a worker does collect garbage, before and after passing over it."""
    figures: Figures = {"processes": size.processes, "collections": size.collections}
    seconds: dict[str, list[float]] = {}
    for number in range(1, size.processes + 1):
        say(f"process {number} of {size.processes}")
        for way, measured in (await _collect(size.collections)).items():
            seconds.setdefault(way, []).extend(measured["seconds"])
            figures[way] = {"objects": measured["objects"]} | latency_figures(seconds[way])
    return figures


async def _collect(times: int) -> Figures:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, str(times), str(GARBAGE), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the process that collects ended with {process.returncode}")
    return dict(json.loads(output.splitlines()[-1]))


def present(figures: Figures) -> Section:
    """Show the figures."""
    before, after = figures["looked through"], figures["passed over"]
    rows = [
        [f"what is loaded is {way}", plain(one["objects"]), f"{one['p50_ms']:.1f}", f"{one['p95_ms']:.1f}"]
        for way, one in (("looked through", before), ("passed over", after))
    ]
    return Section(
        title="Pauses: a full collection of garbage in a worker",
        about=(
            "`gc.collect()` in a process that has loaded what a worker loads, before and after "
            f"`observability/gc_freeze.py` has told the collector to skip it; {figures['processes']} processes, "
            f"{figures['collections']} collections each way, each of which finds {plain(GARBAGE)} pieces of garbage. "
            "Nothing else in the process runs meanwhile, neither the event loop nor a thread."
        ),
        tables=[Table("Milliseconds a collection", ["", "objects looked at", "p50", "p95"], rows)],
        notes=[f"Examined, they take **{before['p50_ms'] / after['p50_ms']:.0f}** times as long."],
        limits=["What a working process has in flight comes on top either way."],
    )
