"""Which parameters a phase of the training changes."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import jax

from dfbench.config import PhaseConfig
from dfbench.errors import UserError, nearest
from dfbench.models.names import Tree, leaf_name, leaves


def is_trained(name: str, phase: PhaseConfig) -> bool:
    """Return whether the phase changes the parameter of that dotted name."""
    return _matches(name, phase.train) and not _matches(name, phase.freeze)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) or name.startswith(f"{pattern}.") for pattern in patterns)


def trained_names(params: Tree, phase: PhaseConfig) -> frozenset[str]:
    """Return the dotted names of the parameters that the phase changes.

    Raises:
        UserError: A pattern is of no parameter, or the phase changes nothing.
    """
    names = list(leaves(params))
    for pattern in (*phase.train, *phase.freeze):
        if not any(_matches(name, (pattern,)) for name in names):
            raise UserError(
                f"phases: '{pattern}' is the name of no parameter{nearest(pattern, names)}; "
                "`dfbench models NAME` lists them"
            )
    trained = frozenset(name for name in names if is_trained(name, phase))
    if not trained:
        raise UserError(
            f"phases: nothing is left to train (train = {list(phase.train)}, "
            f"freeze = {list(phase.freeze)})"
        )
    return trained


def frozen_statistics(phase: PhaseConfig) -> Callable[[str], bool]:
    """Return whether the batch norm of a dotted name keeps its running statistics in a phase."""
    if phase.batch_norm == "follow":
        # Its scale and bias are named below it; a pattern can be as deep as those.
        return lambda name: not is_trained(f"{name}.scale", phase)
    return lambda name: phase.batch_norm == "frozen"


def partition(params: Tree, trained: frozenset[str]) -> tuple[Tree, Tree]:
    """Split into what is trained and what is fixed, each with None in place of the other."""

    def part(keep: bool) -> Tree:
        return jax.tree.map_with_path(
            lambda path, leaf: leaf if (leaf_name(path) in trained) == keep else None, params
        )

    return part(True), part(False)


def combine(trained: Tree, fixed: Tree) -> Tree:
    """Put the two parts of `partition` together again."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, trained, fixed, is_leaf=lambda leaf: leaf is None
    )
