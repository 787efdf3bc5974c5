"""Any network of `keras.applications` as a detector: `keras:VGG19` and so on."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.models.inputs import image_channels
from dfbench.models.keras_graph import (
    Path,
    build_graph,
    initial_values,
    keras,
    put,
    run_graph,
)
from dfbench.models.layers import BatchNorm, Head
from dfbench.models.registry import KERAS_PREFIX, ModelSpec, check_name

# Side of the images of ImageNet that each was made for, px; 224 where nothing is said.
_SIDES = {
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2L": 480,
    "EfficientNetV2M": 480,
    "EfficientNetV2S": 384,
    "InceptionResNetV2": 299,
    "InceptionV3": 299,
    "NASNetLarge": 331,
    "Xception": 299,
}


class KerasBackbone(nnx.Module):
    """A network of `keras.applications`, pooled, and our head.

    Parameters are `backbone.LAYER.kernel` and so on, by Keras's names of layers, drawn by Keras's
    initialisers. Batch norms are our own (`layers.BatchNorm`), with Keras's momentum and epsilon:
    of all devices in training, and without bias towards where they start; where Keras has no
    gamma, `scale` is no parameter. Dropout and stochastic depth within a network are drawn from
    `rngs` for the batch over all devices. Families whose images are BGR (VGG, ResNet) get RGB
    here as everywhere, and the order is changed inside.

    The Keras model itself is no part of the module: it is looked up by name, size and dtype.

    Args:
        config: Of it `dtype`, `input`, `pooling`, and what `Head` takes.
        name: Of the application: "VGG19".
        side: Of the images, px.
        rngs: Needs the stream "params".

    Raises:
        UserError: The network does not take such images.
    """

    def __init__(self, config: ModelConfig, name: str, *, side: int, rngs: nnx.Rngs) -> None:
        self.built = (name, side, config.dtype, image_channels(config), config.pooling)
        graph = build_graph(*self.built)
        tree: dict[str, Any] = {}
        for path, value in initial_values(graph.weights, rngs).items():
            put(tree, path, nnx.Param(value))
        for path, value in initial_values(graph.constants, rngs).items():
            put(tree, path, nnx.BatchStat(value))
        for path, layer in graph.norms.items():
            put(tree, path, _batch_norm(layer))
        self.backbone = _modules(tree)
        self.head = Head(graph.features, config, rngs=rngs)
        self.flip_channels = preprocessing(name).flip_channels
        self.deterministic = False  # set by train() and eval()

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images are RGB, as `preprocessing` says."""
        graph = build_graph(*self.built)
        values = {
            path: _at(self.backbone, path)[...] for path in (*graph.weights, *graph.constants)
        }
        norms = {path: _at(self.backbone, path) for path in graph.norms}
        features = run_graph(
            graph,
            _backwards(images) if self.flip_channels else images,
            values,
            norms,
            training=not self.deterministic,
            rngs=rngs,
        )
        return self.head(features, rngs=rngs)


def _backwards(images: Float[Array, "batch height width channel"]) -> Array:
    """Turn the order of the colours, in each three channels."""
    *shape, channels = images.shape
    return images.reshape(*shape, channels // 3, 3)[..., ::-1].reshape(images.shape)


def _batch_norm(layer: Any) -> BatchNorm:
    channels = int(layer.moving_mean.shape[0])
    norm = BatchNorm(channels, momentum=layer.momentum, epsilon=layer.epsilon)
    for used, name in ((layer.scale, "scale"), (layer.center, "bias")):
        if not used:
            setattr(norm, name, nnx.BatchStat(getattr(norm, name)[...]))
    return norm


def _modules(tree: dict[str, Any]) -> nnx.Dict[Any]:
    return nnx.Dict({k: _modules(v) if isinstance(v, dict) else v for k, v in tree.items()})


def _at(module: Any, path: Path) -> Any:
    for part in path:
        module = module[part]
    return module


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What an application's `preprocess_input` does to an image.

    Attributes:
        mean: Subtracted from an image in [0, 1], of R, G and B.
        std: Then divided by.
        flip_channels: Whether the result is BGR.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip_channels: bool


@functools.cache
def preprocessing(name: str) -> Preprocessing:
    """Find out what `preprocess_input` of an application's family does, by trying it."""
    module = sys.modules[getattr(keras.applications, name).__module__]
    # One pixel each: black, and a full red, green and blue.
    pixels = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).astype(np.float32)
    seen = np.array(module.preprocess_input(pixels[None, None].copy()), np.float64)[0, 0]
    black, slopes = seen[0], seen[1:] - seen[0]  # [input channel, output channel]
    flipped = bool(abs(slopes[0, 2]) > abs(slopes[0, 0]))
    if flipped:
        black, slopes = black[::-1], slopes[:, ::-1]
    std = 1 / np.diag(slopes)
    mean = 0.0 - black * std
    red, green, blue = ((float(m), float(s)) for m, s in zip(mean, std, strict=True))
    return Preprocessing(
        mean=(red[0], green[0], blue[0]),
        std=(red[1], green[1], blue[1]),
        flip_channels=flipped,
    )


@functools.cache
def keras_spec(name: str) -> ModelSpec:
    """Return the model `keras:NAME`.

    Raises:
        UserError: There is no such application, or no Keras on JAX.
    """
    check_name(name)
    application = name.removeprefix(KERAS_PREFIX)
    side, pixels = _SIDES.get(application, 224), preprocessing(application)

    def build(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
        return KerasBackbone(config, application, side=config.input_size or side, rngs=rngs)

    return ModelSpec(
        name=name,
        summary=f"{application} of Keras, pooled",
        input_size=side,
        mean=pixels.mean,
        std=pixels.std,
        paper=f"Keras application {application}: https://keras.io/api/applications/",
        parameters=None,
        multiply_adds=None,
        build=build,
    )
