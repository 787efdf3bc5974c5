"""Whole networks against those of `keras.applications` with the same random weights.

Outputs, statistics and gradients, to 1e-4 of the largest number of each array. Gradients are
compared with softplus for every ReLU and sums for maxima over windows, in both networks: those of
ReLU and of a maximum jump wherever rounding turns one, which happens to a few of a million numbers
and shows up in the third digit.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # before anything imports Keras

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import nnx
from jax import Array

from dfbench.config import ModelConfig
from dfbench.models import lowering
from dfbench.models.layers import AXIS
from dfbench.models.resnet import ResNet, ResNetV2
from dfbench.models.xception import Xception

pytestmark = pytest.mark.slow

Path = tuple[Any, ...]  # ("blocks", 3, "skip", "kernel")
Arrays = dict[Path, np.ndarray]

TOLERANCE = 1e-4
KERAS_MOMENTUM = 0.99
NORM = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}


@pytest.fixture(autouse=True)
def _promotion_as_keras_needs_it() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


# --- which of Keras' variables a parameter of ours is ---------------------------------------------


def _xception_name(path: Path) -> str:
    *module, leaf = path
    if module[0] == "blocks" and module[2] in ("skip", "skip_norm"):
        number = {0: "", 1: "_1", 2: "_2", 11: "_3"}[module[1]]
        return f"conv2d{number}/kernel" if leaf == "kernel" else _norm(f"{_BN}{number}", leaf)
    if module[0] == "blocks":
        layer, part = f"block{module[1] + 2}_sepconv{module[3] + 1}", module[4]
    elif str(module[0]).startswith("exit"):
        layer, part = f"block14_sepconv{module[0][-1]}", module[1]
    else:
        layer, part = f"block1_conv{module[0][-1]}", "norm" if leaf != "kernel" else ""
    if part == "norm":
        return _norm(f"{layer}_bn", leaf)
    return f"{layer}/{part}_kernel" if part else f"{layer}/kernel"


_BN = "batch_normalization"


def _norm(layer: str, leaf: str) -> str:
    return f"{layer}/{NORM[leaf]}"


def _resnet_name(path: Path, *, preactivation: bool) -> str:
    *module, leaf = path
    if module[0] != "stages":
        names = {"conv1": "conv1_conv", "norm1": "conv1_bn", "norm": "post_bn"}
        layer, is_norm = names[module[0]], module[0] != "conv1"
    else:
        _, stage, unit, part, *number = module
        is_norm = "norm" in part
        k = 0 if not number else number[0] + (0 if is_norm and preactivation else 1)
        what = "preact" if is_norm and preactivation and k == 0 else k
        layer = f"conv{stage + 2}_block{unit + 1}_{what}_{'bn' if is_norm else 'conv'}"
    return _norm(layer, leaf) if is_norm else f"{layer}/{leaf}"


# --- the networks --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A network of ours and Keras' one.

    Attributes:
        ours: Builds it.
        keras: Name of the application.
        side: Of the images, px.
        name: Of Keras' variable, by our path.
    """

    ours: Callable[[ModelConfig, nnx.Rngs], nnx.Module]
    keras: str
    side: int
    name: Callable[[Path], str]


