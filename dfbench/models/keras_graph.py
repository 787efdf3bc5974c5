"""Networks of `keras.applications` without any numbers in them: graphs that JAX can call.

Keras keeps its numbers inside its layers and runs its random numbers from a state of its own; a
training step wants neither. So a graph is built once, its variables never get a value, and each
call brings the values, the batch norms and the random keys along.
"""

# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False
from __future__ import annotations

import copy
import functools
import importlib
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from dfbench.errors import UserError
from dfbench.models import lowering
from dfbench.models.cam import feature_map
from dfbench.models.layers import BatchNorm, drop

Path = tuple[str, ...]  # ("conv1_bn", "scale"): the parts of a dotted name
Result = TypeVar("Result")
Pooling = Literal["average", "max"]

INSTALL = "keras:NAME needs Keras 3: pip install 'dfbench[keras]'"


def _import_keras() -> Any:
    """Import Keras on its JAX backend, which is chosen for good by the first import."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "jax"
    try:
        keras: Any = importlib.import_module("keras")
    except ImportError as error:
        raise UserError(f"{INSTALL} ({error})") from error
    backend = keras.config.backend()
    if backend != "jax":
        raise UserError(
            f"Keras was imported with the backend '{backend}' before dfbench could choose: "
            "set the environment variable KERAS_BACKEND=jax"
        )
    return keras


keras = _import_keras()


def in_fresh_thread(function: Callable[[], Result]) -> Result:
    """Call a function that makes Keras layers.

    A trace of JAX and Keras's global state (names given so far, dtype policy) belong to a thread.
    In one of its own a graph can be built in the middle of a trace, its automatic names
    (`conv2d_7`) always count from nought, and nobody else's settings are changed.
    """

    def call() -> Result:
        # Keras mixes types and ranks freely.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


@dataclass(frozen=True, eq=False)
class Graph:
    """A network without its classifier, and what it needs to be called.

    Attributes:
        model: The Keras model: images to features. Its variables hold no values.
        features: Numbers an image.
        weights: The trained variables, but for those of batch norms.
        constants: Other float variables: no training changes them.
        norms: Batch norms.
    """

    model: Any
    features: int
    weights: Mapping[Path, Any]
    constants: Mapping[Path, Any]
    norms: Mapping[Path, Any]


@functools.cache
def build_graph(
    name: str, side: int, dtype: str, channels: int = 3, pooling: Pooling = "average"
) -> Graph:
    """Build the graph of `keras.applications.NAME` for square images.

    Args:
        name: Of the application, without "keras:".
        side: Of the images, px.
        dtype: Of the activations, "float32" or "bfloat16"; variables are float32.
        channels: Of the images.
        pooling: Of the last feature maps.

    Raises:
        UserError: The network does not take images of that size, or of so many channels.
    """
    return in_fresh_thread(lambda: _build(name, side, dtype, channels, pooling))


def _build(name: str, side: int, dtype: str, channels: int, pooling: Pooling) -> Graph:
    policy = "float32" if dtype == "float32" else f"mixed_{dtype}"
    keras.config.set_dtype_policy(policy)
    # Variables made in this scope are not filled.
    with keras.StatelessScope(initialize_variables=False):
        model = application(name, side, weights=None, channels=channels, pooling=pooling)
        layers = all_layers(model)
        # ConvNeXt and some of EfficientNetV2 normalise within, but not where it is not a picture.
        if channels != 3 and len(all_layers(application(name, side, weights=None))) != len(layers):
            raise UserError(f"keras:{name} takes three channels: model.input = rgb, srm or diff")
    norms = {path_of(layer): layer for layer in layers if is_batch_norm(layer)}
    owned = {id(v) for norm in norms.values() for v in norm.variables}
    weights: dict[Path, Any] = {}
    constants: dict[Path, Any] = {}
    for variable in model.variables:
        if id(variable) not in owned and "float" in variable.dtype:
            kind = weights if variable.trainable else constants
            kind[variable_path(variable)] = variable
    for layer in layers:
        _replace(layer)
    return Graph(model, int(model.output_shape[-1]), weights, constants, norms)


def application(
    name: str,
    side: int,
    *,
    weights: str | None,
    channels: int = 3,
    pooling: Pooling = "average",
) -> Any:
    """Return `keras.applications.NAME` without its classifier, pooled.

    Raises:
        UserError: The network does not take images of that size.
    """
    keras.config.set_image_data_format("channels_last")
    function = getattr(keras.applications, name)
    settings = {"pooling": "avg" if pooling == "average" else "max"}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")
            return function(
                include_top=False, weights=weights, input_shape=(side, side, channels), **settings
            )
    except ValueError as error:
        raise UserError(f"keras:{name} cannot be built for images of {side} px: {error}") from error


def all_layers(model: Any) -> list[Any]:
    """Return the layers of a Keras model, with those of models within it."""
    found = []
    for layer in model.layers:
        found += all_layers(layer) if hasattr(layer, "layers") else [layer]
    return found


def is_batch_norm(layer: Any) -> bool:
    """Return whether a Keras layer is a batch normalisation."""
    return isinstance(layer, keras.layers.BatchNormalization)


def path_of(norm: Any) -> Path:
    """Return the path of a batch norm."""
    return variable_path(norm.moving_mean)[:-1]


def variable_path(variable: Any) -> Path:
    """Return the path of a Keras variable: its layers' names and its own, without dots."""
    *layers, name = (part.replace(".", "_") for part in variable.path.split("/"))
    # ConvNeXt's LayerScale gives its variable no name, and Keras numbers those.
    return (*layers, "scale" if name.startswith("variable") else name)


