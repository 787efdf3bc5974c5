from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.compiled import compiled_programs
from support.train import SIDE, SMALL, TINY, filled_state, make_batch, small_models

from dfbench.config import ModelConfig, RunConfig
from dfbench.errors import UserError
from dfbench.eval.predict import features, predict
from dfbench.train.augment import prepare_images
from dfbench.train.parallel import Batch
from dfbench.train.state import build_networks

N = 21  # divides by no batch and no number of devices below


@pytest.fixture(scope="module", autouse=True)
def _small_models() -> Iterator[None]:
    with small_models():
        yield


def _images(side: int) -> np.ndarray:
    return np.asarray(make_batch(N, side=side)["image"])


def _batches(
    order: np.ndarray, size: int, *, side: int = 8, padded: bool = True
) -> Iterator[Batch]:
    """Cut the examples in `order` to batches; pad the last one as the pipeline does."""
    images = _images(side)
    for start in range(0, len(order), size):
        index = order[start : start + size]
        fill = size - len(index) if padded else 0
        yield {
            "image": np.pad(images[index], [(0, fill)] + [(0, 0)] * 3),
            "index": np.pad(index, (0, fill)).astype(np.int32),
            "mask": np.pad(np.ones(len(index), np.float32), (0, fill)),
        }


def _predict(config: RunConfig, size: int, devices: int | None, side: int = 8) -> np.ndarray:
    state, networks = filled_state(config)
    return predict(state, networks, _batches(np.arange(N), size, side=side), N, devices=devices)


@pytest.fixture(scope="module")
def wanted() -> np.ndarray:
    """The model's logits, called as a plain module."""
    state, networks = filled_state(TINY)
    variables = nnx.State(state.params), nnx.State(state.batch_stats)
    model = nnx.merge(networks.graphdef_eval, *variables, copy=True)
    return np.asarray(model(prepare_images(jnp.asarray(_images(8)), networks.spec)))


@pytest.mark.parametrize(("size", "devices"), [(8, 8), (16, 8), (5, 1), (5, 3), (64, 2), (3, None)])
def test_every_example_on_any_number_of_devices(
    wanted: np.ndarray, size: int, devices: int | None
) -> None:
    logits = _predict(TINY, size, devices)
    assert (logits.shape, logits.dtype) == ((N,), np.float32)
    assert np.std(logits) > 0.01
    np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padded", [True, False])
def test_logits_stand_at_their_index(wanted: np.ndarray, padded: bool) -> None:
    order = np.random.default_rng(1).permutation(N)
    batches = _batches(order, 8, padded=padded)
    logits = predict(*filled_state(TINY), batches, N)
    np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-6)


def test_a_network_on_one_device_and_on_eight() -> None:
    one, eight = (_predict(SMALL, 8, devices, side=64) for devices in (1, 8))
    assert np.std(one) > 0.01
    np.testing.assert_allclose(one, eight, rtol=1e-4, atol=1e-5)


def test_datasets_share_one_program() -> None:
    config = replace(TINY, model=ModelConfig(name="tiny", dropout=0.25))
    with compiled_programs() as compiled:
        _predict(config, 8, None)
    assert compiled
    with compiled_programs() as compiled:  # another evaluation builds its networks anew
        state, _ = filled_state(config)
        found = predict(state, build_networks(config), _batches(np.arange(5), 8), 5)
    assert len(found) == 5
    assert not compiled


def test_dropout_is_inactive(wanted: np.ndarray) -> None:
    config = replace(TINY, model=ModelConfig(name="tiny", dropout=0.9))
    np.testing.assert_allclose(_predict(config, 8, None), wanted, rtol=1e-5, atol=1e-6)


def _meso4_logits(dtype: Literal["float32", "bfloat16"]) -> np.ndarray:
    config = replace(SMALL, model=ModelConfig(name="small_meso4", dropout=0.0, dtype=dtype))
    return _predict(config, 8, 1, side=64)


def test_bfloat16_is_close_to_float32() -> None:
    exact, coarse = _meso4_logits("float32"), _meso4_logits("bfloat16")
    assert coarse.dtype == np.float32
    error = np.max(np.abs(coarse - exact))
    # bfloat16 keeps eight bits (0.4 %) of each activation, through six layers.
    assert 0 < error < 0.05 * np.max(np.abs(exact))


def test_progress_counts_examples() -> None:
    seen: list[tuple[int, int]] = []
    state, networks = filled_state(TINY)
    batches = _batches(np.arange(N), 8)
    predict(
        state,
        networks,
        batches,
        N,
        progress=lambda done, total, note="": seen.append((done, total)),
    )
    assert seen == [(8, N), (16, N), (21, N)]


def test_crops_of_another_size_are_resized() -> None:
    """Flat pictures stay flat, so the logits are those of the same pictures at 8 px."""
    state, networks = filled_state(TINY)

    def flat(side: int) -> Iterator[Batch]:
        levels = np.arange(0, 240, 60, np.uint8)
        image = np.broadcast_to(levels[:, None, None, None], (4, side, side, 3))
        yield {"image": image, "index": np.arange(4, dtype=np.int32), "mask": np.ones(4)}

    small, large = (predict(state, networks, flat(side), 4) for side in (8, 20))
    assert np.std(small) > 0.001
    np.testing.assert_allclose(large, small, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (np.arange(N - 2), "2 of 21 examples did not come exactly once, first 19"),
        (np.append(np.arange(N), 4), "1 of 21 examples did not come exactly once, first 4"),
        (np.array([], np.int64), "21 of 21"),
    ],
)
def test_missing_and_double_examples(order: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict(*filled_state(TINY), _batches(order, 8), N)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_the_users_mistake(bad: float) -> None:
    state, networks = filled_state(TINY)
    params = jax.tree.map(lambda leaf: np.full_like(leaf, bad), state.params)
    with pytest.raises(UserError, match=r"not finite: the training diverged.*optim\.lr"):
        predict(replace(state, params=params), networks, _batches(np.arange(N), 8), N)


def test_networks_built_to_predict_do_not_matter(wanted: np.ndarray) -> None:
    state, _ = filled_state(TINY)
    logits = predict(state, build_networks(TINY), _batches(np.arange(N), 8), N)
    np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-6)


def test_the_head_makes_the_logits_of_the_features() -> None:
    state, networks = filled_state(SMALL)
    found = features(state, networks, _batches(np.arange(N), 8, side=SIDE), N)
    assert (found.shape[0], found.dtype) == (N, np.float32)
    variables = nnx.State(state.params), nnx.State(state.batch_stats)
    model = nnx.merge(networks.graphdef_eval, *variables, copy=True)
    logits = np.asarray(model.head(jnp.asarray(found), rngs=None))
    np.testing.assert_allclose(logits, _predict(SMALL, 8, None, side=SIDE), rtol=1e-5, atol=1e-6)


def test_a_network_without_a_head_has_no_features() -> None:
    state, networks = filled_state(TINY)
    with pytest.raises(UserError, match="'tiny' has no part 'head'"):
        features(state, networks, _batches(np.arange(N), 8), N)
