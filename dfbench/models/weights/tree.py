"""Nested parameters as layers with dotted paths, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from dfbench.models.describe import abstract_model
from dfbench.models.layers import BatchNorm
from dfbench.models.names import Tree, dotted, leaf_name
from dfbench.models.registry import get_model
from dfbench.models.weights.source import Kind

Shapes = Mapping[str, tuple[int, ...]]  # of a layer's arrays by name
HEAD = "head."


def replaced(tree: Tree, arrays: Mapping[str, Any]) -> Tree:
    """Return the tree with some of its arrays exchanged."""
    return jax.tree.map_with_path(lambda path, leaf: arrays.get(leaf_name(path), leaf), tree)


def layers(arrays: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Group by layer: its path, then its arrays by name."""
    found: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        layer, _, leaf = name.rpartition(".")
        found.setdefault(layer, {})[leaf] = array
    return found


def kind_of(arrays: Mapping[str, Any]) -> Kind:
    """Tell what layer of a body has these arrays."""
    return "norm" if "scale" in arrays else "conv"


def epsilons(model: str) -> dict[str, float]:
    """Return the epsilon of each batch norm by its dotted path."""
    module = abstract_model(get_model(model))
    return {
        dotted(path): part.epsilon
        for path, part in nnx.iter_modules(module)
        if isinstance(part, BatchNorm)
    }
