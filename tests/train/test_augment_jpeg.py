"""JPEG's losses against files of libjpeg."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from PIL import Image
from support.raw import Pool
from support.train import NO_AUGMENT

from dfbench.config import AugmentConfig
from dfbench.train.augment import augment, example_keys
from dfbench.train.augment_jpeg import _CHROMINANCE, _LUMINANCE, _table, jpeg

_jpeg = jax.jit(jpeg)
SIDE, NUMBER = 16, 64


@pytest.fixture(scope="module")
def picture(pool: Pool) -> np.ndarray:
    """A rendered face, whose sides are no multiples of a block."""
    return pool.frames(0)[0][:121, :107]


def _ours(picture: np.ndarray, quality: int) -> np.ndarray:
    unit = jnp.asarray(picture, jnp.float32) / 255
    return np.asarray(jnp.round(_jpeg(unit, jnp.int32(quality)) * 255)).astype(np.uint8)


def _opencv(picture: np.ndarray, quality: int) -> np.ndarray:
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("quality", [5, 30, 75, 95])
def test_what_is_lost_is_what_a_file_loses(picture: np.ndarray, quality: int) -> None:
    """Both round in another way; what they lose they lose together."""
    ours, wanted = _ours(picture, quality), _opencv(picture, quality)
    assert ours.shape == picture.shape
    lost = _error(wanted, picture)
    assert _error(ours, wanted) < max(0.12 * lost, 0.25)  # grey levels
    assert _error(ours, picture) == pytest.approx(lost, rel=0.05)


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 51, 90, 100])
def test_tables_are_those_of_libjpeg(quality: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    theirs = Image.open(file).quantization  # type: ignore[attr-defined]
    for base, values in zip((_LUMINANCE, _CHROMINANCE), theirs.values(), strict=True):
        table = np.asarray(_table(base, jnp.int32(quality)))
        np.testing.assert_array_equal(table, np.reshape(values, (8, 8)))


def test_a_flat_picture_stays() -> None:
    """Grey by grey: nothing but the mean of a block is there to be quantised."""
    grey = np.full((24, 8, 3), 77, np.uint8)
    assert _error(_ours(grey, 95), grey) <= 1
    assert np.ptp(_ours(grey, 5)) == 0


def test_lower_qualities_lose_more(picture: np.ndarray) -> None:
    errors = [_error(_ours(picture, quality), picture) for quality in (5, 20, 50, 80, 98)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1.5
    assert errors[0] > 4


@partial(jax.jit, static_argnums=2)
def _augment(images: Array, keys: Array, config: AugmentConfig) -> Array:
    return augment(images, keys, config)


def test_probability_and_range_of_qualities() -> None:
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (1, SIDE, SIDE, 3)) / 255, jnp.float32)
    images = jnp.broadcast_to(images, (NUMBER, SIDE, SIDE, 3))
    keys = example_keys(0, jnp.int32(0), jnp.arange(NUMBER, dtype=jnp.int32))
    config = replace(NO_AUGMENT, jpeg=0.4, jpeg_quality=(30, 33))
    found = np.asarray(_augment(images, keys, config))
    wanted = [np.asarray(_jpeg(images[0], jnp.int32(q))) for q in (30, 31, 32, 33)]
    which = [
        [np.allclose(one, other, atol=1e-6) for other in [np.asarray(images[0]), *wanted]]
        for one in found
    ]
    counts = np.sum(which, axis=0)
    assert counts.sum() == NUMBER  # each is one of the five, and they differ
    assert abs(counts[0] / NUMBER - 0.6) < 0.25  # four standard errors
    assert np.all(counts[1:] > 0)
