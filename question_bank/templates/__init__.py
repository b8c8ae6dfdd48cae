"""Questions without end: templates that draw a fresh question from a seed and execute it to find the answer."""

from __future__ import annotations

from collections.abc import Mapping

from question_bank.templates import data_quality  # noqa: F401 - each module registers its templates
from question_bank.templates.base import REGISTRY, Template

TEMPLATES: Mapping[str, Template] = REGISTRY
"""Every template by its name."""
