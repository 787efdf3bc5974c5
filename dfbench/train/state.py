"""What training changes (`TrainState`), and what stays fixed (`Networks`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jaxtyping import Int, Key

from dfbench.config import RunConfig, phases_of
from dfbench.models.describe import abstract_model
from dfbench.models.keys import key_streams
from dfbench.models.layers import freeze_statistics
from dfbench.models.names import Tree
from dfbench.models.registry import ModelSpec, configured_model
from dfbench.train.optim import make_optimizer, make_schedule
from dfbench.train.phases import frozen_statistics, partition, trained_names


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything a step reads and writes: a pytree, a single copy for all devices.

    Attributes:
        step: Steps taken, int32.
        params: Parameters, float32; a phase may leave some as they are.
        batch_stats: Running means and variances of batch norm, float32.
        opt_state: The optimizer's of this phase; None in a state that only predicts.
    """

    step: Int[Array, ""]
    params: Tree
    batch_stats: Tree
    opt_state: Any


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The model in both modes, and the optimizer.

    Attributes:
        graphdef_train: With dropout, and statistics of the batch.
        graphdef_eval: Without dropout, and with running statistics.
        spec: Input size, mean and standard deviation among others.
        trained: Dotted names of the parameters that this phase changes.
        optimizer: Of those; its updates include the learning rate.
        schedule: The learning rate of a step of this phase, counted from 0.
    """

    graphdef_train: nnx.GraphDef[Any]
    graphdef_eval: nnx.GraphDef[Any]
    spec: ModelSpec
    trained: frozenset[str]
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule


def build_networks(config: RunConfig, *, steps_per_epoch: int = 1, phase: int = 0) -> Networks:
    """Build what stays fixed in a phase of the training, without making any parameter.

    `steps_per_epoch` matters to the schedule only: leave it out to predict.

    Raises:
        UserError: Unknown model, optimizer or schedule, or a phase that fits no parameter.
    """
    spec = configured_model(config.model)
    part = phases_of(config)[phase]
    schedule = make_schedule(
        part.optim, steps_per_epoch=steps_per_epoch, total_steps=steps_per_epoch * part.epochs
    )
    model = abstract_model(spec, config.model)
    trained = trained_names(nnx.to_pure_dict(nnx.state(model, nnx.Param)), part)
    model.train()
    freeze_statistics(model, frozen_statistics(part))
    graphdef_train = nnx.graphdef(model)
    model.eval()
    return Networks(
        graphdef_train=graphdef_train,
        graphdef_eval=nnx.graphdef(model),
        spec=spec,
        trained=trained,
        optimizer=make_optimizer(part.optim, schedule),
        schedule=schedule,
    )


def create_state(
    config: RunConfig, *, seed: int | None = None, steps_per_epoch: int = 1
) -> tuple[TrainState, Networks]:
    """Make the state before the first step, from `seed` (or else `config.seed`).

    Raises:
        UserError: Unknown model, optimizer or schedule.
    """
    networks = build_networks(config, steps_per_epoch=steps_per_epoch)
    start = jax.random.key(config.seed if seed is None else seed)

    @jax.jit
    def make(key: Key[Array, ""]) -> TrainState:  # an input: seeds share a compiled program
        model = networks.spec.build(config.model, key_streams(default=key))
        _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
        params = nnx.to_pure_dict(params)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=nnx.to_pure_dict(batch_stats),
            opt_state=first_opt_state(networks, params),
        )

    return make(start), networks


def first_opt_state(networks: Networks, params: Tree) -> Any:
    """Return the optimizer's state before the first step of its phase."""
    return networks.optimizer.init(partition(params, networks.trained)[0])


def begin_phase(state: TrainState, networks: Networks) -> TrainState:
    """Return the state with a new optimizer: that of the phase of `networks`."""
    opt_state = jax.jit(lambda params: first_opt_state(networks, params))(state.params)
    return dataclasses.replace(state, opt_state=opt_state)


def without_optimizer(state: TrainState) -> TrainState:
    """Return what prediction needs."""
    return dataclasses.replace(state, opt_state=None)


def abstract_state(config: RunConfig, *, optimizer: bool) -> TrainState:
    """Return the shapes and types of the state, without making it."""
    state: TrainState = jax.eval_shape(lambda: create_state(config)[0])
    return state if optimizer else without_optimizer(state)


def parameter_count(state: TrainState) -> int:
    """Return how many numbers are trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(state.params))
