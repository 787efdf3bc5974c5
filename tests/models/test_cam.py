from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array
from support.train import SMALL, SMALL_MODELS, filled_state, small_models

from dfbench.config import ModelConfig, RunConfig
from dfbench.errors import UserError
from dfbench.models.cam import evidence, feature_map
from dfbench.models.registry import keras_names
from dfbench.train.state import Networks, TrainState

# Side of the last feature map.
SIDES = {
    "small_meso4": 8,
    "small_mesoinception4": 8,
    "small_resnet_basic": 4,
    "small_resnet_v2": 4,
}
QUICK = ("small_meso4", "small_resnet_basic")
ALL = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in (*SIDES, "small_xception")
]
LINEAR = ("small_resnet_basic", "small_resnet_v2")  # the mean of the map, and one dense layer


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_models():
        yield


def config_of(name: str, **model: Any) -> RunConfig:
    return replace(SMALL, model=ModelConfig(name=name, dropout=0.0, **model))


def model_of(state: TrainState, networks: Networks) -> nnx.Module:
    params, stats = (
        nnx.State(jax.tree.map(jnp.asarray, tree)) for tree in (state.params, state.batch_stats)
    )
    model: nnx.Module = nnx.merge(networks.graphdef_eval, params, stats, copy=True)
    return model


def images_of(side: int, channels: int = 3) -> Array:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.uniform(0, 1, (2, side, side, channels)), jnp.float32)


@pytest.mark.parametrize("name", ALL)
def test_every_kind_of_network_has_a_map(name: str) -> None:
    model = model_of(*filled_state(config_of(name)))
    images = images_of(SMALL_MODELS[name][0])
    found = np.asarray(evidence(model, images))
    side = SIDES.get(name, 1)
    assert found.shape == (2, side, side)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.ptp(found[0]) > 0 or side == 1
    assert not np.allclose(found[0], found[1])
    if name not in QUICK:  # of one image alone the same: images do not mix
        np.testing.assert_allclose(evidence(model, images[1:])[0], found[1], rtol=1e-4, atol=1e-6)
    if name in LINEAR:  # there it adds up to the logit, which is known without any gradient
        bias = model.head.output.bias[...]
        np.testing.assert_allclose(found.sum((1, 2)), model(images) - bias, rtol=1e-3, atol=1e-5)


def test_the_other_class_has_the_negative_map() -> None:
    state, networks = filled_state(config_of("small_resnet_basic"))
    images = images_of(32)
    fake = evidence(model_of(state, networks), images)
    turned = jax.tree.map(lambda leaf: leaf, state.params)
    turned["head"]["output"] = jax.tree.map(lambda leaf: -leaf, turned["head"]["output"])
    real = evidence(model_of(replace(state, params=turned), networks), images)
    np.testing.assert_allclose(real, -fake, rtol=1e-5)
    assert float(jnp.abs(fake).max()) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"pooling": "max", "input": "rgb+srm"}, {"dtype": "bfloat16", "head": (7,)}]
)
def test_settings_of_networks(settings: dict[str, Any]) -> None:
    model = model_of(*filled_state(config_of("small_resnet_basic", **settings)))
    channels = 3 * len(settings.get("input", "rgb").split("+"))
    found = np.asarray(evidence(model, images_of(32, channels)))
    assert found.shape == (2, 4, 4)
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0


@pytest.mark.slow
@pytest.mark.skipif(not keras_names(), reason="Keras is not installed")
def test_networks_of_keras_have_the_map_that_is_pooled_last() -> None:
    # It pools within its blocks too, to weigh channels.
    model = model_of(*filled_state(config_of("keras:MobileNetV3Small", input_size=64)))
    images = images_of(64)
    found = np.asarray(evidence(model, images))
    assert found.shape == (2, 2, 2)
    bias = model.head.output.bias[...]
    np.testing.assert_allclose(found.sum((1, 2)), model(images) - bias, rtol=1e-3, atol=1e-5)


def test_a_network_without_a_map_says_so() -> None:
    model = model_of(*filled_state(config_of("tiny")))
    with pytest.raises(UserError, match="shows no feature map"):
        evidence(model, images_of(8))


def test_nobody_looks_otherwise() -> None:
    x = jnp.zeros((1, 2, 2, 3))
    assert feature_map(x) is x
