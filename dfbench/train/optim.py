"""Optimizer and learning-rate schedule from the configuration."""

from __future__ import annotations

from typing import Any

import jax
import optax

from dfbench.config import OptimConfig
from dfbench.errors import UserError, nearest


def make_schedule(config: OptimConfig, *, steps_per_epoch: int, total_steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the step (0 is the first).

    constant: `lr`; cosine: from `lr` to 0 over `total_steps`; step: times `step_factor` every
    `step_epochs` epochs.

    Raises:
        UserError: Unknown schedule.
    """
    if config.schedule == "constant":
        return optax.constant_schedule(config.lr)
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(config.lr, max(total_steps, 1))
    if config.schedule == "step":
        return optax.exponential_decay(
            config.lr,
            transition_steps=max(config.step_epochs * steps_per_epoch, 1),
            decay_rate=config.step_factor,
            staircase=True,
        )
    known = ("constant", "cosine", "step")
    raise UserError(
        f"unknown optim.schedule '{config.schedule}'{nearest(config.schedule, known)} "
        f"(known: {', '.join(known)})"
    )


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer(config: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Return Adam, or SGD with momentum.

    Weight decay acts on kernels only, not on biases or batch norm. With Adam it is decoupled
    (AdamW, Loshchilov & Hutter 2019); with SGD it is the classical L2 term, added to the gradient
    before the momentum.

    Raises:
        UserError: Unknown optimizer.
    """
    if config.name == "adam":
        if not config.weight_decay:
            return optax.adam(schedule)
        return optax.adamw(schedule, weight_decay=config.weight_decay, mask=_kernels)
    if config.name == "sgd":
        sgd = optax.sgd(schedule, momentum=config.momentum)
        if not config.weight_decay:
            return sgd
        return optax.chain(optax.add_decayed_weights(config.weight_decay, mask=_kernels), sgd)
    known = ("adam", "sgd")
    raise UserError(
        f"unknown optim.name '{config.name}'{nearest(config.name, known)} "
        f"(known: {', '.join(known)})"
    )
