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

SHAPES = [(3, 8, 6), (3, 7, 7), (1, 8, 5), (1, 1, 3)]  # batch, height, width
CHANNELS = 6
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=str)
# Sums of at most 18 (or, of the kernel's gradient, 3 * 64) float32 products of order one, added in
# another order: some 1e-6; a wrong tap or border is off by order one.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
# Of the largest number; bfloat16 keeps 8 bits, and 18 products are each rounded and added.
BFLOAT16_ERROR = 0.03


def _normal(seed: int, *shape: int) -> Array:
    """Numbers that bfloat16 has too, in float32."""
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values, jnp.bfloat16).astype(jnp.float32)


def _distinct(batch: int, height: int, width: int) -> Array:
    """Images without ties, of which pooling's gradient would depend on the form."""
    size = batch * height * width * CHANNELS
    order = np.random.default_rng(2).permutation(size).reshape(batch, height, width, CHANNELS)
    # Neighbours among the numbers of bfloat16, from 1/4 up, with either sign.
    bits = (0x3E80 + order // 2 + 0x8000 * (order % 2)).astype(np.uint16)
    return jnp.asarray(bits).view(jnp.bfloat16).astype(jnp.float32)


def _value_and_gradients(
    function: Callable[..., Array],
) -> Callable[..., tuple[Array, tuple[Array, ...]]]:
    def both(cotangent: Array, *inputs: Array) -> tuple[Array, tuple[Array, ...]]:
        value, pull = jax.vjp(function, *inputs)
        return value, pull(cotangent)

    return both


def _run(function: Callable[..., Array], dtype: type, *inputs: Array) -> list[Array]:
    """Return the value, and the gradients by every input."""
    inputs = tuple(leaf.astype(dtype) for leaf in inputs)
    cotangent = _normal(9, *jax.eval_shape(function, *inputs).shape).astype(dtype)
    value, gradients = jax.jit(_value_and_gradients(function))(cotangent, *inputs)
    return [value, *gradients]


def _assert_same(function: Callable[..., Array], *inputs: Array) -> None:
    """Compare the CPU form, in float32 and in bfloat16, with that of lax in float32."""
    with lowering.traced_as("plain"):
        expected = _run(function, jnp.float32, *inputs)
    found = _run(function, jnp.float32, *inputs)
    narrow = _run(function, jnp.bfloat16, *inputs)
    for wanted, wide, rounded in zip(expected, found, narrow, strict=True):
        assert np.any(wanted != 0)
        np.testing.assert_allclose(wide, wanted, **TOLERANCE)
        assert rounded.dtype == jnp.bfloat16
        error = np.max(np.abs(rounded.astype(jnp.float32) - wanted))
        assert error <= BFLOAT16_ERROR * np.max(np.abs(wanted))


def test_cpu_forms_are_in_use_on_a_cpu() -> None:
    assert lowering.shifted()
    with lowering.traced_as("plain"):
        assert not lowering.shifted()
        with lowering.traced_as("shifted"):
            assert lowering.shifted()
        assert not lowering.shifted()
    assert lowering.shifted()


@EVERY_SHAPE
def test_depthwise(shape: tuple[int, int, int]) -> None:
    images, kernel = _normal(0, *shape, CHANNELS), _normal(1, 3, 3, 1, CHANNELS)
    _assert_same(lowering.depthwise3x3, images, kernel)


@EVERY_SHAPE
def test_grouped(shape: tuple[int, int, int]) -> None:
    images, kernel = _normal(0, *shape, CHANNELS), _normal(1, 3, 3, 2, CHANNELS)
    _assert_same(lowering.grouped3x3, images, kernel)


def test_groups_are_pairs_of_neighbours() -> None:
    images = _normal(0, 1, 5, 5, CHANNELS)
    kernel = _normal(1, 3, 3, 2, CHANNELS)
    changed = lowering.grouped3x3(images.at[..., 2].add(1.0), kernel)
    moved = np.any(np.asarray(changed != lowering.grouped3x3(images, kernel)), (0, 1, 2))
    assert moved.tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize("stride", [1, 2, 3])
@EVERY_SHAPE
def test_pointwise(shape: tuple[int, int, int], stride: int) -> None:
    images, kernel = _normal(0, *shape, CHANNELS), _normal(1, 1, 1, CHANNELS, 4)
    _assert_same(partial(lowering.pointwise, stride=stride), images, kernel)


@pytest.mark.parametrize(
    ("side", "stride", "padding"), [(3, 1, 0), (3, 2, 0), (3, 2, 1), (5, 1, 2), (7, 2, 3)]
)
@pytest.mark.parametrize("shape", [(3, 8, 7), (1, 9, 9)], ids=str)
def test_convolution(shape: tuple[int, int, int], side: int, stride: int, padding: int) -> None:
    images, kernel = _normal(0, *shape, CHANNELS), _normal(1, side, side, CHANNELS, 4)
    _assert_same(partial(lowering.convolution, stride=stride, padding=padding), images, kernel)


@pytest.mark.parametrize("border", [-np.inf, 0.0])
@EVERY_SHAPE
def test_max_pool3x3(shape: tuple[int, int, int], border: float) -> None:
    images = _distinct(*shape)
    _assert_same(partial(lowering.max_pool3x3, border=border), images)
    batch, height, width = shape
    pooled = lowering.max_pool3x3(-jnp.abs(images), border=border)
    assert pooled.shape == (batch, -(-height // 2), -(-width // 2), CHANNELS)
    assert np.all(pooled[:, 0] == 0 if border == 0 else pooled < 0)


@pytest.mark.parametrize("window", [2, 4])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 11)], ids=str)
def test_max_pool(shape: tuple[int, int, int], window: int) -> None:
    _assert_same(partial(lowering.max_pool, window=window), _distinct(*shape))
