"""Nested parameters as layers with dotted paths, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from dfbench.config import ModelConfig
from dfbench.models.layers import BatchNorm
from dfbench.models.registry import get_model
from dfbench.models.weights.source import Kind

Tree = Any  # nested dicts of arrays; keys are names, or numbers in lists
Shapes = Mapping[str, tuple[int, ...]]  # of a layer's arrays by name
HEAD = "head."


def dotted(path: tuple[Any, ...]) -> str:
    """Return `blocks.3.skip.kernel` of a path of keys."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def leaves(*trees: Tree) -> dict[str, Any]:
    """Return the arrays (or their shapes) by dotted name."""
    return {dotted(path): leaf for tree in trees for path, leaf in jax.tree.leaves_with_path(tree)}


def replaced(tree: Tree, arrays: Mapping[str, Any]) -> Tree:
    """Return the tree with some of its arrays exchanged."""
    return jax.tree.map_with_path(lambda path, leaf: arrays.get(dotted(path), leaf), tree)


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
    module = nnx.eval_shape(lambda: get_model(model).build(ModelConfig(name=model), nnx.Rngs(0)))
    return {
        ".".join(str(key) for key in path): part.epsilon
        for path, part in nnx.iter_modules(module)
        if isinstance(part, BatchNorm)
    }
