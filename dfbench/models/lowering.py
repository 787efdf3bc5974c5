"""The same sums, written so that XLA runs them fast on a CPU.

On a CPU, XLA runs a depthwise convolution 10 to 40 times slower than nine shifted
multiply-adds, the gradient of one in groups of two channels 400 times slower, a 1x1 convolution
slower than the matrix product it is, the gradient by a kernel 6 times slower than matrix products
image by image, and the gradient of max-pooling (select-and-scatter) 5 to 12 times slower than
shifted maxima. On other platforms the plain operations of `jax.lax` stay.
Values are equal to rounding; where several entries of a pooling window tie, the shifted maxima
share the gradient out instead of choosing one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

Form = Literal["plain", "shifted"]
_NHWC = ("NHWC", "HWIO", "NHWC")
_form: ContextVar[Form | None] = ContextVar("form", default=None)


def shifted() -> bool:
    """Return whether the CPU forms are in use."""
    form = _form.get()
    return form == "shifted" if form else jax.default_backend() == "cpu"


@contextmanager
def traced_as(form: Form) -> Iterator[None]:
    """Trace the operations of `jax.lax`, or the CPU forms, on every platform."""
    token = _form.set(form)
    try:
        yield
    finally:
        _form.reset(token)


def depthwise3x3(
    images: Float[Array, "batch height width channel"],
    kernel: Float[Array, "3 3 1 channel"],
) -> Float[Array, "batch height width channel"]:
    """Convolve each channel with its own 3x3 kernel, stride 1, zero padding 1."""
    return (_depthwise_shifts if shifted() else _depthwise_lax)(images, kernel)


def _depthwise_lax(images: Array, kernel: Array) -> Array:
    return _convolve_groups(images, kernel, images.shape[-1])


def _convolve_groups(images: Array, kernel: Array, groups: int) -> Array:
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(1, 1),
        padding=((1, 1), (1, 1)),
        dimension_numbers=_NHWC,
        feature_group_count=groups,
    )


def _windows3x3(images: Array) -> list[Array]:
    """Return the nine shifts of `images`, zeros beyond the border, row by row."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]


@jax.custom_vjp
def _depthwise_shifts(images: Array, kernel: Array) -> Array:
    taps = kernel.reshape(9, 1, 1, 1, -1)
    products = [window * tap for window, tap in zip(_windows3x3(images), taps, strict=True)]
    total: Array = functools.reduce(jnp.add, products)
    return total


def _depthwise_forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _depthwise_shifts(images, kernel), (images, kernel)


def _depthwise_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    images, kernel = saved
    grad_images = _depthwise_shifts(gradient, kernel[::-1, ::-1])
    return grad_images, _tap_gradients(images, gradient, kernel.dtype)


def _tap_gradients(images: Array, gradient: Array, dtype: jnp.dtype) -> Array:
    """Return the gradient by a depthwise kernel, [3, 3, 1, channel]."""
    _, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    ones = jnp.ones((1, width), images.dtype)

    # Row by row the products fit the cache, and a sum that is a matrix product runs along the
    # channels; XLA's own walks down one channel after the other.
    def add_image(total: Array, example: tuple[Array, Array]) -> tuple[Array, None]:
        image, grad = example

        def add_row(total: Array, row: Array) -> tuple[Array, None]:
            near = lax.dynamic_slice_in_dim(image, row, 3)
            here = lax.dynamic_index_in_dim(grad, row, keepdims=False)
            products = [near[i, j : j + width] * here for i in range(3) for j in range(3)]
            sums = [jnp.matmul(ones, p, preferred_element_type=jnp.float32) for p in products]
            return total + jnp.concatenate(sums), None

        return lax.scan(add_row, total, jnp.arange(height, dtype=jnp.int32))[0], None

    start = jnp.zeros((9, channels), jnp.float32)
    total, _ = lax.scan(add_image, start, (padded, gradient))
    return total.reshape(3, 3, 1, -1).astype(dtype)


_depthwise_shifts.defvjp(_depthwise_forward, _depthwise_backward)


