"""Streams of random keys for initial values and dropout."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import jax
from flax import nnx
from jax import Array
from jaxtyping import Key


class _Stream(nnx.RngStream):
    """Counts in Python.

    nnx's own counts in an array: of a network that is traced, each draw adds operations to the
    trace, and looks for a sharding that a tracer does not have. JAX then searches all operations so
    far for the words of its error.
    """

    def __init__(self, key: Key[Array, ""], *, tag: str) -> None:
        super().__init__(key, tag=tag)
        self.drawn = 0

    def __call__(self) -> Key[Array, ""]:
        key: Array = jax.random.fold_in(self.key[...], self.drawn)
        self.drawn += 1
        return key


def key_streams(**keys: Key[Array, ""]) -> nnx.Rngs:
    """Return a stream of each name, `default` for names that are not there.

    They yield the keys that those of `nnx.Rngs(**keys)` yield.
    """
    rngs = nnx.Rngs(**keys)
    for name, key in keys.items():
        setattr(rngs, name, _Stream(key, tag=name))
    return rngs
