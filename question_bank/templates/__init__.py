"""Questions without end: templates that draw a fresh question from a seed and execute it to find the answer."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module

from question_bank.templates.base import REGISTRY, Template

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")  # each registers its templates

TEMPLATES: Mapping[str, Template] = dict(sorted(REGISTRY.items()))
"""Every template by its name."""