def put(tree: dict[str, Any], path: Path, leaf: Any) -> None:
    """Put a leaf into nested dicts."""
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = leaf


# --- layers that keep their numbers elsewhere -----------------------------------------------------


@dataclass(frozen=True)
class _Call:
    norms: Mapping[Path, BatchNorm]
    rngs: nnx.Rngs | None


_CALL: ContextVar[_Call] = ContextVar("keras_call")


class _Norm(keras.layers.BatchNormalization):  # type: ignore[misc,name-defined,unused-ignore]
    """Leaves the work to our own batch norm of that name, in training over all devices."""

    def call(self, inputs: Array, training: bool | None = None, mask: Any = None) -> Array:
        return _CALL.get().norms[path_of(self)](inputs)


class _Dropout(keras.layers.Dropout):  # type: ignore[misc,name-defined,unused-ignore]
    def call(self, inputs: Array, training: bool = False) -> Array:
        shape = self.noise_shape or inputs.shape
        return _drop(inputs, self.rate, tuple(shape)[1:]) if training else inputs


class _StochasticDepth(keras.layers.Layer):  # type: ignore[misc,name-defined,unused-ignore]
    def call(self, x: Array, training: bool | None = None) -> Array:
        return _drop(x, self.drop_path_rate, (1,) * (x.ndim - 1)) if training else x


class _Normalization(keras.layers.Normalization):  # type: ignore[misc,name-defined,unused-ignore]
    """Takes mean and variance as they are now: Keras's own takes those of when it was built."""

    def call(self, inputs: Array) -> Array:
        mean, var = (
            jnp.reshape(v.value, self._broadcast_shape)
            for v in (self.adapt_mean, self.adapt_variance)
        )
        deviation = jnp.maximum(jnp.sqrt(var), keras.config.epsilon())
        y: Array = ((inputs - mean) / deviation).astype(inputs.dtype)
        return y


class _Depthwise(keras.layers.DepthwiseConv2D):  # type: ignore[misc,name-defined,unused-ignore]
    """Our own lowering of a plain 3x3: XLA's is ten times slower on a CPU."""

    def call(self, inputs: Array) -> Array:
        kernel = jnp.asarray(self.kernel.value)  # [3, 3, channel, 1]
        y: Array = lowering.depthwise3x3(inputs, jnp.swapaxes(kernel, 2, 3))
        return y + jnp.asarray(self.bias.value) if self.use_bias else y


class _AveragePool(keras.layers.GlobalAveragePooling2D):  # type: ignore[misc,name-defined,unused-ignore]
    def call(self, inputs: Array) -> Any:
        return super().call(feature_map(inputs))


class _MaxPool(keras.layers.GlobalMaxPooling2D):  # type: ignore[misc,name-defined,unused-ignore]
    def call(self, inputs: Array) -> Any:
        return super().call(feature_map(inputs))


def _is_plain_depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D) and (
        (layer.kernel_size, layer.strides, layer.dilation_rate) == ((3, 3), (1, 1), (1, 1))
        and (layer.padding, layer.depth_multiplier) == ("same", 1)
        and layer.activation is keras.activations.linear
    )