CASES = {
    # Keras' max-pool pads an even side at its end alone, the field's at both: here all are odd.
    "xception": Case(
        lambda config, rngs: Xception(config, epsilon=1e-3, rngs=rngs),
        "Xception",
        71,
        _xception_name,
    ),
    "resnet50": Case(
        lambda config, rngs: ResNet(config, unit="bottleneck", epsilon=1.001e-5, rngs=rngs),
        "ResNet50",
        64,
        functools.partial(_resnet_name, preactivation=False),
    ),
    "resnet50v2": Case(
        lambda config, rngs: ResNetV2(config, rngs=rngs),
        "ResNet50V2",
        64,
        functools.partial(_resnet_name, preactivation=True),
    ),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


class Features(nnx.Module):  # type: ignore[misc]
    """In place of a head: the pooled features themselves."""

    def __call__(self, x: Array, *, rngs: nnx.Rngs | None) -> Array:
        return x


@dataclass(frozen=True)
class Pair:
    """Both networks, and their numbers.

    Attributes:
        model: Ours, of shapes alone.
        values: Its numbers by path.
        twin: Keras'.
        trainable: Numbers of its trainable variables.
        others: Those of the others.
        paths: Our paths by Keras' names.
        biases: Of Keras' convolutions before a batch norm, by the name of that one's mean.
    """

    model: nnx.Module
    values: Arrays
    twin: Any
    trainable: list[np.ndarray]
    others: list[np.ndarray]
    paths: dict[str, Path]
    biases: dict[str, np.ndarray]


def _draw(path: Path, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if path[-1] == "seen":
        values = np.ones(shape)  # then the rule of the running averages is Keras'
    elif path[-1] == "kernel":
        values = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
    elif path[-1] in ("scale", "var"):
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = 0.1 * rng.normal(size=shape)
    return values.astype(np.float32)


def _to_keras(value: Any, name: str) -> Any:
    """Keras has depthwise kernels as [3, 3, channel, 1]."""
    return value.transpose(0, 1, 3, 2) if name.endswith("depthwise_kernel") else value


def _pair(case: Case) -> Pair:
    model: Any = nnx.eval_shape(lambda: case.ours(ModelConfig(), nnx.Rngs(0)))
    model.head = Features()
    rng = np.random.default_rng(0)
    state = nnx.to_flat_state(nnx.state(model))
    values = {path: _draw(path, leaf.shape, rng) for path, leaf in state}
    keras.utils.clear_session()  # Keras numbers layers without a name
    twin = getattr(keras.applications, case.keras)(
        include_top=False, weights=None, pooling="avg", input_shape=(case.side, case.side, 3)
    )
    paths = {case.name(path): path for path in values if path[-1] != "seen"}
    found = {name: _to_keras(values[path], name) for name, path in paths.items()}
    biases = {}
    for variable in twin.variables:
        if variable.path not in found:  # the bias of a convolution before a batch norm
            layer, leaf = variable.path.split("_conv/")
            assert leaf == "bias"
            bias = (0.1 * rng.normal(size=variable.shape)).astype(np.float32)
            mean = f"{layer}_bn/moving_mean"
            found[variable.path], biases[mean] = bias, bias
            found[mean] = found[mean] + bias
    assert found.keys() == {variable.path for variable in twin.variables}
    for variable in twin.variables:
        assert found[variable.path].shape == variable.shape, variable.path
    return Pair(
        model=model,
        values=values,
        twin=twin,
        trainable=[found[v.path] for v in twin.trainable_variables],
        others=[found[v.path] for v in twin.non_trainable_variables],
        paths=paths,
        biases=biases,
    )


@dataclass(frozen=True)
class Found:
    """What a network gives.

    Attributes:
        features: [batch, feature].
        stats: The new running statistics.
        by_params: Gradients, if asked for.
        by_images: Likewise.
    """

    features: Any
    stats: dict[Any, np.ndarray]
    by_params: dict[Any, np.ndarray]
    by_images: Any


def _images(case: Case, seed: int) -> np.ndarray:
    shape = (4, case.side, case.side, 3)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _error(found: Any, wanted: Any, *beside: Any) -> float:
    """Return the largest difference in relation to the largest number, here or in `beside`."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    largest = max(float(np.max(np.abs(array))) for array in (wanted, *beside))
    return float(np.max(np.abs(found - wanted))) / largest


# --- running them --------------------------------------------------------------------------------


def _run_ours(pair: Pair, images: np.ndarray, *, training: bool, gradients: bool) -> Found:
    model: Any = pair.model
    model.train() if training else model.eval()
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    params, stats = (
        nnx.from_flat_state(
            {path: leaf.replace(jnp.asarray(pair.values[path])) for path, leaf in flat}
        )
        for flat in (nnx.to_flat_state(params), nnx.to_flat_state(stats))
    )

    def outputs(params: Any, images: Array, stats: Any) -> tuple[Array, Any]:
        merged = nnx.merge(graphdef, params, stats, copy=True)
        return merged(images), nnx.state(merged, nnx.BatchStat)

    step = jax.shard_map(
        _with_gradients(outputs) if gradients else outputs,
        mesh=jax.make_mesh((1,), (AXIS,)),
        in_specs=jax.P(),
        out_specs=jax.P(),
        check_vma=False,
    )
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        out = jax.jit(step)(params, images, stats)
    (features, new), by_params, by_images = out if gradients else (out, {}, None)
    flat = {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(new)}
    if gradients:
        by_params = {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(by_params)}
    return Found(features, flat, by_params, by_images)


def _run_keras(pair: Pair, images: np.ndarray, *, training: bool, gradients: bool) -> Found:
    def outputs(trainable: Any, images: Array, others: Any) -> tuple[Array, Any]:
        features: Array
        features, others = pair.twin.stateless_call(trainable, others, images, training=training)
        return features, others

    run = jax.jit(_with_gradients(outputs) if gradients else outputs)
    out = run(pair.trainable, images, pair.others)
    (features, new), by_trainable, by_images = out if gradients else (out, [], None)
    names = [variable.path for variable in pair.twin.non_trainable_variables]
    stats = {name: np.asarray(x) for name, x in zip(names, new, strict=True)}
    names = [variable.path for variable in pair.twin.trainable_variables]
    by = {name: np.asarray(x) for name, x in zip(names, by_trainable, strict=gradients)}
    return Found(features, stats, by, by_images)


def _with_gradients(outputs: Callable[..., tuple[Array, Any]]) -> Callable[..., Any]:
    """Return outputs, and the gradients of a weighted sum of features by parameters and images."""

    def loss(params: Any, images: Array, stats: Any) -> tuple[Array, Any]:
        features, new = outputs(params, images, stats)
        weights = np.random.default_rng(2).normal(size=features.shape).astype(np.float32)
        return jnp.sum(features * jnp.asarray(weights)), (features, new)

    def both(params: Any, images: Array, stats: Any) -> Any:
        run = jax.value_and_grad(loss, (0, 1), has_aux=True)
        (_, found), (by_params, by_images) = run(params, images, stats)
        return found, by_params, by_images

    return both


def _sum_pool(x: Array, border: int) -> Array:
    """Return the sums where a max-pool takes the largest, with `border` zeros around."""
    pads = ((0, 0), (border, border), (border, border), (0, 0))
    summed: Array = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 2, 2, 1), pads)
    return summed


def _smooth(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing in both networks whose gradient jumps."""
    monkeypatch.setattr(nnx, "relu", jax.nn.softplus)
    monkeypatch.setattr(lowering, "max_pool3x3", lambda x, border=0.0: _sum_pool(x, 1))
    for layer in pair.twin.layers:
        if isinstance(layer, keras.layers.Activation):
            layer.activation = jax.nn.softplus
        if isinstance(layer, keras.layers.MaxPooling2D) and layer.pool_size == (3, 3):
            layer.call = functools.partial(_sum_pool, border=int(layer.padding == "same"))


def _compare(pair: Pair, images: np.ndarray, *, training: bool, gradients: bool) -> Arrays:
    """Hold ours against Keras'; return our statistics of the batch in training."""
    ours = _run_ours(pair, images, training=training, gradients=gradients)
    theirs = _run_keras(pair, images, training=training, gradients=gradients)
    assert np.std(theirs.features) > 0.01
    errors = {"features": _error(ours.features, theirs.features)}
    if gradients:
        errors["by images"] = _error(ours.by_images, theirs.by_images)
    seen = {}
    for name, path in pair.paths.items():
        if name in theirs.by_params:
            gradient = _to_keras(ours.by_params[path], name)
            # Before a batch norm, a bias changes nothing: what is left is the rounding of zero.
            kernel = theirs.by_params.get(name.replace("/bias", "/kernel"), np.zeros(1))
            errors[f"by {name}"] = _error(gradient, theirs.by_params[name], kernel)
        elif training and path in ours.stats:
            old, bias = pair.values[path], pair.biases.get(name, np.float32(0))
            seen[path] = _of_batch(old, ours.stats[path], _momentum(pair.model, path))
            expected = _of_batch(old + bias, theirs.stats[name], KERAS_MOMENTUM) - bias
            errors[name] = _error(seen[path], expected)
    worst = max(errors, key=lambda name: errors[name])
    print(f"largest error, training={training}: {errors[worst]:.1e} ({worst})")
    assert errors[worst] < TOLERANCE, f"{worst}: off by {errors[worst]:.1e} of its largest number"
    return seen


def _momentum(model: Any, path: Path) -> float:
    for part in path[:-1]:
        model = model[part] if isinstance(part, int) else getattr(model, part)
    return float(model.momentum)


def _of_batch(old: np.ndarray, new: np.ndarray, momentum: float) -> np.ndarray:
    """Return what moved a running average from `old` to `new`."""
    moved: np.ndarray = (new.astype(np.float64) - momentum * old) / (1 - momentum)
    return moved.astype(np.float32)


@EVERY_CASE
@pytest.mark.parametrize("smooth", [False, True], ids=["outputs", "gradients"])
def test_same_numbers(case: Case, smooth: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = _pair(case)
    if smooth:
        _smooth(pair, monkeypatch)
    seen = _compare(pair, _images(case, 1), training=True, gradients=smooth)
    values = pair.values | seen  # running statistics as after a training, for other images
    moved = {
        name: values[path] + pair.biases.get(name, np.float32(0))
        for name, path in pair.paths.items()
    }
    others = [moved[v.path] for v in pair.twin.non_trainable_variables]
    trained = dataclasses.replace(pair, values=values, others=others)
    _compare(trained, _images(case, 2), training=False, gradients=smooth)
