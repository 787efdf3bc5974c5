from __future__ import annotations

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dfbench.config import OptimConfig
from dfbench.errors import UserError
from dfbench.train.optim import make_optimizer, make_schedule

LR = 0.1
KERNEL, BIAS = np.array([[1.0, -2.0]], np.float32), np.array([3.0], np.float32)
GRADIENTS = [
    {"kernel": np.array([[0.5, -0.25]], np.float32), "bias": np.array([1.0], np.float32)},
    {"kernel": np.array([[-0.1, 0.75]], np.float32), "bias": np.array([-2.0], np.float32)},
]


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 0, LR),
        ("constant", 1_000_000, LR),
        ("cosine", 0, LR),
        ("cosine", 25, LR * (1 + math.cos(math.pi / 4)) / 2),
        ("cosine", 50, LR / 2),
        ("cosine", 100, 0.0),
        ("cosine", 120, 0.0),
        ("step", 0, LR),
        ("step", 49, LR),  # ten steps an epoch: the last of the fifth epoch
        ("step", 50, LR * 0.05),
        ("step", 99, LR * 0.05),
        ("step", 100, LR * 0.05**2),
    ],
)
def test_schedules(schedule: str, step: int, expected: float) -> None:
    config = OptimConfig(lr=LR, schedule=cast(Any, schedule))
    rate = make_schedule(config, steps_per_epoch=10, total_steps=100)
    assert float(rate(step)) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def _run(config: OptimConfig) -> dict[str, np.ndarray]:
    optimizer = make_optimizer(config, optax.constant_schedule(config.lr))
    params = {"kernel": jnp.asarray(KERNEL), "bias": jnp.asarray(BIAS)}
    state = optimizer.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for gradients in GRADIENTS:
            updates, state = optimizer.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
    return {name: np.asarray(leaf) for name, leaf in params.items()}


def _sgd(x: np.ndarray, name: str, decay: float) -> np.ndarray:
    """Momentum 0.9; the decay is added to the gradient."""
    velocity = np.zeros_like(x)
    for gradients in GRADIENTS:
        velocity = 0.9 * velocity + gradients[name] + decay * x
        x = x - LR * velocity
    return x


def _adam(x: np.ndarray, name: str, decay: float) -> np.ndarray:
    """Kingma & Ba 2015; the decay acts beside the gradient (Loshchilov & Hutter 2019)."""
    first, second = np.zeros_like(x), np.zeros_like(x)
    for t, gradients in enumerate(GRADIENTS, start=1):
        gradient = gradients[name]
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        slope = first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        x = x - LR * (slope + decay * x)
    return x


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(("name", "formula"), [("sgd", _sgd), ("adam", _adam)])
def test_optimizers(name: str, formula: Any, decay: float) -> None:
    result = _run(OptimConfig(name=cast(Any, name), lr=LR, weight_decay=decay))
    np.testing.assert_allclose(result["kernel"], formula(KERNEL, "kernel", decay), rtol=1e-5)
    np.testing.assert_allclose(result["bias"], formula(BIAS, "bias", 0.0), rtol=1e-5)


def test_unknown_names_say_the_nearest() -> None:
    schedule = optax.constant_schedule(LR)
    with pytest.raises(UserError, match=r"optim.name 'adm'; did you mean 'adam'\?"):
        make_optimizer(OptimConfig(name=cast(Any, "adm")), schedule)
    config = OptimConfig(schedule=cast(Any, "cosin"))
    with pytest.raises(UserError, match=r"optim.schedule 'cosin'; did you mean 'cosine'\?"):
        make_schedule(config, steps_per_epoch=1, total_steps=1)
