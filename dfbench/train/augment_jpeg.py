"""What JPEG loses of a picture: the 8x8 cosine transform, quantised; no file is made.

As libjpeg does by default: YCbCr, colour at half the resolution, the standard's tables scaled by a
quality (ITU-T T.81, annex K). Entropy coding loses nothing and is left out.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Key

Picture = Float[Array, "height width 3"]
Plane = Float[Array, "height width channel"]

_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# Rows: Y, Cb, Cr of red, green, blue; Cb and Cr about 0.
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)


def _cosines() -> Float[np.ndarray, "8 8"]:
    """Return the orthonormal cosine transform: frequencies by places."""
    place, frequency = np.arange(8)[None, :], np.arange(8)[:, None]
    matrix = np.cos(math.pi * (2 * place + 1) * frequency / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.astype(np.float32)


_COSINES = _cosines()


def random_jpeg(image: Picture, key: Key[Array, ""], quality: tuple[int, int]) -> Picture:
    """Compress by a whole quality drawn from a range, both ends within."""
    return jpeg(image, jax.random.randint(key, (), quality[0], quality[1] + 1))


def jpeg(image: Picture, quality: Int[Array, ""]) -> Picture:
    """Return what is left of a picture in [0, 1] after it was a JPEG file of a quality, 1 to 100.

    Sides of any length are continued by their last pixel, as libjpeg does.
    """
    height, width = image.shape[:2]
    pixels = jnp.round(image * 255)
    pixels = jnp.pad(pixels, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
    ycc = _mixed(pixels, _TO_YCC)
    luma = _quantised(jnp.round(ycc[..., :1]) - 128, _table(_LUMINANCE, quality)) + 128
    chroma = _quantised(jnp.round(_halved(ycc[..., 1:])), _table(_CHROMINANCE, quality))
    full = jax.image.resize(_rounded(chroma), (*luma.shape[:2], 2), "bilinear")
    rgb = _mixed(jnp.concatenate([_rounded(luma), full], axis=-1), _TO_RGB)
    return jnp.clip(jnp.round(rgb[:height, :width]), 0, 255) * (1 / 255)


def _mixed(pixels: Plane, matrix: Float[np.ndarray, "3 3"]) -> Plane:
    """Apply a matrix to the channels, as sums: exact in float32 on any device."""
    columns = [sum(pixels[..., i] * weight for i, weight in enumerate(row)) for row in matrix]
    return jnp.stack(columns, axis=-1)


def _rounded(plane: Array) -> Array:
    """Round halves up, as libjpeg does: a flat block often ends on one, or in floats just below."""
    return jnp.floor(plane + 0.501)


def _halved(plane: Plane) -> Plane:
    """Average squares of four pixels."""
    height, width, channels = plane.shape
    return plane.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))


def _table(base: tuple[tuple[int, ...], ...], quality: Int[Array, ""]) -> Float[Array, "8 8"]:
    """Scale a table of the standard as libjpeg does; 50 leaves it as it is."""
    scale = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    steps = (jnp.asarray(base, jnp.int32) * scale + 50) // 100
    return jnp.clip(steps, 1, 255).astype(jnp.float32)


def _quantised(plane: Plane, table: Float[Array, "8 8"]) -> Plane:
    """Round the cosine transform of each 8x8 block to multiples of the table."""
    height, width, channels = plane.shape
    blocks = plane.reshape(height // 8, 8, width // 8, 8, channels)
    cosines, exact = jnp.asarray(_COSINES), jax.lax.Precision.HIGHEST

    def transformed(blocks: Array, matrix: Array) -> Array:
        """Apply a matrix to the rows and to the columns of each block."""
        return jnp.einsum("ui,vj,yixjc->yuxvc", matrix, matrix, blocks, precision=exact)

    steps = table[None, :, None, :, None]
    wanted = transformed(blocks, cosines) / steps
    kept = jnp.sign(wanted) * _rounded(jnp.abs(wanted)) * steps
    return transformed(kept, cosines.T).reshape(plane.shape)
