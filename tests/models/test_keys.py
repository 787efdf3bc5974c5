from __future__ import annotations

import jax
import numpy as np
from flax import nnx
from jax import Array

from dfbench.models.keys import key_streams


def drawn(rngs: nnx.Rngs) -> list[Array]:
    keys = [rngs.params(), rngs.params(), rngs.dropout(), rngs(), rngs.dropout()]
    return [jax.random.key_data(key) for key in keys]


def test_the_keys_are_those_of_nnx() -> None:
    ours, theirs = drawn(key_streams(default=jax.random.key(7))), drawn(nnx.Rngs(7))
    np.testing.assert_array_equal(ours, theirs)
    seeds = {"default": jax.random.key(3), "dropout": jax.random.key(4)}
    np.testing.assert_array_equal(drawn(key_streams(**seeds)), drawn(nnx.Rngs(**seeds)))


def test_a_stream_that_a_layer_takes_along_goes_on_alike() -> None:
    def forked(rngs: nnx.Rngs) -> list[Array]:
        rngs.params()
        own = rngs.params.fork()
        return [jax.random.key_data(key) for key in (own(), own(), rngs.params())]

    ours, theirs = forked(key_streams(default=jax.random.key(7))), forked(nnx.Rngs(7))
    np.testing.assert_array_equal(ours, theirs)


def test_a_trace_holds_nothing_but_the_keys() -> None:
    """Not the counting, in which each draw takes longer than the one before."""

    def draw(key: Array) -> list[Array]:
        rngs = key_streams(default=key)
        return [rngs.params() for _ in range(3)]

    traced = jax.make_jaxpr(draw)(jax.random.key(0))
    after = [eqn for eqn in traced.jaxpr.eqns if eqn.primitive.name != "broadcast_in_dim"]
    assert [eqn.primitive.name for eqn in after] == ["random_fold_in"] * 3
