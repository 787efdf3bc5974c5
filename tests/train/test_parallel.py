"""The number of devices changes nothing but rounding."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from support.train import FULL_AUGMENT, SMALL, Trained, assert_trees_close, make_batch, train

from dfbench.config import ModelConfig, RunConfig
from dfbench.errors import UserError
from dfbench.models.registry import get_model
from dfbench.train.parallel import (
    AXIS,
    check_batch_size,
    pmap_predict,
    pmap_train_step,
    replicate,
    split,
)

MESO4 = replace(SMALL, model=ModelConfig(name="small_meso4", dropout=0.5), augment=FULL_AUGMENT)
QUICK = replace(SMALL, model=ModelConfig(name="tiny", dropout=0.5))
# Learning rates of steps whose losses are compared: at 1e-4 rounding turns a ReLU of Meso-4 in the
# third step, and losses are 1e-4 apart. Even so a gradient twice as large moves them by 1e-3.
RATES = {"tiny": 1e-2, "small_meso4": 1e-5, "small_resnet_v1_5": 1e-5, "small_xception": 1e-5}
# Without padding, and with so much that some of eight devices see nothing else.
MASKS = {"full": np.ones(16), "uneven": np.array([1.0] * 7 + [0.0] + [1.0, 0.0, 1.0] + [0.0] * 5)}
WEIGHTS = (0.7, 1.8)
# Sums of a batch in another order: float32 rounding (6e-8) grown through four batch norms to some
# 1e-6 of the largest entry. A wrong factor, of devices or of padding, is off by 0.1 and more.
RTOL, ATOL = 1e-4, 1e-6
# A gradient jumps where rounding turns a ReLU or chooses another maximum of a pooling window:
# parameters changed by 1e-7 of themselves move the norm of the third step by 3e-4.
RTOL_GRADIENT = 1e-3


def _steps(number: int, mask: str, *, config: RunConfig = MESO4, **options: Any) -> Trained:
    side = get_model(config.model.name).input_size
    batches = [make_batch(16, side=side, seed=i, mask=MASKS[mask]) for i in range(number)]
    return train(config, batches, class_weights=WEIGHTS, **options)


@pytest.fixture(scope="module", params=MASKS)
def mask(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def alone(mask: str) -> list[Trained]:
    """After one step and after two, on one device.

    Not after more: gradients jump where rounding turns a ReLU or chooses another maximum of a
    pooling window. Here parameters changed by 1e-7 of themselves move the third step's by 3e-4.
    """
    return [_steps(number, mask, devices=1) for number in (1, 2)]


def _assert_same(found: Trained, wanted: Trained) -> None:
    for values, expected in zip(found.metrics, wanted.metrics, strict=True):
        assert values["grad_norm"] == pytest.approx(expected["grad_norm"], rel=RTOL_GRADIENT)
        others = values.keys() - {"grad_norm"}
        assert {k: values[k] for k in others} == pytest.approx(
            {k: expected[k] for k in others}, rel=RTOL
        )
    assert_trees_close(found.state.params, wanted.state.params, rtol=RTOL, atol=ATOL)
    assert_trees_close(found.state.batch_stats, wanted.state.batch_stats, rtol=RTOL, atol=ATOL)
    assert int(found.state.step) == int(wanted.state.step)


def _momentum(trained: Trained) -> Any:
    """After one step of SGD the momentum is the gradient."""
    return trained.state.opt_state[0].trace


def test_eight_devices_agree_with_one(alone: list[Trained], mask: str) -> None:
    for number, wanted in zip((1, 2), alone, strict=True):
        found = _steps(number, mask, devices=8)
        if number == 1:
            assert_trees_close(_momentum(found), _momentum(wanted), rtol=RTOL_GRADIENT, atol=ATOL)
        _assert_same(found, wanted)


@functools.cache
def _losses(model: str, devices: int) -> list[float]:
    """Return the losses of eight steps with dropout, each on a batch of its own."""
    optim = replace(QUICK.optim, lr=RATES[model])
    config = replace(QUICK, model=replace(QUICK.model, name=model), optim=optim)
    return [
        values["loss"] for values in _steps(8, "uneven", config=config, devices=devices).metrics
    ]


@pytest.mark.parametrize("devices", [2, 4, 8])
@pytest.mark.parametrize(
    "model", ["tiny", *(pytest.param(m, marks=pytest.mark.slow) for m in [*RATES][1:])]
)
def test_losses_of_some_steps_are_those_of_one_device(model: str, devices: int) -> None:
    wanted = _losses(model, 1)
    assert max(wanted) - min(wanted) > 0.01  # it is not one number again and again
    np.testing.assert_allclose(_losses(model, devices), wanted, rtol=1e-5, atol=1e-5)


def test_padding_is_not_counted(alone: list[Trained], mask: str) -> None:
    assert all(values["count"] == MASKS[mask].sum() for values in alone[1].metrics)
    assert all(0 < values["correct"] <= values["count"] for values in alone[1].metrics)


def _shard_map_step(step: Callable[..., Any], *, devices: int) -> Callable[..., Any]:
    mesh = Mesh(np.asarray(jax.local_devices()[:devices]), (AXIS,))
    specs = {"in_specs": (jax.P(), jax.P(AXIS)), "out_specs": jax.P()}
    mapped = jax.jit(jax.shard_map(step, mesh=mesh, check_vma=False, **specs))
    return lambda state, batch: mapped(replicate(state, devices), batch)


def test_the_step_is_the_same_under_shard_map(mask: str) -> None:
    found = _steps(3, mask, config=QUICK, devices=4, wrap=_shard_map_step)
    _assert_same(found, _steps(3, mask, config=QUICK, devices=1))


def test_all_devices_are_the_default() -> None:
    step = pmap_train_step(lambda state, batch: (state, jax.lax.psum(1, AXIS)))
    _, devices = step(np.float32(0), {"x": np.zeros(8)})
    assert int(devices) == jax.local_device_count() == 8


def test_predictions_keep_their_order() -> None:
    predict = pmap_predict(lambda state, batch: batch["x"] + state, devices=4)
    np.testing.assert_array_equal(predict(np.float32(1), {"x": np.arange(8.0)})(), np.arange(8) + 1)


def test_split_keeps_the_order() -> None:
    shares = split({"x": np.arange(12).reshape(6, 2)}, 3)
    np.testing.assert_array_equal(shares["x"], np.arange(12).reshape(3, 2, 2))


@pytest.mark.parametrize(
    ("size", "devices", "near"), [(12, 8, "8 or 16"), (3, 8, "take 8"), (0, 2, "take 2")]
)
def test_a_batch_that_cannot_be_split(size: int, devices: int, near: str) -> None:
    with pytest.raises(UserError, match=rf"{size} cannot be split over {devices} devices.*{near}"):
        check_batch_size(size, devices)


def test_replicated_state_lies_on_each_device_and_stays() -> None:
    state = replicate({"x": np.arange(3.0)}, 4)
    assert len(state["x"].sharding.device_set) == 4
    assert replicate(state, 4) is state  # found out without `device_put`, which takes milliseconds


def test_a_step_takes_the_memory_of_its_state() -> None:
    def step(state: dict[str, Any], batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"weights": state["weights"] + jax.lax.pmean(batch["x"].mean(), AXIS)}, {}

    before = replicate({"weights": np.ones(4, np.float32)})
    after, _ = pmap_train_step(step)(before, {"x": np.ones(8, np.float32)})
    assert before["weights"].is_deleted()
    np.testing.assert_array_equal(after["weights"], 2)
