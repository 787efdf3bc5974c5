from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.train import FULL_AUGMENT, NO_AUGMENT

from dfbench.config import AugmentConfig
from dfbench.models.inputs import represent
from dfbench.models.registry import get_model
from dfbench.train.augment import augment, example_keys, prepare_images, to_unit

SIZE, SIDE = 64, 16  # of all batches, so that little compiles


def _images() -> Array:
    values = np.random.default_rng(0).uniform(size=(SIZE, SIDE, SIDE, 3))
    return jnp.asarray(values, jnp.float32)


def _keys(*, step: int = 0, seed: int = 0) -> Array:
    return _example_keys(seed, jnp.int32(step), jnp.arange(SIZE, dtype=jnp.int32))


_example_keys = jax.jit(example_keys)


@partial(jax.jit, static_argnums=2)
def _augment(images: Array, keys: Array, config: AugmentConfig) -> Array:
    return augment(images, keys, config)


def test_nothing_asked_for_is_the_identity() -> None:
    np.testing.assert_array_equal(_augment(_images(), _keys(), NO_AUGMENT), _images())


def test_flip_probability_one_flips_exactly() -> None:
    flipped = _augment(_images(), _keys(), replace(NO_AUGMENT, flip=1.0))
    np.testing.assert_array_equal(flipped, _images()[:, :, ::-1])


def test_flip_probability_is_met() -> None:
    flipped = [_changed(_images(), replace(NO_AUGMENT, flip=0.2), step).mean() for step in range(8)]
    assert abs(np.mean(flipped) - 0.2) < 0.08  # four standard errors of 512 draws


def _changed(images: Array, config: AugmentConfig, step: int = 0) -> np.ndarray:
    return np.any(np.asarray(_augment(images, _keys(step=step), config) != images), (1, 2, 3))


@pytest.mark.parametrize(
    "config", [FULL_AUGMENT, replace(NO_AUGMENT, brightness=1.0, contrast=1.0)]
)
def test_values_stay_in_range(config: AugmentConfig) -> None:
    for images in (_images(), jnp.zeros_like(_images()), jnp.ones_like(_images())):
        result = np.asarray(_augment(images, _keys(), config))
        assert result.min() >= 0
        assert result.max() <= 1
        assert not np.array_equal(result, images)


def test_blur_and_noise_exclude_each_other() -> None:
    """On a grey picture blur does nothing and noise shows; on any other blur shows too."""
    grey = jnp.full_like(_images(), 0.5)
    both, blur = (replace(NO_AUGMENT, blur=0.4, noise=noise) for noise in (0.6, 0.0))
    noise = np.max(np.abs(np.asarray(_augment(grey, _keys(), both)) - 0.5), (1, 2, 3)) > 1e-4
    np.testing.assert_array_equal(noise, ~_changed(_images(), blur))  # 0.4 + 0.6: always one
    assert abs(noise.mean() - 0.6) < 0.25  # four standard errors


def test_blur_smooths_and_keeps_the_mean_of_flat_parts() -> None:
    images = _images()
    blurred = np.asarray(_augment(images, _keys(), replace(NO_AUGMENT, blur=1.0)))
    assert np.all(blurred.var((1, 2)) < np.asarray(images).var((1, 2)))
    grey = _augment(jnp.full_like(images, 0.3), _keys(), replace(NO_AUGMENT, blur=1.0))
    np.testing.assert_allclose(grey, 0.3, rtol=1e-5)  # no dark border


def test_noise_has_the_promised_spread() -> None:
    grey = jnp.full_like(_images(), 0.5)
    spread = np.asarray(_augment(grey, _keys(), replace(NO_AUGMENT, noise=1.0))).std((1, 2, 3))
    # Of 768 draws, a standard deviation is known to 2.6 %.
    assert 0.009 < spread.min() < 0.02
    assert 0.04 < spread.max() < 0.055