def _drop(x: Array, rate: float, shape: tuple[int | None, ...]) -> Array:
    """Drop parts of each example; Keras says None for a whole side."""
    whole = tuple(size or side for size, side in zip(shape, x.shape[1:], strict=True))
    return drop(x, rate, _CALL.get().rngs, whole)


def _replace(layer: Any) -> None:
    """Give a built layer another `call`; all else about it stays."""
    if is_batch_norm(layer):
        layer.__class__ = _Norm
    elif isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
        layer.__class__ = _Dropout
    elif type(layer).__name__ == "StochasticDepth":
        layer.__class__ = _StochasticDepth
    elif isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
        layer.__class__ = _Normalization
    elif _is_plain_depthwise(layer):
        layer.__class__ = _Depthwise
    elif isinstance(layer, keras.layers.GlobalAveragePooling2D):
        layer.__class__ = _AveragePool
    elif isinstance(layer, keras.layers.GlobalMaxPooling2D):
        layer.__class__ = _MaxPool


def run_graph(
    graph: Graph,
    images: Array,
    values: Mapping[Path, Array],
    norms: Mapping[Path, BatchNorm],
    *,
    training: bool,
    rngs: nnx.Rngs | None,
) -> Array:
    """Return the features of images, [batch, feature].

    Args:
        graph: What to call.
        images: [batch, side, side, channel], as the application's `preprocess_input` leaves them.
        values: Of `graph.weights` and `graph.constants`.
        norms: As in `graph.norms`; they are called, and so may change.
        training: Whether to drop what dropouts drop.
        rngs: With the stream "dropout", needed by those.
    """
    variables = {**graph.weights, **graph.constants}
    mapping = [(variables[path], value) for path, value in values.items()]
    token = _CALL.set(_Call(norms, rngs))
    try:
        with (
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
            keras.StatelessScope(mapping, initialize_variables=False),
        ):
            features: Array = graph.model(images, training=training)
    finally:
        _CALL.reset(token)
    return features


def initial_values(variables: Mapping[Path, Any], rngs: nnx.Rngs) -> dict[Path, Array]:
    """Draw a value for each Keras variable from the distribution of its own initialiser.

    Kernels are slices of one long draw a distribution: XLA needs a minute to compile a hundred
    single ones.
    """
    initializers = {path: v._initializer for path, v in variables.items()}  # nothing public has it
    scaling = keras.initializers.VarianceScaling  # Glorot's and He's are such
    kernels: dict[str, list[Path]] = {}
    values = {}
    for path, initializer in initializers.items():
        if isinstance(initializer, scaling):
            kernels.setdefault(initializer.distribution, []).append(path)
        else:
            values[path] = _initial_value(variables[path], initializer, rngs)
    for distribution, paths in kernels.items():
        shapes = [tuple(variables[path].shape) for path in paths]
        ends = list(accumulate(math.prod(shape) for shape in shapes))
        drawn = _standard_draw(distribution, ends[-1], rngs.params())
        for path, shape, end in zip(paths, shapes, ends, strict=True):
            flat = drawn[end - math.prod(shape) : end]
            values[path] = flat.reshape(shape) * _deviation(initializers[path], shape)
    return {path: values[path] for path in variables}


def _initial_value(variable: Any, initializer: Any, rngs: nnx.Rngs) -> Array:
    if hasattr(initializer, "seed"):
        initializer = copy.copy(initializer)
        initializer.seed = rngs.params()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        value: Array = initializer(tuple(variable.shape), dtype=variable.dtype)
    return value


def _standard_draw(distribution: str, size: int, key: Array) -> Array:
    """Draw float32 numbers of variance 1."""
    if distribution == "uniform":
        return jax.random.uniform(key, (size,), minval=-math.sqrt(3), maxval=math.sqrt(3))
    if distribution == "truncated_normal":
        # The standard deviation of a normal distribution cut off at two of its own.
        return jax.random.truncated_normal(key, -2.0, 2.0, (size,)) / 0.8796256610342398
    return jax.random.normal(key, (size,))


def _deviation(initializer: Any, shape: tuple[int, ...]) -> float:
    """Return the standard deviation of a VarianceScaling initialiser."""
    places = math.prod(shape[:-2])
    fan_in, fan_out = shape[-2] * places, shape[-1] * places
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    return math.sqrt(initializer.scale / max(1.0, fans[initializer.mode]))
