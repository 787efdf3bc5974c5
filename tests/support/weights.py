"""Models with random weights, and such weights written as Keras and PyTorch write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from dfbench.config import ModelConfig
from dfbench.models.names import leaves
from dfbench.models.registry import get_model

Build = Callable[[ModelConfig, nnx.Rngs], nnx.Module]


@dataclass(frozen=True)
class Net:
    """A model in prediction."""

    graphdef: Any
    params: Any
    batch_stats: Any

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predict."""
        network = nnx.merge(self.graphdef, self.params, self.batch_stats)
        return np.asarray(jax.jit(network)(images))


def make_net(name: str, *, seed: int = 0, build: Build | None = None, **settings: Any) -> Net:
    """Fill a model from NumPy: He-normal kernels, everything else positive."""
    rng, config = np.random.default_rng(seed), ModelConfig(name=name, **settings)
    make = build or get_model(name).build
    model = nnx.eval_shape(lambda: make(config, nnx.Rngs(0)))
    model.eval()
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if leaf.ndim < 2:
            return np.asarray(rng.uniform(0.5, 1.0, leaf.shape), np.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return (rng.normal(size=leaf.shape) * scale).astype(np.float32)

    trees = [jax.tree.map(draw, nnx.to_pure_dict(tree)) for tree in (params, stats)]
    return Net(graphdef, *trees)


def flat(*trees: Any) -> dict[str, np.ndarray]:
    """Return the arrays by dotted name."""
    return {name: np.asarray(leaf) for name, leaf in leaves(*trees).items()}


def random_images(side: int, count: int = 2, seed: int = 0) -> np.ndarray:
    """Draw images in [0, 1]."""
    return np.random.default_rng(seed).uniform(size=(count, side, side, 3)).astype(np.float32)


def write_keras(path: Path, layers: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> Path:
    """Write the old format, names as bytes, as Keras 2 did."""
    layers = list(layers)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for name, arrays in layers:
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{leaf}:0".encode() for leaf in arrays]
            for leaf, array in arrays.items():
                group[f"{name}/{leaf}:0"] = array
    return path


def write_torch(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a state dict."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return path


KerasLayers = list[tuple[str, dict[str, np.ndarray]]]


def meso4_layers(net: Net) -> KerasLayers:
    """Return Meso-4 as its authors' files have it, with numbers that go on from other networks."""
    arrays = flat(net.params, net.batch_stats)

    def layer(path: str, *leaves: str) -> dict[str, np.ndarray]:
        return {leaf: arrays[f"{path}.{leaf}"] for leaf in leaves}

    layers = []
    for stage in range(4):
        conv = layer(f"convs.{stage}", "kernel", "bias")
        norm = layer(f"norms.{stage}", "scale", "bias", "mean", "var")
        layers += [(f"conv2d_{stage + 9}", conv), (f"batch_normalization_{stage + 9}", norm)]
    for number, path in enumerate(("head.hidden.0", "head.output"), 7):
        layers.append((f"dense_{number}", layer(path, "kernel", "bias")))
    return layers


def randomise(model: Any, seed: int = 0) -> None:
    """Give a Keras model kernels that keep signals alive, and norms that do something."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if len(shape) < 2:
            value = rng.uniform(0.5, 1.0, shape)
        else:
            depthwise = "depthwise" in variable.path
            fan_in = np.prod(shape[:2]) if depthwise else np.prod(shape[:-1])
            value = rng.normal(size=shape) * np.sqrt(2 / fan_in)
        variable.assign(value.astype(np.float32))