def test_brightness_shifts_a_picture_as_a_whole() -> None:
    grey = jnp.full_like(_images(), 0.5)
    shifted = np.asarray(_augment(grey, _keys(), replace(NO_AUGMENT, brightness=0.2)))
    assert np.all(np.ptp(shifted, (1, 2, 3)) == 0)
    shifts = shifted[:, 0, 0, 0] - 0.5
    assert -0.2 <= shifts.min() < -0.15
    assert 0.15 < shifts.max() <= 0.2


def test_contrast_keeps_the_mean() -> None:
    images = 0.4 + 0.2 * _images()
    result = np.asarray(_augment(images, _keys(), replace(NO_AUGMENT, contrast=0.3)))
    np.testing.assert_allclose(result.mean((1, 2, 3)), np.mean(images, (1, 2, 3)), rtol=1e-5)
    ratios = result.std((1, 2, 3)) / np.std(images, (1, 2, 3))
    assert np.all((ratios > 0.69) & (ratios < 1.31))
    assert np.ptp(ratios) > 0.05


def test_the_same_key_does_the_same() -> None:
    first = _augment(_images(), _keys(), FULL_AUGMENT)
    np.testing.assert_array_equal(first, _augment(_images(), _keys(), FULL_AUGMENT))
    for other in (_keys(step=1), _keys(seed=1)):
        assert not np.array_equal(first, _augment(_images(), other, FULL_AUGMENT))


def test_an_example_is_augmented_by_its_position_alone() -> None:
    """Whichever device holds it, and whatever stands before it."""
    order = np.random.default_rng(0).permutation(SIZE)
    together = _augment(_images(), _keys(), FULL_AUGMENT)
    keys = _example_keys(0, jnp.int32(0), jnp.asarray(order, jnp.int32))
    shuffled = _augment(_images()[order], keys, FULL_AUGMENT)
    np.testing.assert_array_equal(shuffled, together[order])


def test_each_example_of_a_batch_has_its_own_key() -> None:
    data = np.asarray(jax.random.key_data(jnp.concatenate([_keys(), _keys(step=1)])))
    assert len(np.unique(data, axis=0)) == 2 * SIZE


def test_to_unit_without_a_resize() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_allclose(
        to_unit(jnp.asarray(images), 16), images / np.float32(255), rtol=1e-6
    )


def test_to_unit_halves_by_averaging() -> None:
    """Antialiased: bilinear weights 1, 3, 3, 1 over eight; without, it would be 1, 1 over two."""
    row = np.zeros(16, np.uint8)
    row[8] = 240
    images = np.broadcast_to(row[None, None, :, None], (1, 16, 16, 3))
    small = np.asarray(to_unit(jnp.asarray(images), 8))
    expected = np.array([0, 0, 0, 1, 3, 0, 0, 0]) / 8 * 240 / 255
    np.testing.assert_allclose(small, np.broadcast_to(expected[:, None], (1, 8, 8, 3)), atol=1e-6)


def test_to_unit_enlarges_a_flat_picture_to_a_flat_one() -> None:
    images = jnp.full((2, 5, 5, 3), 51, jnp.uint8)
    large = to_unit(images, 12)
    assert (large.shape, large.dtype) == ((2, 12, 12, 3), jnp.float32)
    np.testing.assert_allclose(large, 0.2, rtol=1e-6)


def test_normalise_by_channel() -> None:
    spec = replace(get_model("meso4"), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    result = represent(jnp.full((1, 2, 2, 3), 0.5), spec)
    np.testing.assert_allclose(result[0, 0, 0], [0.4, 0.15, 0.05], rtol=1e-6)


@pytest.mark.parametrize(("value", "expected"), [(0, -1.0), (255, 1.0)])
def test_what_xception_sees(value: int, expected: float) -> None:
    images = jnp.full((1, 40, 40, 3), value, jnp.uint8)
    prepared = prepare_images(images, get_model("xception"))
    assert prepared.shape == (1, 299, 299, 3)
    np.testing.assert_allclose(prepared, expected, atol=1e-6)
