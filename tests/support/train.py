"""Small networks and batches for tests of training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from flax import nnx

from dfbench.config import (
    AugmentConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TrainingConfig,
)
from dfbench.models import registry
from dfbench.models.layers import BatchNorm, Dropout
from dfbench.models.meso4 import Meso4
from dfbench.models.mesoinception4 import MesoInception4
from dfbench.models.registry import register
from dfbench.models.resnet import ResNet, ResNetV2, Unit
from dfbench.models.xception import Xception
from dfbench.train.parallel import Batch, pmap_train_step
from dfbench.train.state import (
    Networks,
    TrainState,
    abstract_state,
    build_networks,
    first_opt_state,
)
from dfbench.train.step import make_train_step

Build = Callable[[ModelConfig, nnx.Rngs], nnx.Module]
Wrap = Callable[..., Callable[..., Any]]

SIDE = 64  # px, of "small_meso4"
NO_AUGMENT = AugmentConfig(flip=0.0, blur=0.0, noise=0.0, brightness=0.0, contrast=0.0)
# Every augmentation at once.
FULL_AUGMENT = AugmentConfig(flip=0.5, blur=0.4, noise=0.4, brightness=0.1, contrast=0.1)

SMALL = RunConfig(
    model=ModelConfig(name="small_meso4", dropout=0.0),
    augment=NO_AUGMENT,
    optim=OptimConfig(name="sgd", lr=0.01),
    training=TrainingConfig(epochs=2, batch_size=16, patience=0),
)


class Tiny(nnx.Module):  # type: ignore[misc]
    """Batch norm, means over quarters, dropout, linear: everything a step meets, compiled fast."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.norm = BatchNorm(3, momentum=0.9, epsilon=1e-3)
        self.dropout = Dropout(config.dropout)
        self.output = nnx.Linear(12, 1, rngs=rngs)

    def __call__(self, images: jax.Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Return logits."""
        quarters = self.norm(images).reshape(-1, 2, 4, 2, 4, 3).mean((2, 4))
        features = self.dropout(quarters.reshape(-1, 12), rngs=rngs)
        logits: jax.Array = self.output(features)[:, 0]
        return logits


def _tiny(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    return Tiny(config, rngs=rngs)


def _resnet(unit: Unit) -> Build:
    def build(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
        return ResNet(config, unit=unit, depths=(1, 2), widths=(8, 16), rngs=rngs)

    return build


# Side in px, mean, and how to build each.
SMALL_MODELS: dict[str, tuple[int, float, Build]] = {
    "tiny": (8, 0.5, _tiny),
    "small_meso4": (SIDE, 0.0, lambda c, r: Meso4(c, input_size=SIDE, rngs=r)),
    "small_mesoinception4": (SIDE, 0.0, lambda c, r: MesoInception4(c, input_size=SIDE, rngs=r)),
    "small_resnet_basic": (32, 0.5, _resnet("basic")),
    "small_resnet_bottleneck": (32, 0.5, _resnet("bottleneck")),
    "small_resnet_v1_5": (32, 0.5, _resnet("bottleneck_v1_5")),
    "small_resnet_v2": (
        32,
        0.5,
        lambda c, r: ResNetV2(c, depths=(2, 1), widths=(8, 16), rngs=r),
    ),
    "small_xception": (32, 0.5, lambda c, r: Xception(c, rngs=r)),
    "small_midway_xception": (
        32,
        0.5,
        lambda c, r: Xception(c, middle_blocks=1, grouped=True, skip_everywhere=True, rngs=r),
    ),
}


@contextmanager
def small_models() -> Iterator[None]:
    """Register `SMALL_MODELS`."""
    known = dict(registry._SPECS)
    for name, (size, mean, build) in SMALL_MODELS.items():
        if name not in known:
            register(name=name, summary="", input_size=size, paper="", mean=mean)(build)
    try:
        yield
    finally:
        for name in SMALL_MODELS.keys() - known.keys():
            del registry._SPECS[name]


TINY = replace(SMALL, model=ModelConfig(name="tiny", dropout=0.0))


def filled_state(config: RunConfig) -> tuple[TrainState, Networks]:
    """Make a state of He-normal kernels by NumPy, which does not wait for a compiler."""
    networks, rng = build_networks(config), np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if leaf.ndim < 2:
            return rng.uniform(0.5, 1.0, leaf.shape).astype(leaf.dtype)
        fan_in = np.prod(leaf.shape[:-1])
        return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan_in)).astype(leaf.dtype)

    like = abstract_state(config, optimizer=False)
    params, stats = (jax.tree.map(draw, tree) for tree in (like.params, like.batch_stats))
    opt_state = jax.tree.map(np.asarray, first_opt_state(networks, params))
    step = np.zeros((), np.int32)
    return TrainState(step=step, params=params, batch_stats=stats, opt_state=opt_state), networks


def make_batch(
    size: int, *, side: int = SIDE, seed: int = 0, mask: np.ndarray | None = None
) -> Batch:
    """Make random crops; fakes are redder."""
    rng = np.random.default_rng(seed)
    label = (np.arange(size) % 2).astype(np.int32)
    image = rng.integers(0, 200, (size, side, side, 3))
    image[..., 0] += 50 * label[:, None, None]
    return {
        "image": image.astype(np.uint8),
        "label": label,
        "index": np.arange(size, dtype=np.int32),
        "mask": np.ones(size, np.float32) if mask is None else mask.astype(np.float32),
    }


class Batches:
    """Endless batches that follow from their number alone."""

    def __init__(self, size: int, *, side: int = SIDE) -> None:
        self.size, self.side, self.number = size, side, 0

    def __next__(self) -> Batch:
        self.number += 1
        return make_batch(self.size, side=self.side, seed=self.number)

    def get_state(self) -> Any:
        return {"number": self.number}

    def set_state(self, state: Any) -> None:
        self.number = state["number"]


@dataclass(frozen=True)
class Trained:
    """State and metrics after some steps."""

    state: TrainState
    metrics: list[dict[str, float]]


# Compiling takes seconds: once a configuration.
@functools.cache
def initial(config: RunConfig) -> tuple[TrainState, Networks]:
    """Make the first state."""
    return filled_state(config)


def kept_states(
    create: Callable[..., tuple[TrainState, Networks]],
) -> Callable[..., tuple[TrainState, Networks]]:
    """Make each first state once; as NumPy arrays, since a step takes the memory of its state."""

    @functools.cache
    def kept(*args: Any, **options: Any) -> tuple[TrainState, Networks]:
        state, networks = create(*args, **options)
        return jax.tree.map(np.array, jax.device_get(state)), networks

    return kept


@functools.cache
def train_step(
    config: RunConfig, class_weights: tuple[float, float], devices: int | None, wrap: Wrap
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Make the step over `devices`."""
    return wrap(make_train_step(networks_of(config), config, class_weights), devices=devices)


def networks_of(config: RunConfig) -> Networks:
    """Make networks, whose first state does not depend on augmentation."""
    return initial(replace(config, augment=NO_AUGMENT))[1]


def train(
    config: RunConfig,
    batches: list[Batch],
    *,
    devices: int | None = None,
    class_weights: tuple[float, float] = (1.0, 1.0),
    wrap: Wrap = pmap_train_step,
) -> Trained:
    """Take a step a batch from the first state, on the first `devices`."""
    state, _ = initial(replace(config, augment=NO_AUGMENT))
    step = train_step(config, class_weights, devices, wrap)
    metrics = []
    for batch in batches:
        state, values = step(state, batch)
        metrics.append({name: float(value) for name, value in values.items()})
    return Trained(jax.device_get(state), metrics)


def assert_trees_equal(tree: Any, expected: Any) -> None:
    """Compare bit by bit."""
    found, wanted = jax.tree.leaves_with_path(tree), jax.tree.leaves_with_path(expected)
    assert [path for path, _ in found] == [path for path, _ in wanted]
    for (path, leaf), (_, other) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(leaf, other, err_msg=jax.tree_util.keystr(path), strict=True)


def assert_trees_close(tree: Any, expected: Any, *, rtol: float, atol: float) -> None:
    """Compare each array, differences in relation to its largest entry."""
    found, wanted = jax.tree.leaves_with_path(tree), jax.tree.leaves_with_path(expected)
    assert [path for path, _ in found] == [path for path, _ in wanted]
    for (path, leaf), (_, other) in zip(found, wanted, strict=True):
        largest = float(np.max(np.abs(other)))
        error = float(np.max(np.abs(np.asarray(leaf) - np.asarray(other))))
        assert error <= rtol * largest + atol, f"{jax.tree_util.keystr(path)}: off by {error}"
