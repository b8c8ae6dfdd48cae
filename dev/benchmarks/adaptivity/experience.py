"""What learners answer when they are asked how experienced they are, and what the answer tells.

If report and ability are standard normal with correlation r, and a learner gives the answer that belongs to their
report's quarter of all reports, then their ability has mean ``r * m`` and variance ``1 - r² + r² * s``, with m and s
the mean and the variance of a standard normal variable within that quarter. For r = .6 that makes -.76, -.19, .19 and
.76, and variances of .73, .65, .65 and .73.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from dev.benchmarks.adaptivity.world import Learners
from dev.benchmarks.numbers import Figures
from domain.catalog import Experience


def experience_of(report: float) -> Experience:
    """Return which of the four answers a learner gives."""
    answers = list(Experience)
    return answers[min(len(answers) - 1, int(len(answers) * NormalDist().cdf(report)))]


def abilities_by_experience(learners: Learners) -> Figures:
    """Return mean and variance of the true abilities of those who gave each answer; NaN where nobody did."""
    given = np.array([experience_of(report) for report in learners.report])
    found = {experience: learners.ability[given == experience, 0] for experience in Experience}
    return {
        f"{experience}_{name}": float(of(abilities)) if len(abilities) else float("nan")
        for experience, abilities in found.items()
        for name, of in (("mean", np.mean), ("variance", np.var))
    }
