"""Warps against OpenCV, and against the Keras generator whose settings reports give."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.train import NO_AUGMENT

from dfbench.config import AugmentConfig
from dfbench.train.augment import augment, example_keys
from dfbench.train.augment_warp import warp, warp_matrix

SIDE = 32
NUMBER = 64
EVERYTHING = replace(NO_AUGMENT, rotate=120.0, shift=0.5, shear=60.0, zoom=0.9)


def _picture(height: int = SIDE, width: int = SIDE, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).uniform(size=(8, 8, 3)).astype(np.float32)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def _keys() -> Array:
    return example_keys(0, jnp.int32(0), jnp.arange(NUMBER, dtype=jnp.int32))


@partial(jax.jit, static_argnums=2)
def _augment(images: Array, keys: Array, config: AugmentConfig) -> Array:
    return augment(images, keys, config)


def _places() -> Array:
    """Pictures whose first two channels say where each pixel is, from the middle, in sides."""
    steps = (np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2) / SIDE
    x, y = np.broadcast_to(steps[None, :], (SIDE, SIDE)), steps[:, None] + np.zeros((1, SIDE))
    picture = np.stack([x, y, 0 * x], axis=-1).astype(np.float32) + 0.5
    return jnp.asarray(np.broadcast_to(picture, (NUMBER, SIDE, SIDE, 3)))


def _maps(config: AugmentConfig) -> np.ndarray:
    """Return the affine maps [example, 2, 3] that augmentation drew, from where pixels came."""
    found = np.asarray(_augment(_places(), _keys(), config)).astype(np.float64) - 0.5
    middle = slice(SIDE // 2 - 1, SIDE // 2 + 1)  # small enough to come from within the picture
    square = found[:, middle, middle, :2]
    x, y = (np.diff(square, axis=axis).mean((1, 2)) * SIDE for axis in (2, 1))
    return np.stack([x, y, square.mean((1, 2))], axis=-1)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40)])
@pytest.mark.parametrize(
    "values",
    [
        (0.4, 0, 0, 0, 1, 1),
        (0, 5, -3, 0, 1, 1),
        (0, 0, 0, 0.5, 1, 1),
        (0, 0, 0, 0, 1.5, 0.7),
        (-2, 3.5, -6.25, 0.8, 0.6, 1.7),
    ],
    ids=["rotate", "shift", "shear", "zoom", "all"],
)
def test_the_same_as_opencv(height: int, width: int, values: tuple[float, ...]) -> None:
    """OpenCV rounds places to a 32nd of a pixel."""
    angle, right, down, shear, *zoom = values
    matrix = warp_matrix(
        angle=jnp.float32(angle),
        shift=jnp.float32([right, down]),
        shear=jnp.float32(shear),
        zoom=jnp.float32(zoom),
    )
    picture, middle = _picture(height, width), np.array([(width - 1) / 2, (height - 1) / 2])
    wide = np.asarray(matrix, np.float64)
    wide[:, 2] += middle - wide[:, :2] @ middle  # OpenCV counts from the corner
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    wanted = cv2.warpAffine(
        picture, wide, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    found = np.asarray(jax.jit(warp)(jnp.asarray(picture), matrix))
    steepest = max(np.abs(np.diff(picture, axis=axis)).max() for axis in (0, 1))
    np.testing.assert_allclose(found, wanted, atol=2 * steepest / 32)
    assert np.abs(found - wanted).mean() < 0.1 * steepest / 32 + 1e-3
    assert np.abs(found - picture).mean() > 0.03


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
def test_the_same_as_kerass_generator() -> None:
    import dfbench.models.keras_graph  # noqa: F401  (imports Keras on JAX)

    image = importlib.import_module("keras.src.legacy.preprocessing.image")
    theta, down, right, shear, zx, zy = 37.0, 3.0, -4.5, 50.0, 0.8, 1.3
    values: dict[str, Any] = {"theta": theta, "tx": down, "ty": right, "shear": shear}
    axes = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
    wanted = image.apply_affine_transform(_picture(), **values, zx=zx, zy=zy, **axes)
    matrix = warp_matrix(
        angle=jnp.deg2rad(jnp.float32(theta)),
        shift=jnp.float32([down, right]),  # Keras's x is the column here, whatever it says
        shear=jnp.deg2rad(jnp.float32(shear)),
        zoom=jnp.float32([zx, zy]),
    )
    np.testing.assert_allclose(warp(jnp.asarray(_picture()), matrix), wanted, atol=1e-4)


def test_ranges_of_nought_are_the_identity() -> None:
    images = jnp.asarray(np.stack([_picture(seed=n) for n in range(NUMBER)]))
    np.testing.assert_array_equal(_augment(images, _keys(), NO_AUGMENT), images)
    never = replace(EVERYTHING, warp=0.0)
    np.testing.assert_array_equal(_augment(images, _keys(), never), images)
    # A range so small that nothing can move: the map is applied, and finds each pixel.
    almost = _augment(images, _keys(), replace(NO_AUGMENT, rotate=1e-6))
    np.testing.assert_allclose(almost, images, atol=1e-5)


def test_draws_fill_their_ranges() -> None:
    turned = _maps(replace(NO_AUGMENT, rotate=30.0))
    angles = np.rad2deg(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]))
    assert -30.1 < angles.min() < -25
    assert 25 < angles.max() < 30.1
    np.testing.assert_allclose(np.linalg.det(turned[:, :, :2]), 1, atol=1e-3)

    zoomed = _maps(replace(NO_AUGMENT, zoom=0.25))
    sides = zoomed[:, (0, 1), (0, 1)]
    assert 0.74 < sides.min() < 0.78
    assert 1.22 < sides.max() < 1.26
    assert np.abs(np.corrcoef(sides.T)[0, 1]) < 0.4  # each side on its own

    shifted = _maps(replace(NO_AUGMENT, shift=0.2))[:, :, 2]
    assert np.abs(shifted).max() < 0.201
    assert np.all(np.abs(shifted).max(0) > 0.17)

    sheared = _maps(replace(NO_AUGMENT, shear=20.0))
    tilts = np.rad2deg(np.arcsin(-sheared[:, 0, 1]))
    assert 17 < np.abs(tilts).max() < 20.1
    np.testing.assert_allclose(sheared[:, 1, 0], 0, atol=1e-3)


def test_probability_of_a_warp() -> None:
    config = replace(EVERYTHING, warp=0.3)
    moved = np.abs(_maps(config)[:, :, :2] - np.eye(2)).max((1, 2)) > 0.01
    assert abs(np.mean(moved) - 0.3) < 0.23  # four standard errors


def test_the_border_is_repeated() -> None:
    """A picture far outside shows its border: no black, no wrapping around."""
    picture = jnp.asarray(_picture())
    matrix = jnp.float32([[1, 0, 500], [0, 1, 0]])
    found = np.asarray(warp(picture, matrix))
    np.testing.assert_allclose(found, np.broadcast_to(picture[:, -1:], found.shape), atol=1e-6)


def test_vertical_flips() -> None:
    images = _places()
    flipped = _augment(images, _keys(), replace(NO_AUGMENT, flip_vertical=1.0))
    np.testing.assert_array_equal(flipped, images[:, ::-1])
    some = _augment(images, _keys(), replace(NO_AUGMENT, flip=0.5, flip_vertical=0.5))
    corners = np.asarray(some)[:, 0, 0, :2] < 0.5
    assert len(np.unique(corners, axis=0)) == 4  # both, one, the other, none
