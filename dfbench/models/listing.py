"""Text and plain values of the lists that `dfbench models` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dfbench.models.describe import Layer, abstract_model, layers_of, multiply_adds, parameter_count
from dfbench.models.registry import KERAS_PREFIX, ModelSpec, keras_names
from dfbench.models.weights.catalog import available


def spec_values(spec: ModelSpec) -> dict[str, Any]:
    """Return what is declared of a model, as JSON has it; what nobody declared is None."""
    return {
        "name": spec.name,
        "summary": spec.summary,
        "input_size": spec.input_size,
        "mean": spec.mean,
        "std": spec.std,
        "parameters": spec.parameters,
        "multiply_adds": spec.multiply_adds,
        "weights": list(available(spec.name)),
        "paper": spec.paper,
    }


def model_values(spec: ModelSpec) -> dict[str, Any]:
    """Return `spec_values` and the layers; what nobody declared is counted."""
    model, side = abstract_model(spec), spec.input_size
    values = spec_values(spec)
    values["parameters"] = parameter_count(model)
    if spec.multiply_adds is None:
        values["multiply_adds"] = round(multiply_adds(model, side) / 1e6, 1)
    values["layers"] = [_layer_values(layer) for layer in layers_of(model, side)]
    return values


def _layer_values(layer: Layer) -> dict[str, Any]:
    return {
        "path": layer.path,
        "kind": layer.kind,
        "output": layer.output,
        "count": layer.count,
        "parameters": layer.parameters,
    }


def models_text(models: Sequence[dict[str, Any]]) -> str:
    """Return a table of `spec_values`, the paper of each below it, and a word about Keras' own."""
    head = ("model", "input", "pixels", "parameters", "multiply-adds", "weights")
    rows = [head] + [
        (
            values["name"],
            f"{values['input_size']} px",
            _pixels(values["mean"], values["std"]),
            _number(values["parameters"]),
            _millions(values["multiply_adds"]),
            ", ".join(values["weights"]) or "-",
        )
        for values in models
    ]
    first, *lines = _aligned(rows, right={1, 3, 4})
    papers = [f"    {values['paper']}" for values in models]
    others = [name.removeprefix(KERAS_PREFIX) for name in keras_names()]
    keras = (
        f"of {len(others)} in Keras, as {others[0]}" if others else "with dfbench[keras] installed"
    )
    return "\n".join(
        [
            first,
            *(text for pair in zip(lines, papers, strict=True) for text in pair),
            f"{KERAS_PREFIX}NAME, any {keras}",
        ]
    )


def model_text(values: dict[str, Any]) -> str:
    """Return a description by `model_values`, with the table of layers."""
    facts = {
        "input": f"{values['input_size']} px, pixels {_pixels(values['mean'], values['std'])}",
        "parameters": _number(values["parameters"]),
        "multiply-adds": f"{_millions(values['multiply_adds'])} an image",
        "weights": ", ".join(values["weights"]) or "-",
        "paper": values["paper"],
    }
    head = ("layer", "kind", "output", "parameters", "their names")
    rows = [head] + [
        (
            layer["path"],
            layer["kind"] or "-",
            "x".join(map(str, layer["output"])) if layer["output"] is not None else "-",
            _number(layer["count"]),
            " ".join(layer["parameters"]),
        )
        for layer in values["layers"]
    ]
    lines = [f"{values['name']}: {values['summary']}"]
    lines += [f"{name:14} {text}" for name, text in facts.items()]
    lines += ["", *_aligned(rows, right={3}), ""]
    example = values["layers"][0]
    name = f"{example['path']}.{next(iter(example['parameters']))}"
    lines.append(f"A parameter's name is its layer's and its own: {name}")
    return "\n".join(lines)


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _millions(count: float | None) -> str:
    return "-" if count is None else f"{count:,.0f} M"


def _pixels(mean: float | Sequence[float], std: float | Sequence[float]) -> str:
    """Name what a network sees."""
    if not isinstance(mean, Sequence) and not isinstance(std, Sequence):
        low, high = (0 - mean) / std, (1 - mean) / std
        return f"[{low:g}, {high:g}]"
    return f"mean {_channels(mean)}, std {_channels(std)}"


def _channels(values: float | Sequence[float]) -> str:
    listed = values if isinstance(values, Sequence) else (values,)
    return " ".join(f"{value:.3g}" for value in listed)


def _aligned(rows: Sequence[Sequence[str]], *, right: set[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
