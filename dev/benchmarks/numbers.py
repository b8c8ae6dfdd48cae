"""Percentiles and spreads."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

Figures = dict[str, Any]
"""What a benchmark measured, as it returns it or as it came back out of JSON."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of all values does not exceed (nearest rank).

    Args:
        ordered: ascending, not empty.
        share: from 0 to 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


SHARES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}


def latency_figures(seconds: Sequence[float]) -> Figures:
    """Return count and percentiles of latencies, in milliseconds.

    Args:
        seconds: one latency each, not empty.
    """
    ordered = sorted(seconds)
    in_ms = {name: round(1000 * percentile(ordered, share), 2) for name, share in SHARES.items()}
    return {"count": len(ordered), **in_ms}


def spread(values: Sequence[float], digits: int = 2) -> Figures:
    """Return the median of repeated measurements, and the least and the greatest of them.

    Args:
        values: not empty.
    """
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "greatest": round(max(values), digits),
    }
