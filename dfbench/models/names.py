"""Dotted names of parameters and layers: `blocks.3.skip.kernel`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

Tree = Any  # nested dicts of arrays; keys are names, or numbers in lists


def dotted(parts: Iterable[object]) -> str:
    """Join the keys on the way to a module."""
    return ".".join(str(part) for part in parts)


def leaf_name(path: tuple[Any, ...]) -> str:
    """Return the dotted name of a leaf, whose path `jax.tree` gives."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def leaves(*trees: Tree) -> dict[str, Any]:
    """Return the arrays (or their shapes) by dotted name."""
    return {
        leaf_name(path): leaf for tree in trees for path, leaf in jax.tree.leaves_with_path(tree)
    }
