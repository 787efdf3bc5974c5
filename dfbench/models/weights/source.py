"""Layers as a weights file has them, their arrays in our order of axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dfbench.errors import UserError

Origin = Literal["keras", "torch"]
Kind = Literal["conv", "norm", "dense"]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A layer of a file.

    Attributes:
        name: As the file has it.
        kind: "conv" of any number of groups, "norm" (batch norm) or "dense".
        arrays: float32. kernel [height, width, in / groups, out] or [in, out], and bias;
            of a norm scale, bias, mean and var.
    """

    name: str
    kind: Kind
    arrays: Arrays


@dataclass(frozen=True)
class Weights:
    """What a file holds: its layers in the order in which they are applied, if it is known."""

    path: Path
    origin: Origin
    layers: tuple[Layer, ...]


def as_float32(array: np.ndarray, layer: str, path: Path) -> np.ndarray:
    """Return an array of a file as float32.

    Raises:
        UserError: It holds NaN or infinity, or numbers too large.
    """
    with np.errstate(over="ignore"):  # to infinity
        values: np.ndarray = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"{path}: the layer '{layer}' holds NaN, or numbers too large for float32")
    return values
