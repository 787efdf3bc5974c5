"""What networks see of a crop, and first layers that take it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.weights import flat, make_net, meso4_layers, random_images, write_keras

from dfbench.config import Input, ModelConfig
from dfbench.errors import UserError
from dfbench.models.inputs import SRM_KERNELS, SRM_LIMIT, image_channels, represent, srm_noise
from dfbench.models.layers import pool
from dfbench.models.meso4 import Meso4
from dfbench.models.names import leaves
from dfbench.models.registry import ModelSpec, configured_model, get_model, model_names
from dfbench.models.weights.layout import Pixels
from dfbench.models.weights.load import load_weights
from dfbench.models.weights.pixels import refed, widened
from dfbench.train.augment import prepare_images

INPUTS: tuple[Input, ...] = get_args(Input)
SIDE = 64
# As Zhou et al. print them.
KERNELS = [
    ([[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]], 4),
    (
        [
            [-1, 2, -2, 2, -1],
            [2, -6, 8, -6, 2],
            [-2, 8, -12, 8, -2],
            [2, -6, 8, -6, 2],
            [-1, 2, -2, 2, -1],
        ],
        12,
    ),
    ([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], 2),
]


def _spec(name: str, kind: Input, size: int | None = None) -> ModelSpec:
    return configured_model(ModelConfig(name=name, input=kind, input_size=size))


def _crops(seed: int = 0, side: int = 24) -> np.ndarray:
    """Pairs of pictures, smooth but for a little noise, whose second is like the first."""
    rng = np.random.default_rng(seed)
    small = rng.integers(40, 200, (6, 6, 3)).astype(np.float32)
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    pairs = [large + rng.normal(0, 1.5, (side, side, 3)) for _ in range(2)]
    return np.clip(np.concatenate(pairs, axis=2), 0, 255).astype(np.uint8)[None]


def test_srm_filters_are_those_of_the_paper() -> None:
    for kernel, (values, divisor) in zip(SRM_KERNELS, KERNELS, strict=True):
        np.testing.assert_allclose(kernel, np.array(values) / divisor, rtol=1e-6)
        assert abs(float(kernel.sum())) < 1e-6


def test_noise_is_that_of_opencv() -> None:
    frame = _crops()[..., :3]
    found = np.asarray(srm_noise(jnp.asarray(frame, jnp.float32) / 255))[0]
    cut = 0
    for channel, (values, divisor) in enumerate(KERNELS):
        by_colour = cv2.filter2D(
            frame[0].astype(np.float64),
            -1,
            np.array(values) / divisor,
            borderType=cv2.BORDER_REPLICATE,
        )
        wanted = by_colour.mean(-1)
        cut += np.sum(np.abs(wanted) > SRM_LIMIT)
        np.testing.assert_allclose(
            found[..., channel], np.clip(wanted, -SRM_LIMIT, SRM_LIMIT), atol=1e-3
        )
    assert 0 < cut < found.size / 4
    assert found.std() > 0.3


def test_a_slope_has_no_noise_and_a_step_has_no_more_than_the_limit() -> None:
    x = jnp.broadcast_to(jnp.linspace(0, 1, 32)[None, None, :, None], (1, 32, 32, 3))
    noise = np.asarray(srm_noise(x))
    np.testing.assert_allclose(noise[:, :, 2:-2], 0, atol=1e-3)
    noise = np.asarray(srm_noise(jnp.round(x)))
    assert (noise.min(), noise.max()) == (-SRM_LIMIT, SRM_LIMIT)


@pytest.mark.parametrize("name", ["meso4", "xception", "resnet50"])
def test_representations_are_centred_and_scaled_by_the_network(name: str) -> None:
    crops, spec = jnp.asarray(_crops()), _spec(name, "rgb", 24)
    frame, before = (np.asarray(prepare_images(crops[..., i : i + 3], spec)) for i in (0, 3))
    diff = np.asarray(prepare_images(crops, _spec(name, "diff", 24)))
    np.testing.assert_allclose(diff, frame - before, atol=1e-5)
    srm = np.asarray(prepare_images(crops, _spec(name, "srm", 24)))
    std = np.broadcast_to(np.asarray(spec.std, np.float32), 3)
    noise = np.asarray(srm_noise(crops[..., :3].astype(jnp.float32) / 255))
    np.testing.assert_allclose(srm * std, noise / SRM_LIMIT / 2, atol=1e-5)
    for kind, extra in (("rgb+diff", diff), ("rgb+srm", srm)):
        both = prepare_images(crops, _spec(name, kind, 24))  # type: ignore[arg-type]
        np.testing.assert_array_equal(both, np.concatenate([frame, extra], axis=-1))


def test_a_frame_alone_has_no_difference() -> None:
    crops = jnp.asarray(_crops())
    with pytest.raises(ValueError, match=r"model\.input = rgb\+diff needs .*data\.before = true"):
        prepare_images(crops[..., :3], _spec("meso4", "rgb+diff"))
    for kind in ("rgb", "srm", "rgb+srm"):  # the frame before is there, and not looked at
        spec = _spec("meso4", kind, 24)  # type: ignore[arg-type]
        np.testing.assert_array_equal(
            prepare_images(crops, spec), prepare_images(crops[..., :3], spec)
        )


def test_it_is_resized_before_it_is_filtered() -> None:
    crops = jnp.asarray(_crops(side=48))
    frames = jax.image.resize(crops.astype(jnp.float32) / 255, (1, 32, 32, 6), "bilinear")
    for kind in INPUTS:
        spec = _spec("xception", kind, 32)
        found = prepare_images(crops, spec)
        assert found.shape == (1, 32, 32, image_channels(ModelConfig(input=kind)))
        np.testing.assert_allclose(found, represent(frames, spec), atol=1e-4)


def _abstract(name: str, **settings: Any) -> Any:
    config = ModelConfig(name=name, **settings)
    model = nnx.eval_shape(lambda: get_model(name).build(config, nnx.Rngs(0)))
    model.eval()
    return model


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return {name: leaf.shape for name, leaf in leaves(params).items()}


@pytest.mark.parametrize("name", model_names())
def test_every_network_takes_every_input(name: str) -> None:
    plain = _shapes(_abstract(name, input_size=64))
    for kind in ("srm", "rgb+diff"):  # three channels and six
        model = _abstract(name, input_size=64, input=kind)
        channels = image_channels(ModelConfig(input=kind))
        images = jnp.zeros((2, 64, 64, channels))
        assert nnx.eval_shape(lambda model, x: model(x), model, images).shape == (2,)
        shapes = _shapes(model)
        changed = {key for key in shapes if shapes[key] != plain[key]}
        assert bool(changed) == (channels == 6)
        for key in changed:  # the kernels that read the picture, and no other
            high, wide, read, out = plain[key]
            assert (read, shapes[key]) == (3, (high, wide, 6, out))


def test_sizes_and_poolings_that_a_network_cannot_have() -> None:
    with pytest.raises(UserError, match=r"model\.input_size = 100: meso4 takes multiples of 32"):
        _abstract("meso4", input_size=100)
    with pytest.raises(UserError, match=r"model\.pooling = max: mesoinception4 pools nothing"):
        _abstract("mesoinception4", pooling="max")
    assert _shapes(_abstract("xception", pooling="max")) == _shapes(_abstract("xception"))
    assert _spec("xception", "rgb", 128).input_size == 128


def test_pooling() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 5)), jnp.bfloat16)
    wide = np.asarray(x, np.float32)
    for how, wanted in (("average", wide.mean((1, 2))), ("max", wide.max((1, 2)))):
        found = pool(x, how)  # type: ignore[arg-type]
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# --- imported weights ----------------------------------------------------------------------------


def test_new_channels_change_nothing_at_first(tmp_path: Path) -> None:
    def small(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
        return Meso4(config, input_size=SIDE, rngs=rngs)

    net = make_net("meso4", build=small)
    path = write_keras(tmp_path / "w.h5", meso4_layers(net))
    other = make_net("meso4", seed=1, build=small, input="rgb+srm")
    loaded = load_weights("meso4", path, other.params, other.batch_stats, label="fake")
    filled = replace(other, params=loaded.params, batch_stats=loaded.batch_stats)
    images, wanted = random_images(SIDE), net.logits(random_images(SIDE))
    for seed in (5, 6):
        both = np.concatenate([images, random_images(SIDE, seed=seed)], axis=-1)
        np.testing.assert_allclose(filled.logits(both), wanted, rtol=1e-5)
        assert not np.allclose(other.logits(both), wanted, rtol=1e-2)
    kernel = flat(loaded.params)["convs.0.kernel"]
    np.testing.assert_array_equal(kernel[:, :, :3], flat(net.params)["convs.0.kernel"])
    assert not kernel[:, :, 3:].any()


def test_new_channels_stay_out_of_a_change_of_pixels() -> None:
    """Caffe's kernels, for blue, green and red from 0 to 255, in a network of six channels."""
    spec, rng = get_model("resnet50"), np.random.default_rng(0)
    kernel = rng.normal(size=(7, 7, 3, 4)).astype(np.float32)
    mean = tuple(float(m) for m in spec.mean)  # type: ignore[union-attr]
    caffe = Pixels(mean=mean, std=1 / 255, order="blue, green, red")  # type: ignore[arg-type]
    found = refed(widened(kernel, (7, 7, 6, 4)), caffe, spec)
    np.testing.assert_array_equal(found[:, :, :3], refed(kernel, caffe, spec))
    assert not found[:, :, 3:].any()


def test_only_first_kernels_are_widened() -> None:
    for shape, wanted in (((3, 3, 3, 8), (3, 3, 4, 8)), ((3, 3, 8, 3), (3, 3, 8, 6)), ((3,), (4,))):
        array = np.ones(shape)
        assert widened(array, wanted) is array
