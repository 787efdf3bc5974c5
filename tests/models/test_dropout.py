from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from dfbench.models.layers import AXIS, Dropout

X = np.random.default_rng(0).uniform(1, 2, (16, 64)).astype(np.float32)


def _drop(rate: float, *, devices: int = 1, seed: int = 0) -> np.ndarray:
    """Drop features of a batch split over devices."""
    layer = Dropout(rate)

    @partial(jax.pmap, axis_name=AXIS, in_axes=(0, None), devices=jax.devices()[:devices])
    def call(x: Array, key: Array) -> Array:
        return layer(x, rngs=nnx.Rngs(dropout=key))

    return np.asarray(call(X.reshape(devices, -1, 64), jax.random.key(seed))).reshape(X.shape)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_what_is_kept_is_scaled_up(rate: float) -> None:
    y = _drop(rate)
    kept = y != 0
    np.testing.assert_allclose(y[kept], X[kept] / (1 - rate), rtol=1e-6)
    assert abs(kept.mean() - (1 - rate)) < 0.07  # four standard errors of 1,024 draws
    assert len(np.unique(kept, axis=0)) == 16  # each example has a mask of its own


def test_the_number_of_devices_changes_nothing() -> None:
    np.testing.assert_array_equal(_drop(0.5, devices=8), _drop(0.5, devices=1))


def test_the_key_decides() -> None:
    np.testing.assert_array_equal(_drop(0.5), _drop(0.5))
    assert not np.array_equal(_drop(0.5), _drop(0.5, seed=1))


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero() -> None:
    x = jnp.asarray(X)
    assert Dropout(0.0)(x, rngs=None) is x
    layer = Dropout(0.5)
    layer.deterministic = True
    assert layer(x, rngs=None) is x


def test_training_without_random_numbers_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="dropout needs rngs"):
        Dropout(0.5)(jnp.asarray(X), rngs=None)
