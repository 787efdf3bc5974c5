"""Layers as a weights file has them, their arrays in our order of axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

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
