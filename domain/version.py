"""The version of this release, which stands in pyproject.toml and nowhere else in the code."""

from __future__ import annotations

import tomllib
from pathlib import Path

VERSION: str = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "version"
]
