"""Weights that Keras saved to HDF5: 1 and 2 (`.h5`), and 3 (`.weights.h5`, `.h5`)."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dfbench.errors import UserError
from dfbench.models.weights.hdf5 import MOST_ENTRIES, check, numbers
from dfbench.models.weights.source import Arrays, Layer, Weights, as_float32

_NORM = ("scale", "bias", "mean", "var")


def read_keras(path: Path) -> Weights:
    """Read the layers that have weights.

    In the old format they stand in the order in which Keras has them; in the new one each kind
    of layer has its own order.

    Raises:
        UserError: Truncated, without layers, with a layer of an unknown kind, or with what
            `dfbench.models.weights.hdf5` refuses.
    """
    try:
        with h5py.File(path, "r") as file:
            check(file)
            named = list(_stored(file))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # h5py lets through whatever goes wrong in a damaged file
        raise UserError(f"{path}: a broken HDF5 file: {error}") from error
    layers = [
        layer for name, arrays in named if arrays for layer in _layers(name, arrays, path=path)
    ]
    if not layers:
        raise UserError(f"{path}: an HDF5 file without layers of a Keras model")
    return Weights(path, "keras", tuple(layers))


def _stored(file: h5py.File) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name and the arrays of each layer."""
    root = file.get("model_weights", file)
    if any(key in root.attrs for key in ("layer_names", "layer_names0")):
        for name in _texts(root, "layer_names"):
            group = root[name]
            keys = _texts(group, "weight_names")
            yield name, [numbers(group[key], f"{name}/{key}") for key in keys]
    elif "layers" in root:
        for group in sorted(root["layers"].values(), key=lambda group: _numbered(group.name)):
            if "layers" in group:
                raise UserError(
                    f"the layer '{group.name}' is a model of its own; save the inner model's "
                    "weights"
                )
            arrays = group["vars"]
            name = _text(arrays.attrs.get("name", group.name.rsplit("/", 1)[-1]))
            yield name, [numbers(arrays[key], f"{name}/{key}") for key in sorted(arrays, key=int)]


def _texts(group: Any, name: str) -> list[str]:
    """Return a list of texts that Keras split over attributes where it was too long for one."""
    if name in group.attrs:
        return _list(group, name)
    found, number = [], 0
    while f"{name}{number}" in group.attrs:
        found += _list(group, f"{name}{number}")
        number += 1
    return found


def _list(group: Any, name: str) -> list[str]:
    if math.prod(group.attrs.get_id(name).shape) > MOST_ENTRIES:
        raise UserError(f"'{name}' claims more than {MOST_ENTRIES:,} names")
    return [_text(value) for value in group.attrs[name]]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _numbered(name: str) -> tuple[str, int]:
    """Return the key that sorts conv2d, conv2d_1, ..., conv2d_10."""
    match = re.fullmatch(r"(.*?)(?:_(\d{1,18}))?", name, re.DOTALL)
    assert match is not None
    return match[1], int(match[2] or 0)


def _layers(name: str, arrays: list[np.ndarray], *, path: Path) -> list[Layer]:
    """Tell the kind of a layer by the dimensions of its arrays, which Keras keeps in order."""
    ranks = [array.ndim for array in arrays]
    values = [as_float32(array, name, path) for array in arrays]
    if ranks == [1, 1, 1, 1]:
        return [Layer(name, "norm", dict(zip(_NORM, values, strict=True)))]
    if ranks in ([4], [4, 1]):
        return [Layer(name, "conv", _with_bias(values[0], values[1:]))]
    if ranks in ([2], [2, 1]):
        return [Layer(name, "dense", _with_bias(values[0], values[1:]))]
    if ranks in ([4, 4], [4, 4, 1]):  # SeparableConv2D; the first is [h, w, channel, 1]
        each_channel = {"kernel": values[0].transpose(0, 1, 3, 2)}
        return [
            Layer(f"{name}/depthwise", "conv", each_channel),
            Layer(f"{name}/pointwise", "conv", _with_bias(values[1], values[2:])),
        ]
    shapes = ", ".join(str(array.shape) for array in arrays[:6])
    more = f" and {len(arrays) - 6} more" if len(arrays) > 6 else ""
    raise UserError(
        f"{path}: the layer '{name}' with arrays of shapes {shapes}{more} is neither convolution, "
        "batch norm nor dense (of a model within a model, save the inner one)"
    )


def _with_bias(kernel: np.ndarray, bias: list[np.ndarray]) -> Arrays:
    return {"kernel": kernel, "bias": bias[0]} if bias else {"kernel": kernel}
