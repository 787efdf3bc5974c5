"""Pairs of frames in training and prediction; every augmentation at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.train import (
    FULL_AUGMENT,
    NO_AUGMENT,
    SIDE,
    SMALL,
    assert_trees_close,
    filled_state,
    make_batch,
    train,
)

from dfbench.config import AugmentConfig, ModelConfig
from dfbench.eval.predict import predict
from dfbench.train.augment import augment, example_keys
from dfbench.train.parallel import Batch

EVERYTHING = replace(
    FULL_AUGMENT,
    flip_vertical=0.5,
    warp=0.8,
    rotate=20.0,
    shift=0.1,
    shear=10.0,
    zoom=0.2,
    jpeg=0.5,
)
PAIRS = replace(
    SMALL, model=ModelConfig(name="small_meso4", dropout=0.5, input="rgb+diff"), augment=EVERYTHING
)
NUMBER = 32


def _pairs(size: int, seed: int = 0) -> Batch:
    frame, before = (make_batch(size, seed=seed + n) for n in (0, 100))
    return {**frame, "image": np.concatenate([frame["image"], before["image"]], axis=-1)}


@partial(jax.jit, static_argnums=2)
def _augment(images: Array, keys: Array, config: AugmentConfig) -> Array:
    return augment(images, keys, config)


def _keys() -> Array:
    return example_keys(0, jnp.int32(0), jnp.arange(NUMBER, dtype=jnp.int32))


@pytest.fixture(scope="module")
def unit() -> Array:
    return jnp.asarray(_pairs(NUMBER)["image"][:, :24, :24], jnp.float32) / 255


def test_both_frames_are_augmented_alike(unit: Array) -> None:
    frame = unit[..., :3]
    twins = np.asarray(_augment(jnp.concatenate([frame, frame], axis=-1), _keys(), EVERYTHING))
    np.testing.assert_array_equal(twins[..., :3], twins[..., 3:])
    assert np.all(np.abs(twins[..., :3] - frame).max((1, 2, 3)) > 0.01)


def test_a_frame_is_augmented_as_without_the_one_before(unit: Array) -> None:
    single = np.asarray(_augment(unit[..., :3], _keys(), EVERYTHING))
    pair = np.asarray(_augment(unit, _keys(), EVERYTHING))
    # Where rounding turns a coefficient of JPEG, a block moves by a grey level.
    apart = np.abs(pair[..., :3] - single)
    assert np.mean(apart > 1e-5) < 1e-3
    assert apart.max() < 0.05


def test_each_class_is_augmented_alike() -> None:
    """Keys know a place in the batch and nothing of labels, which may alternate by place."""
    grey = jnp.full((NUMBER, 24, 24, 3), 0.5).at[:, :12, :6].set(1.0)
    positions, changed = jnp.arange(NUMBER, dtype=jnp.int32), []
    for step in range(8):
        found = _augment(grey, example_keys(0, jnp.int32(step), positions), EVERYTHING)
        changed.append(np.abs(np.asarray(found) - grey).mean((1, 2, 3)))
    even, odd = (np.stack(changed)[:, start::2].ravel() for start in (0, 1))
    error = np.sqrt(even.var() / len(even) + odd.var() / len(odd))
    assert abs(even.mean() - odd.mean()) < 4 * error


@pytest.mark.slow
def test_the_number_of_devices_changes_nothing_but_rounding() -> None:
    batches = [_pairs(16)]
    alone, many = (train(PAIRS, batches, devices=number) for number in (1, 4))
    assert many.metrics[0] == pytest.approx(alone.metrics[0], rel=1e-3)
    gradients = [trained.state.opt_state[0].trace for trained in (alone, many)]
    assert_trees_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-6)
    kernels = [leaf for leaf in jax.tree.leaves(gradients[0]) if leaf.shape[2:3] == (6,)]
    assert np.all(np.abs(kernels[0]).max((0, 1, 3)) > 0)  # all six channels are learned from


def test_a_network_of_pictures_does_not_see_the_frame_before() -> None:
    config = replace(PAIRS, model=replace(PAIRS.model, input="rgb"), augment=NO_AUGMENT)
    pairs = _pairs(16)
    alone = {**pairs, "image": pairs["image"][..., :3]}
    found, wanted = (train(config, [batch]).metrics[0] for batch in (pairs, alone))
    assert found == pytest.approx(wanted, rel=1e-5)


def test_prediction_sees_what_training_sees() -> None:
    config = replace(PAIRS, model=replace(PAIRS.model, input="diff"))
    state, networks = filled_state(config)
    pairs = _pairs(8)
    logits = predict(state, networks, [pairs], 8)
    base = np.minimum(pairs["image"], 200)
    # The same difference, whatever the pictures are.
    dark, bright = (
        predict(state, networks, [{**pairs, "image": base + np.uint8(more)}], 8) for more in (0, 50)
    )
    np.testing.assert_allclose(bright, dark, rtol=1e-3, atol=1e-4)
    assert np.ptp(logits) > 1e-3
    assert pairs["image"].shape == (8, SIDE, SIDE, 6)