def grouped3x3(
    images: Float[Array, "batch height width channel"],
    kernel: Float[Array, "3 3 2 channel"],
) -> Float[Array, "batch height width channel"]:
    """Convolve pairs of channels 3x3, stride 1, zero padding 1.

    The output channels 2g and 2g + 1 see the input channels 2g and 2g + 1.
    """
    return (_grouped_shifts if shifted() else _grouped_lax)(images, kernel)


def _grouped_lax(images: Array, kernel: Array) -> Array:
    return _convolve_groups(images, kernel, images.shape[-1] // 2)


def _swapped(x: Array) -> Array:
    """Exchange the channels of each pair."""
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    return pairs[..., ::-1].reshape(x.shape)


def _swapped_once(images: Array) -> Array:
    """Do the same in a loop of its own: XLA would else do it again for each of the nine shifts."""
    swapped: Array = lax.map(_swapped, images)
    return swapped


def _halves(kernel: Array) -> tuple[Array, Array]:
    """Return two depthwise kernels: of a channel itself, and of the other one in its pair."""
    even = jnp.arange(kernel.shape[-1], dtype=jnp.int32)[None, None, :] % 2 == 0
    first, second = kernel[:, :, 0], kernel[:, :, 1]
    own, other = jnp.where(even, first, second), jnp.where(even, second, first)
    return own[:, :, None], other[:, :, None]


def _joined(own: Array, other: Array) -> Array:
    """Undo `_halves`."""
    even = jnp.arange(own.shape[-1], dtype=jnp.int32)[None, None, None, :] % 2 == 0
    return jnp.concatenate([jnp.where(even, own, other), jnp.where(even, other, own)], axis=2)


@jax.custom_vjp
def _grouped_shifts(images: Array, kernel: Array) -> Array:
    own, other = _halves(kernel)
    return _depthwise_shifts(images, own) + _depthwise_shifts(_swapped_once(images), other)


def _grouped_forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _grouped_shifts(images, kernel), (images, kernel)


def _grouped_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    images, kernel = saved
    own, other = _halves(kernel[::-1, ::-1])
    # A channel reaches the other one of its pair through that one's kernel.
    grad_images = _grouped_shifts(gradient, _joined(own, _swapped(other)))
    taps = [_tap_gradients(x, gradient, kernel.dtype) for x in (images, _swapped_once(images))]
    return grad_images, _joined(*taps)


_grouped_shifts.defvjp(_grouped_forward, _grouped_backward)


def pointwise(
    images: Float[Array, "batch height width channel"],
    kernel: Float[Array, "1 1 channel out"],
    stride: int = 1,
) -> Float[Array, "batch height2 width2 out"]:
    """1x1 convolution without padding."""
    if shifted():
        return _product(images[:, ::stride, ::stride], kernel[0, 0])
    return lax.conv_general_dilated(
        images, kernel, (stride, stride), "VALID", dimension_numbers=_NHWC
    )


@jax.custom_vjp
def _product(images: Array, matrix: Array) -> Array:
    return images @ matrix


def _product_forward(images: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    return images @ matrix, (images, matrix)


def _product_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    images, matrix = saved

    # Image by image: what computed `gradient` would else be fused into its transposed copy, and
    # run there column by column.
    def add(total: Array, example: tuple[Array, Array]) -> tuple[Array, None]:
        image, grad = example
        product = jnp.einsum("hwc,hwd->cd", image, grad, preferred_element_type=jnp.float32)
        return total + product, None

    total, _ = lax.scan(add, jnp.zeros(matrix.shape, jnp.float32), (images, gradient))
    return gradient @ matrix.T, total.astype(matrix.dtype)


_product.defvjp(_product_forward, _product_backward)


def convolution(
    images: Float[Array, "batch height width channel"],
    kernel: Float[Array, "side side channel out"],
    *,
    stride: int = 1,
    padding: int = 0,
) -> Float[Array, "batch height2 width2 out"]:
    """Convolve all channels with each other, zeros beyond the border."""
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    convolve = _convolution_rows if shifted() else _convolution_lax
    return convolve(jnp.pad(images, pads) if padding else images, kernel, stride)


def _convolution_lax(images: Array, kernel: Array, stride: int) -> Array:
    return lax.conv_general_dilated(
        images, kernel, (stride, stride), "VALID", dimension_numbers=_NHWC
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolution_rows(images: Array, kernel: Array, stride: int) -> Array:
    return _convolution_lax(images, kernel, stride)


def _convolution_forward(
    images: Array, kernel: Array, stride: int
) -> tuple[Array, tuple[Array, Array]]:
    return _convolution_lax(images, kernel, stride), (images, kernel)


def _convolution_backward(
    stride: int, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    images, kernel = saved
    side, channels = kernel.shape[0], kernel.shape[2]
    _, back = jax.vjp(lambda x: _convolution_lax(x, kernel, stride), images)

    # A row of the kernel at a time is a matrix product with the neighbours side by side.
    def add(total: Array, example: tuple[Array, Array]) -> tuple[Array, None]:
        image, grad = example
        height, width = ((n - 1) * stride + 1 for n in grad.shape[:2])
        rows = []
        for i in range(side):
            shifts = [image[i : i + height : stride, j : j + width : stride] for j in range(side)]
            near = jnp.concatenate(shifts, -1)
            rows.append(jnp.einsum("hwc,hwd->cd", near, grad, preferred_element_type=jnp.float32))
        return total + jnp.stack(rows).reshape(total.shape), None

    start = jnp.zeros((side, side, channels, kernel.shape[3]), jnp.float32)
    total, _ = lax.scan(add, start, (images, gradient))
    return back(gradient)[0], total.astype(kernel.dtype)


_convolution_rows.defvjp(_convolution_forward, _convolution_backward)


def max_pool3x3(
    images: Float[Array, "batch height width channel"], *, border: float = -np.inf
) -> Float[Array, "batch height2 width2 channel"]:
    """Max-pool 3x3, stride 2, padding 1 (of `border`); the side becomes ceil(side / 2)."""
    return (_pool3_shifts if shifted() else _pool3_lax)(images, border)


def _pool3_lax(images: Array, border: float) -> Array:
    if border == -np.inf:
        return _reduce_max(images, 3, 2, 1)
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    return _reduce_max(jnp.pad(images, pads, constant_values=border), 3, 2, 0)


def _reduce_max(images: Array, window: int, stride: int, padding: int) -> Array:
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    # NumPy's: by a traced value JAX does not see that this is a maximum, which has a gradient.
    low = np.asarray(-np.inf, images.dtype)
    sides, strides = (1, window, window, 1), (1, stride, stride, 1)
    pooled: Array = lax.reduce_window(images, low, lax.max, sides, strides, pads)
    return pooled


def _pool3_shifts(images: Array, border: float) -> Array:
    height, width = images.shape[1:3]
    out_h, out_w = (height + 1) // 2, (width + 1) // 2
    # One more row and column than reached where the side is odd, so that one slice rule serves.
    pads = ((0, 0), (1, 2 * out_h + 1 - height), (1, 2 * out_w + 1 - width), (0, 0))
    padded = jnp.pad(images, pads, constant_values=border)
    rows = [padded[:, i : i + 2 * out_h : 2] for i in range(3)]
    tall = functools.reduce(jnp.maximum, rows)
    return functools.reduce(jnp.maximum, [tall[:, :, j : j + 2 * out_w : 2] for j in range(3)])


def max_pool(
    images: Float[Array, "batch height width channel"], window: int
) -> Float[Array, "batch height2 width2 channel"]:
    """Max-pool in windows that do not overlap; sides that are no multiple lose the rest."""
    batch, height, width, channels = images.shape
    out_h, out_w = height // window, width // window
    images = images[:, : out_h * window, : out_w * window]
    if not shifted():
        return _reduce_max(images, window, window, 0)
    split = images.reshape(batch, out_h, window, out_w, window, channels)
    tall = functools.reduce(jnp.maximum, [split[:, :, i] for i in range(window)])
    return functools.reduce(jnp.maximum, [tall[:, :, :, j] for j in range(window)])
