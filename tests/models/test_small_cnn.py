"""The small network against one of Keras's layers with the same weights."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dfbench.config import ModelConfig
from dfbench.errors import UserError
from dfbench.models.small_cnn import CHANNELS, HIDDEN, SmallCnn

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = 32


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ["KERAS_BACKEND"] = "jax"
    return pytest.importorskip("keras")


def test_outputs_are_those_of_keras(keras: Any) -> None:
    net = SmallCnn(ModelConfig(name="small_cnn"), input_size=SIDE, rngs=nnx.Rngs(0))
    net.eval()
    layers, x = keras.layers, keras.Input((SIDE, SIDE, 3))
    inputs = x
    for width in CHANNELS:
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(layers.Dropout(0.5)(x))
    x = layers.Dense(HIDDEN, activation="relu")(layers.Flatten()(x))
    theirs = keras.Model(inputs, layers.Dense(1)(x))
    ours = [*net.convs, *net.head.hidden, net.head.output]
    with_weights = [layer for layer in theirs.layers if layer.weights]
    for layer, own in zip(with_weights, ours, strict=True):
        own.bias[...] = jnp.asarray(np.random.default_rng(1).normal(size=own.bias.shape), "float32")
        layer.set_weights([np.asarray(own.kernel[...]), np.asarray(own.bias[...])])
    images = np.random.default_rng(0).random((3, SIDE, SIDE, 3), np.float32)
    with jax.numpy_rank_promotion("allow"):  # Keras wants that
        wanted = np.asarray(theirs(images, training=False))[:, 0]
    np.testing.assert_allclose(np.asarray(net(jnp.asarray(images))), wanted, rtol=1e-4, atol=1e-5)
    assert np.ptp(wanted) > 1e-3


@pytest.mark.parametrize(
    ("config", "side", "message"),
    [
        (ModelConfig(name="small_cnn"), 30, "takes multiples of 4"),
        (ModelConfig(name="small_cnn", pooling="max"), 32, "pools nothing at its end"),
    ],
)
def test_what_it_has_no_place_for(config: ModelConfig, side: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SmallCnn(config, input_size=side, rngs=nnx.Rngs(0))
