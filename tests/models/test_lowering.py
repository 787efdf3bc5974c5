"""The CPU forms of convolution and pooling give what the plain operations of lax give."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from dfbench.models import lowering

SIDES = [(8, 6), (7, 7), (8, 5), (1, 3)]
CHANNELS = 5
# Sums of at most 9 (or, of the kernel's gradient, 3 * 64) float32 products of order one, added in
# another order: some 1e-6; a wrong tap or border is off by order one.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def _normal(seed: int, *shape: int) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _distinct(height: int, width: int) -> Array:
    """Images without ties, of which pooling's gradient would depend on the form."""
    size = 3 * height * width * CHANNELS
    values = np.random.default_rng(2).permutation(size).reshape(3, height, width, CHANNELS)
    return jnp.asarray(values / size - 0.5, jnp.float32)


def _value_and_gradients(
    function: Callable[..., Array],
) -> Callable[..., tuple[Array, tuple[Array, ...]]]:
    def both(cotangent: Array, *inputs: Array) -> tuple[Array, tuple[Array, ...]]:
        value, pull = jax.vjp(function, *inputs)
        return value, pull(cotangent)

    return both


def _assert_same(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Array], *inputs: Array
) -> None:
    """Compare values, and gradients by every input, of the CPU forms with those of lax."""
    results = []
    for shifted in (True, False):
        monkeypatch.setattr(lowering, "shifted", lambda shifted=shifted: shifted)
        shape = jax.eval_shape(function, *inputs).shape
        results.append(jax.jit(_value_and_gradients(function))(_normal(9, *shape), *inputs))
    (value, gradients), (expected, expected_gradients) = results
    np.testing.assert_allclose(value, expected, **TOLERANCE)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert np.any(wanted != 0)
        np.testing.assert_allclose(gradient, wanted, **TOLERANCE)


def test_cpu_forms_are_in_use_on_a_cpu() -> None:
    assert lowering.shifted()


@pytest.mark.parametrize(("height", "width"), SIDES)
def test_depthwise(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    images, kernel = _normal(0, 3, height, width, CHANNELS), _normal(1, 3, 3, 1, CHANNELS)
    _assert_same(monkeypatch, lowering.depthwise3x3, images, kernel)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), SIDES)
def test_pointwise(monkeypatch: pytest.MonkeyPatch, height: int, width: int, stride: int) -> None:
    images, kernel = _normal(0, 3, height, width, CHANNELS), _normal(1, 1, 1, CHANNELS, 4)
    _assert_same(monkeypatch, partial(lowering.pointwise, stride=stride), images, kernel)


@pytest.mark.parametrize(("height", "width"), SIDES)
def test_max_pool3x3(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    images = _distinct(height, width)
    _assert_same(monkeypatch, lowering.max_pool3x3, images)
    assert lowering.max_pool3x3(images).shape == (3, -(-height // 2), -(-width // 2), CHANNELS)


@pytest.mark.parametrize("window", [2, 4])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (11, 5)])
def test_max_pool(monkeypatch: pytest.MonkeyPatch, height: int, width: int, window: int) -> None:
    images = _distinct(height, width)
    _assert_same(monkeypatch, partial(lowering.max_pool, window=window), images)
    expected = (3, height // window, width // window, CHANNELS)
    assert lowering.max_pool(images, window).shape == expected


def test_tied_maxima_share_the_gradient() -> None:
    gradient = jax.grad(lambda x: jnp.sum(lowering.max_pool(x, 2)))(jnp.ones((1, 4, 4, 1)))
    np.testing.assert_allclose(gradient, np.full((1, 4, 4, 1), 0.25))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lowering.depthwise3x3, [(2, 6, 6, 4), (3, 3, 1, 4)]),
        (lowering.pointwise, [(2, 6, 6, 4), (1, 1, 4, 8)]),
        (lowering.max_pool3x3, [(2, 6, 6, 4)]),
        (partial(lowering.max_pool, window=2), [(2, 6, 6, 4)]),
    ],
)
def test_bfloat16_stays_bfloat16(
    function: Callable[..., Array], shapes: list[tuple[int, ...]]
) -> None:
    inputs = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
    cotangent = jax.eval_shape(function, *inputs)
    value, gradients = jax.eval_shape(_value_and_gradients(function), cotangent, *inputs)
    assert [leaf.dtype for leaf in (value, *gradients)] == [jnp.bfloat16] * (1 + len(shapes))
