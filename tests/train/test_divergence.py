from __future__ import annotations

import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from dfbench.train.divergence import LARGEST_LOSS, SHOWN, Step, diverged, fault_of, not_finite

STEP = Step(number=7, lr=5e-4, settings_lr=1e-3, clips=("a", "b", "a"), kept=6)


@pytest.mark.parametrize(
    ("loss", "norm", "fault"),
    [
        (0.7, 3.0, ""),
        (LARGEST_LOSS, 1e30, ""),  # a large gradient alone is no divergence: Adam divides by it
        (math.nan, 1.0, "the loss is nan"),
        (-math.inf, 1.0, "the loss is -inf"),
        (0.7, math.nan, "the norm of the gradient is nan"),
        (0.7, math.inf, "the norm of the gradient is inf"),
        (2 * LARGEST_LOSS, 1.0, "the loss is 2e+06"),
    ],
)
def test_what_is_wrong_with_a_step(loss: float, norm: float, fault: str) -> None:
    assert fault_of(loss, norm) == fault


def test_the_message_says_step_rate_clips_and_what_is_left() -> None:
    assert str(diverged("the loss is nan", STEP)) == (
        "the loss is nan at step 7, learning rate 0.0005: try a lower one (--set optim.lr=0.0001) "
        "or --set model.dtype=float32, and look at the clips of the batch: a, b; the checkpoint "
        "of step 6 is kept"
    )
    many = tuple(f"clip{n}" for n in range(32))
    text = str(diverged("x", replace(STEP, clips=many, kept=None)))
    assert f"clip{SHOWN - 1} and {32 - SHOWN} more; no checkpoint yet" in text
    assert f"clip{SHOWN}," not in text


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, jax.numpy.bfloat16])
def test_the_array_that_is_not_finite_is_named(bad: float, dtype: type) -> None:
    fine = {"a": np.zeros(3, dtype), "step": np.int32(3), "b": {"kernel": np.ones((2, 2), dtype)}}
    assert not_finite(fine) == ""
    worse = np.ones((2, 2), dtype)
    worse[1, 1] = bad
    assert not_finite({**fine, "b": {"kernel": worse}}) == "b.kernel"
