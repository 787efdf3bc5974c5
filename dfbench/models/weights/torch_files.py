"""State dicts of PyTorch models in safetensors files."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import re
from pathlib import Path

import jax.numpy as jnp
from safetensors import SafetensorError, safe_open

from dfbench.errors import UserError
from dfbench.models.weights.source import Arrays, Layer, Weights, as_float32

# What holders of a network put before its names.
_PREFIXES = ("module.", "model.", "backbone.", "net.", "encoder.")
_COUNTERS = ".num_batches_tracked"
_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}

# JAX makes NumPy know the type, without which safetensors fails on it.
_BFLOAT16 = jnp.bfloat16


def read_torch(path: Path) -> Weights:
    """Read the layers of a state dict, sorted by name; names lose the prefixes of holders.

    Raises:
        UserError: Truncated, no safetensors file, or a layer of an unknown kind.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if not name.endswith(_COUNTERS)]  # noqa: SIM118
            arrays = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # or of no NumPy type
        raise UserError(f"{path}: a broken safetensors file: {error}") from error
    found: dict[str, Arrays] = {}
    for name in sorted(arrays, key=_natural):
        layer, _, leaf = _bare(name).rpartition(".")
        if leaf in found.setdefault(layer, {}):
            raise UserError(f"{path}: two networks in one file have '{_bare(name)}'")
        found[layer][leaf] = as_float32(arrays[name], layer, path)
    if not found:
        raise UserError(f"{path}: a safetensors file without arrays")
    return Weights(path, "torch", tuple(_layer(n, a, path=path) for n, a in found.items()))


def _bare(name: str) -> str:
    while prefix := next((p for p in _PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
    return name


def _natural(name: str) -> list[tuple[int, str]]:
    """Return the key that sorts layer2 before layer10."""
    parts = re.split(r"(\d{1,18})", name)  # every other one is a number
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def _layer(name: str, arrays: Arrays, *, path: Path) -> Layer:
    """Tell the kind of a layer by its arrays."""
    if set(arrays) == set(_NORM):
        return Layer(name, "norm", {_NORM[leaf]: array for leaf, array in arrays.items()})
    rank = arrays["weight"].ndim if "weight" in arrays else 0
    if rank in (2, 4) and set(arrays) <= {"weight", "bias"}:
        axes = (1, 0) if rank == 2 else (2, 3, 1, 0)  # [out, in] and [out, in, h, w] in PyTorch
        kernel = arrays["weight"].transpose(axes)
        rest = {"bias": arrays["bias"]} if "bias" in arrays else {}
        return Layer(name, "dense" if rank == 2 else "conv", {"kernel": kernel, **rest})
    shapes = ", ".join(f"{leaf} {array.shape}" for leaf, array in arrays.items())
    raise UserError(
        f"{path}: the layer '{name}' with {shapes} is neither convolution, batch norm nor linear"
    )
