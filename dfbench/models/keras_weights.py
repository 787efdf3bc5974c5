"""Values for `keras:NAME` from Keras: its own ImageNet weights, and files that Keras has saved."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from dfbench.errors import UserError
from dfbench.models import keras_graph
from dfbench.models.keras_graph import keras
from dfbench.models.weights.hdf5 import require_sound

Tree = dict[str, Any]  # nested dicts of float32 arrays

_BATCH_NORM = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}
SUFFIXES = (".h5", ".keras")


def imagenet_weights(name: str, side: int) -> tuple[Tree, Tree]:
    """Return parameters and batch statistics of `keras.applications.NAME`, trained on ImageNet.

    They have the names they have in `KerasBackbone`, from `backbone` down; there is nothing for
    the head. Keras fetches the file into its own cache and checks it.

    Raises:
        UserError: The file cannot be fetched, or the network takes no images of that size.
    """

    def load() -> Any:
        return keras_graph.application(name, side, weights="imagenet")

    try:
        return keras_graph.in_fresh_thread(lambda: _loaded(load))
    except UserError:
        raise
    except Exception as error:  # Keras raises a plain one without a network
        raise UserError(
            f"keras:{name}: the ImageNet weights cannot be fetched ({_first_line(error)}); "
            "check the connection, or give a file by --init PATH"
        ) from error


def file_weights(name: str, side: int, path: FilePath) -> tuple[Tree, Tree]:
    """Return the same from a file of `keras.applications.NAME` without its classifier.

    Raises:
        UserError: There is no such file, it is not sound, or it does not fit.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: keras:{name} takes files that Keras saved: *.weights.h5, *.h5, *.keras"
        )

    require_sound(path)

    def load() -> Any:
        model = keras_graph.application(name, side, weights=None)
        model.load_weights(path)
        return model

    try:
        return keras_graph.in_fresh_thread(lambda: _loaded(load))
    except UserError:
        raise
    except Exception as error:  # h5py and Keras each raise their own
        raise UserError(
            f"{path}: no weights of keras:{name} without its classifier (include_top=False): "
            f"{_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _loaded(load: Callable[[], Any]) -> tuple[Tree, Tree]:
    """Let `load` make a model; what it assigns stays in the scope, the rest is never drawn."""
    with (
        contextlib.redirect_stdout(sys.stderr),  # Keras's progress bar
        keras.StatelessScope(initialize_variables=False) as scope,
    ):
        model = load()
    values = {}
    for variable in model.variables:
        value = scope.get_current_value(variable)
        if value is not None:
            values[id(variable)] = np.asarray(value, np.float32)
    return _trees(model, values)


def _trees(model: Any, values: dict[int, np.ndarray]) -> tuple[Tree, Tree]:
    params: Tree = {}
    statistics: Tree = {}
    layers = keras_graph.all_layers(model)
    norms = [layer for layer in layers if keras_graph.is_batch_norm(layer)]
    owned = {id(v) for norm in norms for v in norm.variables}
    for variable in model.variables:
        if "float" not in variable.dtype:
            continue
        path, value = keras_graph.variable_path(variable), values.get(id(variable))
        if value is None:
            raise UserError(f"there are no values for '{'.'.join(path)}'")
        if id(variable) in owned:
            path = (*path[:-1], _BATCH_NORM[path[-1]])
        keras_graph.put(params if variable.trainable else statistics, ("backbone", *path), value)
    for norm in norms:
        path = ("backbone", *keras_graph.path_of(norm))
        channels = int(norm.moving_mean.shape[0])
        keras_graph.put(statistics, (*path, "seen"), np.ones((), np.float32))
        if not norm.scale:
            keras_graph.put(statistics, (*path, "scale"), np.ones(channels, np.float32))
        if not norm.center:
            keras_graph.put(statistics, (*path, "bias"), np.zeros(channels, np.float32))
    _fold_rescaling(layers, statistics["backbone"] if statistics else {})
    return params, statistics


def _fold_rescaling(layers: list[Any], statistics: Tree) -> None:
    """Fold a rescaling after a normalisation into its variance.

    With ImageNet weights, and only then, the first EfficientNets have one.
    """
    for first, second in pairwise(layers):
        adapted = isinstance(first, keras.layers.Normalization) and first.input_mean is None
        if adapted and isinstance(second, keras.layers.Rescaling):
            own = statistics[first.name]
            own["variance"] = own["variance"] / np.square(np.asarray(second.scale, np.float32))
