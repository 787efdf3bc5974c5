"""One training step, as one device sees it."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jaxtyping import Float, Int

from dfbench.config import Loss, RunConfig
from dfbench.models.inputs import represent
from dfbench.models.keys import key_streams
from dfbench.models.names import Tree
from dfbench.train.augment import augment, example_keys, to_frames
from dfbench.train.parallel import AXIS
from dfbench.train.phases import combine, partition
from dfbench.train.state import Networks, TrainState

_DROPOUT_STREAM = 2**31 - 1  # no example stands at this position

Metrics = dict[str, Array]
DeviceStep = Callable[[TrainState, Mapping[str, Array]], tuple[TrainState, Metrics]]


def loss_sum(
    logits: Float[Array, " batch"],
    labels: Int[Array, " batch"],
    mask: Float[Array, " batch"],
    class_weights: Float[Array, " 2"],
    kind: Loss = "bce",
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the weighted loss summed over examples, and the sum of weights.

    An example weighs `mask * class_weights[label]`; padding (mask 0) adds nothing to either. The
    loss is the binary cross-entropy, or ("l2") the squared error of P(fake).
    """
    weights = mask * class_weights[labels]
    wanted = labels.astype(jnp.float32)
    if kind == "bce":
        losses = optax.sigmoid_binary_cross_entropy(logits, wanted)
    else:
        losses = jnp.square(jax.nn.sigmoid(logits) - wanted)
    return jnp.sum(weights * losses), jnp.sum(weights)


def make_train_step(
    networks: Networks, config: RunConfig, class_weights: tuple[float, float]
) -> DeviceStep:
    """Return the per-device function `step(state, batch) -> (state, metrics)`.

    It must run under the axis "batch" (`train.parallel`). The loss is the mean, by weight, of
    `training.loss` over the batch of *all* devices, and so are its gradients. `metrics` are
    float32 scalars, equal on all devices: `loss`, `correct` (examples on the right side of 0),
    `count` (examples, without padding) and `grad_norm`. The number of devices changes nothing but
    rounding. `batch["seed"]`, the same for each example, stands for `config.seed`; `batch["stop"]`,
    flags by which processes tell each other something, is added up.
    """
    weights = np.asarray(class_weights, np.float32)

    def step(state: TrainState, batch: Mapping[str, Array]) -> tuple[TrainState, Metrics]:
        share = batch["label"].shape[0]
        device = lax.axis_index(AXIS)
        positions = device * share + jnp.arange(share, dtype=jnp.int32)
        images = to_frames(batch["image"], networks.spec)
        # An input, where it is one: trainings with several seeds then share a compiled program.
        seed = batch["seed"][0] if "seed" in batch else config.seed
        images = augment(images, example_keys(seed, state.step, positions), config.augment)
        images = represent(images, networks.spec)
        dropout = _dropout_key(seed, state.step)

        trained, fixed = partition(state.params, networks.trained)

        def local_loss(trained: Tree) -> tuple[Array, tuple[Array, Tree]]:
            model = nnx.merge(
                networks.graphdef_train,
                nnx.State(combine(trained, fixed)),
                nnx.State(state.batch_stats),
                copy=True,
            )
            logits = model(images, rngs=key_streams(dropout=dropout))
            labels, mask, kind = batch["label"], batch["mask"], config.training.loss
            total, weight = loss_sum(logits, labels, mask, jnp.asarray(weights), kind)
            stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
            return total / jnp.maximum(lax.psum(weight, AXIS), 1e-6), (logits, stats)

        # The local losses add up to the loss, so the local gradients add up to its gradient.
        (loss, (logits, stats)), grads = jax.value_and_grad(local_loss, has_aux=True)(trained)
        grads = lax.psum(grads, AXIS)
        correct = ((logits > 0) == (batch["label"] == 1)).astype(jnp.float32) * batch["mask"]
        metrics = {"loss": loss, "correct": jnp.sum(correct), "count": jnp.sum(batch["mask"])}
        if "stop" in batch:
            metrics["stop"] = jnp.sum(batch["stop"])
        metrics = lax.psum(metrics, AXIS) | {"grad_norm": optax.tree.norm(grads)}
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its int32 count with floats
            updates, opt_state = networks.optimizer.update(grads, state.opt_state, trained)
        params = combine(optax.apply_updates(trained, updates), fixed)
        new = TrainState(step=state.step + 1, params=params, batch_stats=stats, opt_state=opt_state)
        return new, metrics

    return step


def _dropout_key(seed: int | Int[Array, ""], step: Int[Array, ""]) -> Array:
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.random.fold_in(key, _DROPOUT_STREAM)
