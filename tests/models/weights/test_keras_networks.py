"""Whole networks built and saved by Keras, loaded here: the same predictions."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support.weights import Net, flat, make_net, random_images, randomise

from dfbench.models.meso4 import Meso4
from dfbench.models.mesoinception4 import MesoInception4
from dfbench.models.registry import get_model
from dfbench.models.weights.load import load_weights

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE = 71  # px; every pooled side is odd, where Keras' padding and Xception's own agree
RTOL = 1e-4  # of the largest logit
APPLICATIONS = {"xception": "Xception", "resnet50": "ResNet50", "resnet50v2": "ResNet50V2"}


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ["KERAS_BACKEND"] = "jax"
    return pytest.importorskip("keras")


def _fed(name: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what Keras' network and ours are fed with, of images in [0, 1]."""
    spec = get_model(name)
    ours = (images - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    if name == "resnet50":
        theirs = images[..., ::-1] * 255 - np.asarray([103.939, 116.779, 123.68], np.float32)
    else:
        theirs = ours
    return theirs.astype(np.float32), ours.astype(np.float32)


def _meso4(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((32, 32, 3))
    inputs = x
    for width, side, window in ((8, 3, 2), (8, 5, 2), (16, 5, 2), (16, 5, 4)):
        x = layers.Conv2D(width, side, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(window, padding="same")(layers.BatchNormalization()(x))
    return keras.Model(inputs, _dense(keras, x))


def _dense(keras: Any, x: Any) -> Any:
    layers = keras.layers
    x = layers.Dense(16)(layers.Dropout(0.5)(layers.Flatten()(x)))
    return layers.Dense(1)(layers.Dropout(0.5)(layers.LeakyReLU(negative_slope=0.1)(x)))


def _mesoinception4(keras: Any) -> Any:
    layers, x = keras.layers, keras.Input((32, 32, 3))
    inputs = x

    def conv(x: Any, width: int, side: int, dilation: int = 1) -> Any:
        same = {"padding": "same", "activation": "relu"}
        return layers.Conv2D(width, side, dilation_rate=dilation, **same)(x)

    for first, second, third, fourth in ((1, 4, 4, 2), (2, 4, 4, 2)):
        branches = [conv(x, first, 1)]  # made in this order, which is not the file's
        for width, dilation in ((second, 1), (third, 2), (fourth, 3)):
            branches.append(conv(conv(x, width, 1), width, 3, dilation))
        x = layers.BatchNormalization()(layers.Concatenate()(branches))
        x = layers.MaxPooling2D(2, padding="same")(x)
    for window in (2, 4):
        x = layers.BatchNormalization()(conv(x, 16, 5))
        x = layers.MaxPooling2D(window, padding="same")(x)
    return keras.Model(inputs, _dense(keras, x))


def _compare(keras: Any, model: Any, net: Net, name: str, folder: Path) -> None:
    """Save `model` in both formats; each must give its predictions, P(fake) by `label="fake"`."""
    randomise(model)
    model.save_weights(folder / "new.weights.h5")
    model.save(folder / "old.h5")
    old, new = (
        load_weights(name, folder / file, net.params, net.batch_stats, label="fake")
        for file in ("old.h5", "new.weights.h5")
    )
    again = flat(new.params, new.batch_stats)
    for key, array in flat(old.params, old.batch_stats).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, again[key], err_msg=key)
    theirs, ours = _fed(name, random_images(model.input_shape[1], count=4))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = np.asarray(model(theirs, training=False))[:, 0]
    found = replace(net, params=old.params, batch_stats=old.batch_stats).logits(ours)
    np.testing.assert_allclose(found, expected, rtol=0, atol=RTOL * np.abs(expected).max())
    assert np.ptp(expected) > 100 * RTOL * np.abs(expected).max()  # the images make a difference


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("meso4", _meso4, Meso4),
        pytest.param("mesoinception4", _mesoinception4, MesoInception4, marks=pytest.mark.slow),
    ],
)
def test_meso(keras: Any, tmp_path: Path, name: str, theirs: Any, ours: Any) -> None:
    net = make_net(name, build=lambda config, rngs: ours(config, input_size=32, rngs=rngs))
    _compare(keras, theirs(keras), net, name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(keras: Any, tmp_path: Path, name: str) -> None:
    build = getattr(keras.applications, APPLICATIONS[name])
    shape = (SIDE, SIDE, 3)
    model = build(weights=None, input_shape=shape, classes=1, classifier_activation=None)
    # A single output: Xception's two get half of it each.
    _compare(keras, model, make_net(name), name, tmp_path)
