"""Weights of a file in a model: everything fits, or an error says what does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfbench.errors import UserError
from dfbench.models.names import Tree, leaves
from dfbench.models.registry import KERAS_PREFIX, get_model
from dfbench.models.weights.files import read_weights
from dfbench.models.weights.head import fit_head
from dfbench.models.weights.layout import Label, Layout
from dfbench.models.weights.layouts import find_layout
from dfbench.models.weights.match import match
from dfbench.models.weights.pixels import refed, widened
from dfbench.models.weights.source import Arrays, Layer
from dfbench.models.weights.tree import (
    HEAD,
    Shapes,
    epsilons,
    kind_of,
    layers,
    replaced,
)


@dataclass(frozen=True)
class Loaded:
    """A model's trees with the weights of a file, float32, and what there is to say about it."""

    params: Tree
    batch_stats: Tree
    notes: tuple[str, ...]


def load_weights(
    model: str,
    path: Path | None,
    params: Tree,
    batch_stats: Tree,
    *,
    label: Label | None = None,
    new_head: bool = False,
) -> Loaded:
    """Fit the weights in a file of Keras (HDF5) or PyTorch (safetensors) to a model.

    In prediction the model then gives the source's outputs: where those had another epsilon in
    batch norm or a bias before it, the statistics make up for that. A classifier of more than two
    classes is left out. Channels of `model.input` behind the picture's begin without effect.

    Args:
        model: Registered name.
        path: Of the file; None for the ImageNet weights that Keras keeps, of `keras:NAME`.
        params: Nested dicts as `TrainState` has them; the new trees have the same form.
        batch_stats: Likewise.
        label: What the file's output, or the second of two, scores. None: P(real) in Keras files of
            Meso-4 and MesoInception-4, as their authors trained them, else P(fake).
        new_head: Leave the file's classifier out, since the settings ask for another head.

    Raises:
        UserError: An unreadable file; a layer missing, left over or of another shape.
    """
    if model.startswith(KERAS_PREFIX):
        return _of_keras(model, path, params, batch_stats)
    if path is None:
        raise ValueError(f"'{model}' takes its weights from a file")
    weights = read_weights(path)
    ours = layers({name: leaf.shape for name, leaf in leaves(params, batch_stats).items()})
    body = {name: shapes for name, shapes in ours.items() if not name.startswith(HEAD)}
    head = {name: shapes for name, shapes in ours.items() if name.startswith(HEAD)}
    layout = find_layout(model, weights, body)
    if {entry.ours for entry in layout.entries} != body.keys():
        raise ValueError(f"the layout of '{model}' does not have the layers of the model")
    kinds = {name: kind_of(shapes) for name, shapes in body.items()}
    found, dense = match(layout, kinds, weights, model=model)
    arrays, note = fit_head(dense, head, label=label or layout.label, replaced=new_head, path=path)
    arrays |= _body(layout, found, body, epsilons(model), path=path)
    if layout.pixels is not None:
        first = f"{layout.entries[0].ours}.kernel"
        arrays[first] = refed(arrays[first], layout.pixels, get_model(model))
        note += f"; it is taken to see {layout.pixels.order}"
    arrays = {name: np.asarray(array, np.float32, order="C") for name, array in arrays.items()}
    return Loaded(replaced(params, arrays), replaced(batch_stats, arrays), (note,))


def _of_keras(model: str, path: Path | None, params: Tree, batch_stats: Tree) -> Loaded:
    from dfbench.models.keras_weights import file_weights, imagenet_weights  # needs Keras

    name, side = model.removeprefix(KERAS_PREFIX), get_model(model).input_size
    found = imagenet_weights(name, side) if path is None else file_weights(name, side, path)
    ours = leaves(params, batch_stats)
    arrays = leaves(*found)
    if arrays.keys() != {leaf for leaf in ours if not leaf.startswith(HEAD)}:
        raise ValueError(f"'{model}' does not have the layers of its weights")
    arrays = {leaf: widened(array, ours[leaf].shape) for leaf, array in arrays.items()}
    note = "there is no classifier among them: the head is new"
    return Loaded(replaced(params, arrays), replaced(batch_stats, arrays), (note,))


def _body(
    layout: Layout,
    found: Mapping[str, Layer],
    ours: Mapping[str, Shapes],
    epsilons: Mapping[str, float],
    *,
    path: Path,
) -> Arrays:
    """Return the arrays of all layers but the head by dotted name."""
    arrays: Arrays = {}
    biases: Arrays = {}
    for entry in layout.entries:
        name, layer = entry.ours, found[entry.ours]
        values = dict(layer.arrays)
        if entry.bias_into is not None and "bias" in values:
            biases[f"{entry.bias_into}.mean"] = values.pop("bias")
        if kind_of(ours[name]) == "norm":
            values = _norm(values, layout.epsilon - epsilons[name])
        values = _fitted(values, layer, name, ours[name], path=path)
        arrays |= {f"{name}.{leaf}": array for leaf, array in values.items()}
    for name, bias in biases.items():  # (x + bias) - mean = x - (mean - bias)
        arrays[name] = arrays[name] - bias
    return arrays


def _norm(values: Arrays, epsilon_excess: float) -> Arrays:
    """Make up for another epsilon; the running averages owe nothing to where they started."""
    if "var" not in values:
        return values
    var = values["var"] + np.float32(epsilon_excess)
    return {**values, "var": var, "seen": np.ones((), np.float32)}


def _fitted(values: Arrays, layer: Layer, name: str, shapes: Shapes, *, path: Path) -> Arrays:
    """Return the arrays once each is known to be wanted and of the model's shape."""
    here = f"{path}: the layer '{layer.name}'"
    if more := values.keys() - shapes.keys():
        raise UserError(f"{here} has a {min(more)}, which {name} of the model has not")
    for leaf, shape in shapes.items():
        if leaf not in values:
            raise UserError(f"{here} has no {leaf}, which {name} of the model has, {shape}")
        if layer.kind == "dense" and shape == (1, 1, *values[leaf].shape):
            values = {**values, leaf: values[leaf].reshape(shape)}  # 1x1 kernels of 2017
        values = {**values, leaf: widened(values[leaf], shape)}
        if values[leaf].shape != shape:
            raise UserError(
                f"{here} has a {leaf} of shape {values[leaf].shape}, but {name} of the model has "
                f"{shape}"
            )
    return values
