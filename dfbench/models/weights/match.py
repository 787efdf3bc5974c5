"""Finding each layer of a model in a file: by name where the layout has names, else by order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dfbench.errors import UserError
from dfbench.models.weights.layout import Entry, Layout
from dfbench.models.weights.source import Kind, Layer, Weights

_PLURALS = {"conv": "convolutions", "norm": "batch norms", "dense": "dense layers"}


def match(
    layout: Layout, kinds: Mapping[str, Kind], weights: Weights, *, model: str
) -> tuple[dict[str, Layer], list[Layer]]:
    """Return the file's layer of each of ours, and the dense layers that remain: the head.

    A Keras file in which no name is known is taken by the order of layers, as Keras itself does.

    Raises:
        UserError: A layer is missing or left over.
    """
    entries, layers = layout.entries, {layer.name: layer for layer in weights.layers}
    named = [entry for entry in entries if entry.theirs is not None]
    missing = [entry for entry in named if entry.theirs not in layers]
    by_name = len(missing) < len(named)
    if missing and (by_name or weights.origin == "torch"):
        raise UserError(_missing(missing[0], layers, weights, model=model))
    found = {e.ours: layers.pop(e.theirs) for e in named if e.theirs in layers}
    unnamed = [entry for entry in entries if entry.ours not in found]
    found |= _in_order(unnamed, kinds, list(layers.values()), weights, model=model)
    used = {layer.name for layer in found.values()}
    rest = [layer for layer in weights.layers if layer.name not in used]
    for layer in rest:
        if layer.kind != "dense":
            raise UserError(
                f"{weights.path}: the layer '{layer.name}' ({_shapes(layer)}) has no place in "
                f"'{model}'"
            )
    return found, rest


def _missing(entry: Entry, layers: Mapping[str, Layer], weights: Weights, *, model: str) -> str:
    has = ", ".join(list(layers)[:4])
    return (
        f"{weights.path}: no layer '{entry.theirs}' for {entry.ours} of '{model}' "
        f"(the file begins with {has})"
    )


def _in_order(
    entries: Sequence[Entry],
    kinds: Mapping[str, Kind],
    layers: Sequence[Layer],
    weights: Weights,
    *,
    model: str,
) -> dict[str, Layer]:
    """Take convolutions and norms each in their order: Keras 3 keeps no order between kinds."""
    found: dict[str, Layer] = {}
    if not entries:
        return found
    for kind in ("conv", "norm"):
        ours = [entry.ours for entry in entries if kinds[entry.ours] == kind]
        theirs = [layer for layer in layers if layer.kind == kind]
        if len(ours) != len(theirs):
            raise UserError(_count(kind, ours, theirs, weights, model=model))
        found |= dict(zip(ours, theirs, strict=True))
    return found


def _count(
    kind: Kind, ours: list[str], theirs: list[Layer], weights: Weights, *, model: str
) -> str:
    more, fewer = _PLURALS[kind], min(len(ours), len(theirs))
    first = (
        f"the first left over is '{theirs[fewer].name}' ({_shapes(theirs[fewer])})"
        if len(theirs) > fewer
        else f"nothing is left for {ours[fewer]}"
    )
    return (
        f"{weights.path}: {len(theirs)} {more} where '{model}' has {len(ours)}: {first}; layers "
        "are taken in their order"
    )


def _shapes(layer: Layer) -> str:
    return ", ".join(f"{leaf} {array.shape}" for leaf, array in layer.arrays.items())
