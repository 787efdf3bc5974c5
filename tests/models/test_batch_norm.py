"""Batch normalisation against its formula in NumPy, on one device and on several."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from dfbench.models.layers import AXIS, BatchNorm

CHANNELS, EPSILON, MOMENTUM = 5, 1e-3, 0.9
# Means over 8 * 4 * 4 float32 numbers of order one, and products of them.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def _batch(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    offsets = np.arange(CHANNELS, dtype=np.float32)
    return (rng.normal(size=(8, 4, 4, CHANNELS)) * (1 + offsets) + offsets).astype(np.float32)


def _variables(seed: int = 3) -> tuple[Any, dict[str, Array]]:
    model = BatchNorm(CHANNELS, momentum=MOMENTUM, epsilon=EPSILON)
    graphdef, _ = nnx.split(model)
    scale, bias = np.random.default_rng(seed).normal(size=(2, CHANNELS)).astype(np.float32)
    state = nnx.to_pure_dict(nnx.state(model))
    return graphdef, state | {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}


def _train(state: dict[str, Array], x: np.ndarray, devices: int) -> tuple[Array, dict[str, Array]]:
    """Normalise a batch split over devices; return it joined, and the new state."""
    graphdef, _ = _variables()

    def call(state: dict[str, Array], x: Array) -> tuple[Array, dict[str, Array]]:
        model = nnx.merge(graphdef, nnx.State(state), copy=True)
        return model(x), nnx.to_pure_dict(nnx.state(model))

    shares = x.reshape(devices, -1, *x.shape[1:])
    y, new = jax.pmap(call, axis_name=AXIS, in_axes=(None, 0), out_axes=(0, None))(state, shares)
    return y.reshape(x.shape), new


def _formula(x: Any, scale: Any, bias: Any) -> Any:
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / (var + EPSILON) ** 0.5 * scale + bias


@pytest.mark.parametrize("devices", [1, 8])
def test_training_normalises_by_the_whole_batch(devices: int) -> None:
    x, (_, state) = _batch(0), _variables()
    y, new = _train(state, x, devices)
    expected = _formula(x, np.asarray(state["scale"]), np.asarray(state["bias"]))
    np.testing.assert_allclose(y, expected, **TOLERANCE)
    np.testing.assert_array_equal(new["scale"], state["scale"])


@pytest.mark.parametrize("devices", [1, 8])
def test_running_statistics_are_averages_of_what_was_seen(devices: int) -> None:
    _, state = _variables()
    batches = [_batch(seed) * (seed + 1) for seed in range(3)]
    for batch in batches:
        _, state = _train(state, batch, devices)
    # Weights fall by the momentum into the past and add up to one: nothing is left of the start.
    weights = MOMENTUM ** np.arange(2, -1, -1.0)
    weights /= weights.sum()
    means = [w * b.mean((0, 1, 2)) for w, b in zip(weights, batches, strict=True)]
    variances = [w * b.var((0, 1, 2)) for w, b in zip(weights, batches, strict=True)]
    np.testing.assert_allclose(state["mean"], sum(means), **TOLERANCE)
    np.testing.assert_allclose(state["var"], sum(variances), **TOLERANCE)
    np.testing.assert_allclose(state["seen"], 1 - MOMENTUM**3, rtol=1e-6)


def test_with_imported_statistics_the_rule_is_the_usual_one() -> None:
    _, state = _variables()
    x = _batch(0)
    start = {"mean": jnp.full(CHANNELS, 2.0), "var": jnp.full(CHANNELS, 3.0), "seen": jnp.ones(())}
    _, new = _train(state | start, x, 1)
    expected = MOMENTUM * 2 + (1 - MOMENTUM) * x.mean((0, 1, 2))
    np.testing.assert_allclose(new["mean"], expected, **TOLERANCE)
    expected = MOMENTUM * 3 + (1 - MOMENTUM) * x.var((0, 1, 2))
    np.testing.assert_allclose(new["var"], expected, **TOLERANCE)


def test_evaluation_uses_the_running_statistics_and_keeps_them() -> None:
    graphdef, state = _variables()
    _, state = _train(state, _batch(0), 1)
    model = nnx.merge(graphdef, nnx.State(state), copy=True)
    model.eval()
    x = _batch(7)
    mean, var, scale, bias = (np.asarray(state[k]) for k in ("mean", "var", "scale", "bias"))
    expected = (x - mean) / np.sqrt(var + EPSILON) * scale + bias
    np.testing.assert_allclose(model(jnp.asarray(x)), expected, **TOLERANCE)
    np.testing.assert_array_equal(model.mean[...], mean)


@pytest.mark.parametrize("devices", [1, 8])
def test_gradients_are_those_of_the_formula(devices: int) -> None:
    x, (graphdef, state) = _batch(0), _variables()
    weights = np.random.default_rng(5).normal(size=x.shape).astype(np.float32)

    def local(scale: Array, bias: Array, x: Array, weights: Array) -> Array:
        changed = nnx.State(state | {"scale": scale, "bias": bias})
        return jnp.sum(nnx.merge(graphdef, changed, copy=True)(x) * weights)

    def share(scale: Array, bias: Array, x: Array, weights: Array) -> tuple[Array, ...]:
        by_scale, by_bias, by_x = jax.grad(local, (0, 1, 2))(scale, bias, x, weights)
        return jax.lax.psum(by_scale, AXIS), jax.lax.psum(by_bias, AXIS), by_x

    shares = [a.reshape(devices, -1, *a.shape[1:]) for a in (x, weights)]
    mapped = jax.pmap(share, axis_name=AXIS, in_axes=(None, None, 0, 0), out_axes=(None, None, 0))
    by_scale, by_bias, by_x = mapped(state["scale"], state["bias"], *shares)

    with jax.numpy_rank_promotion("allow"):
        wanted = jax.grad(lambda s, b, x: jnp.sum(_formula(x, s, b) * weights), (0, 1, 2))(
            state["scale"], state["bias"], jnp.asarray(x)
        )
    np.testing.assert_allclose(by_scale, wanted[0], **TOLERANCE)
    np.testing.assert_allclose(by_bias, wanted[1], **TOLERANCE)
    np.testing.assert_allclose(by_x.reshape(x.shape), wanted[2], **TOLERANCE)


# Relative to the largest number; bfloat16 keeps 8 bits.
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.01)])
@pytest.mark.parametrize("shape", [(3, 7, 5), (1, 9, 3)], ids=str)
def test_odd_sides_single_images_and_bfloat16(
    shape: tuple[int, int, int], dtype: type, tolerance: float
) -> None:
    """Value and gradients by everything, of the written-out form and of autodiff's."""
    graphdef, state = _variables()
    rng = np.random.default_rng(1)
    x, weights = (jnp.asarray(rng.normal(size=(*shape, CHANNELS)), dtype) for _ in range(2))

    def ours(scale: Array, bias: Array, x: Array) -> Array:
        changed = nnx.State(state | {"scale": scale, "bias": bias})
        return nnx.merge(graphdef, changed, copy=True)(x)

    def pulled(scale: Array, bias: Array, x: Array, weights: Array) -> tuple[Array, ...]:
        value, pull = jax.vjp(ours, scale, bias, x)
        return value, *pull(weights)

    inputs = state["scale"], state["bias"], x
    found = jax.vmap(pulled, (None, None, 0, 0), axis_name=AXIS)(
        *inputs[:2], x[None], weights[None]
    )
    with jax.numpy_rank_promotion("allow"):
        wide = x.astype(jnp.float32)
        value, pull = jax.vjp(lambda s, b, x: _formula(x, s, b), *inputs[:2], wide)
        expected = value, *pull(weights.astype(jnp.float32))
    assert [leaf.dtype for leaf in found] == [dtype, jnp.float32, jnp.float32, dtype]
    for leaf, wanted in zip(found, expected, strict=True):
        error = np.max(np.abs(leaf[0].astype(jnp.float32) - wanted))
        assert error <= tolerance * np.max(np.abs(wanted))


def test_statistics_are_float32_of_bfloat16_activations() -> None:
    _, state = _variables()
    x = jnp.asarray(_batch(0), jnp.bfloat16)
    y, new = _train(state, x, 1)
    assert y.dtype == jnp.bfloat16
    mean = np.asarray(x).astype(np.float64).mean((0, 1, 2))
    np.testing.assert_allclose(new["mean"], mean, **TOLERANCE)  # bfloat16 keeps three digits


def test_variance_of_a_constant_is_zero_and_not_negative() -> None:
    x = np.full((8, 4, 4, CHANNELS), 1000.1, np.float32)
    y, new = _train(_variables()[1], x, 8)
    assert np.all(new["var"] >= 0)
    assert np.all(np.isfinite(y))
