"""Rotation, shift, shear and zoom as one affine warp: bilinear, border repeated.

The map is that of Keras's `ImageDataGenerator`, whose settings the field's reports give.

By `jax.scipy.ndimage.map_coordinates`: dm-pix 0.4.5 has the same operation, but was 50 times slower
on a CPU and does not work under strict promotion of types (`benchmarks/speed/augment.py`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Float, Key

from dfbench.config import AugmentConfig

Image = Float[Array, "height width channel"]


def random_warp(image: Image, key: Key[Array, ""], config: AugmentConfig) -> Image:
    """Warp by angles, shifts and scales drawn evenly from their ranges."""
    draw = jax.random.uniform(key, (6,), minval=-1.0)
    matrix = warp_matrix(
        angle=jnp.deg2rad(draw[0] * config.rotate),
        shift=draw[1:3] * config.shift * jnp.asarray(image.shape[1::-1], jnp.float32),
        shear=jnp.deg2rad(draw[3] * config.shear),
        zoom=1 + draw[4:6] * config.zoom,
    )
    return warp(image, matrix)


def warp_matrix(
    *,
    angle: Float[Array, ""],
    shift: Float[Array, " 2"],
    shear: Float[Array, ""],
    zoom: Float[Array, " 2"],
) -> Float[Array, "2 3"]:
    """Return the map from a place in the result to one in the picture; x, y from the middle.

    Args:
        angle: Radians.
        shift: To the right and down, px.
        shear: Radians.
        zoom: How much of the picture's width and height is seen.
    """
    rotation = jnp.stack([jnp.cos(angle), -jnp.sin(angle), jnp.sin(angle), jnp.cos(angle)])
    one, zero = jnp.ones(()), jnp.zeros(())
    sheared = jnp.stack([one, -jnp.sin(shear), zero, jnp.cos(shear)])
    rotation, sheared = rotation.reshape(2, 2), sheared.reshape(2, 2)
    exact = jax.lax.Precision.HIGHEST  # places of pixels; a GPU's TF32 has ten bits
    turned = jnp.matmul(rotation, sheared, precision=exact) * zoom[None, :]
    return jnp.concatenate([turned, jnp.matmul(rotation, shift, precision=exact)[:, None]], axis=1)


def warp(image: Image, matrix: Float[Array, "2 3"]) -> Image:
    """Take each pixel of the result from where `warp_matrix` says."""
    height, width = image.shape[:2]
    x = (jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2)[None, :]
    y = (jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2)[:, None]
    from_x, from_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
    places = [from_y + (height - 1) / 2, from_x + (width - 1) / 2]

    def resample(channel: Array) -> Array:
        sampled: Array = map_coordinates(channel, places, order=1, mode="nearest")
        return sampled

    warped: Array = jax.vmap(resample, in_axes=-1, out_axes=-1)(image)
    return warped
