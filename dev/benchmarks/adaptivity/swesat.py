"""Answers of 5,000 people to each part of the Swedish SAT of autumn 2022, as the package irtorch carries them.

The package is not imported, since that would need torch: the files of its data are read where they are installed. The
two parts are samples apart: their rows were shuffled separately (the sums of a row's halves do not correlate), so that
they must not be joined.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dev.benchmarks.adaptivity.world import Numbers

PACKAGE = "irtorch"
PARTS = {"quantitative": "swesat22b_quant", "verbal": "swesat22b_verb"}


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What a stored tensor says about itself."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Reader(pickle.Unpickler):
    """Reads the description of one tensor of 32-bit floats, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - pickle's own signature
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: _Tensor(
                storage, offset, shape, strides
            ),
            ("torch", "FloatStorage"): "float32",
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in a tensor")
        return known[module, name]

    def persistent_load(self, pid: Sequence[Any]) -> str:
        _, kind, name, *_ = pid
        if kind != "float32":
            raise pickle.UnpicklingError(f"a tensor of {kind} is not expected")
        return str(name)


def installed() -> bool:
    """Return whether the package with the answers is there."""
    return find_spec(PACKAGE) is not None


def read_part(part: str) -> Numbers:
    """Return the answers of those who answered every question, learners × questions, 1 for right.

    Args:
        part: one of `PARTS`.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed: make .venv/bench")
    folder = Path(spec.origin).parent / "datasets" / "swedish_sat"
    chosen = read_tensor((folder / f"{PARTS[part]}.pt").read_bytes())
    text = (folder / f"{PARTS[part]}_correct.txt").read_text(encoding="utf-8")
    key = np.array([int(digit) - 1 for digit in text if digit.isdigit()])
    complete = chosen[~np.isnan(chosen).any(axis=1)]
    right: Numbers = (complete == key).astype(np.int64)
    return right


def read_tensor(archive: bytes) -> np.typing.NDArray[np.float32]:
    """Return a matrix that torch saved."""
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        root = next(name for name in files.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        tensor = _Reader(io.BytesIO(files.read(f"{root}data.pkl"))).load()
        if files.read(f"{root}byteorder") != b"little":
            raise ValueError("bytes are expected in little-endian order")
        numbers = np.frombuffer(files.read(f"{root}data/{tensor.storage}"), dtype="<f4")
    if tensor.offset or tensor.strides != (tensor.shape[1], 1):
        raise ValueError("rows are expected one after the other")
    return numbers.reshape(tensor.shape)
