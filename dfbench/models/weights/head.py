"""The classifier of a file: taken over where it scores fakes, left out where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dfbench.errors import UserError
from dfbench.models.weights.layout import Label
from dfbench.models.weights.source import Layer
from dfbench.models.weights.tree import HEAD, Shapes


def fit_head(
    dense: Sequence[Layer],
    ours: Mapping[str, Shapes],
    *,
    label: Label,
    replaced: bool,
    path: Path,
) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays of the head by dotted name, none where ours stays, and a note on it.

    Args:
        dense: The file's dense layers in order.
        ours: Shapes of our head's layers by dotted path, in the order of use.
        label: What the file's output, or the second of two, scores.
        replaced: The settings ask for another head than the model's own.
        path: For errors.

    Raises:
        UserError: The file has the model's own head, of other shapes.
    """
    if replaced:
        return {}, "the head is new, as the settings ask for one"
    if not dense:
        return {}, "no classifier in the file: the head is new"
    outputs = dense[-1].arrays["kernel"].shape[1]
    if outputs > 2:
        return {}, f"its classifier has {outputs} classes: the head is new"
    if len(dense) != len(ours):
        raise UserError(
            f"{path}: {len(dense)} dense layers ({', '.join(d.name for d in dense)}) where the "
            f"head has {len(ours)}; give model.head to begin with a new one"
        )
    found: dict[str, np.ndarray] = {}
    for layer, (name, shapes) in zip(dense, ours.items(), strict=True):
        arrays = layer.arrays
        if name == f"{HEAD}output":
            arrays = _directed(arrays, label, wanted=shapes["kernel"][1])
        for leaf, shape in shapes.items():
            array = arrays.get(leaf)
            if array is None:  # Linear layers without a bias add nothing.
                array = np.zeros(shape, np.float32)
            if array.shape != shape:
                raise UserError(
                    f"{path}: the {leaf} of '{layer.name}' has shape "
                    f"{layer.arrays[leaf].shape}, but {name} has {shape}"
                )
            found[f"{name}.{leaf}"] = array
    return found, _meaning(outputs, label)


def _directed(
    arrays: Mapping[str, np.ndarray], label: Label, *, wanted: int
) -> dict[str, np.ndarray]:
    """Return the last layer as `wanted` outputs whose logit is of P(fake)."""
    found = {}
    for leaf, array in arrays.items():
        if array.shape[-1] == 2 and label == "real":
            array = array[..., ::-1]
        elif label == "real":
            array = -array
        if array.shape[-1] > wanted:
            array = array[..., 1:] - array[..., :1]
        elif array.shape[-1] < wanted:
            array = np.concatenate([-array / 2, array / 2], -1)
        found[leaf] = array
    return found


def _meaning(outputs: int, label: Label) -> str:
    if outputs == 1:
        turned = ", turned round" if label == "real" else ""
        return f"its output is taken for P({label}){turned}"
    order = "real, fake" if label == "fake" else "fake, real"
    return f"its two outputs are taken for ({order})"
