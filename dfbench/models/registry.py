"""Which detectors there are. Listing their names imports no JAX."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench.config import Input, ModelConfig
from dfbench.errors import UserError, nearest

if TYPE_CHECKING:
    from flax import nnx

    Build = Callable[[ModelConfig, nnx.Rngs], nnx.Module]

ENTRY_POINTS = "dfbench.models"
KERAS_PREFIX = "keras:"

# The module of each model; importing it runs its `register`.
_MODULES = {
    "light_midway_xception": "dfbench.models.xception",
    "light_xception": "dfbench.models.xception",
    "meso4": "dfbench.models.meso4",
    "mesoinception4": "dfbench.models.mesoinception4",
    "midway_xception": "dfbench.models.xception",
    "resnet18": "dfbench.models.resnet",
    "resnet34": "dfbench.models.resnet",
    "resnet50": "dfbench.models.resnet",
    "resnet50v1_5": "dfbench.models.resnet",
    "resnet50v2": "dfbench.models.resnet",
    "small_cnn": "dfbench.models.small_cnn",
    "xception": "dfbench.models.xception",
}
_SPECS: dict[str, ModelSpec] = {}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A detector: how to build it and what it wants to see.

    Attributes:
        name: As written on the command line.
        summary: One line for lists.
        input_size: Side of the square input, px.
        mean: Subtracted from an image in [0, 1]: one number, or one a channel (RGB).
        std: Then divided by, likewise.
        paper: Citation.
        parameters: Trainable numbers with the network's own head; None where nobody counted.
        multiply_adds: Of one image of `input_size` in prediction, millions; None likewise.
        build: Makes the module; `module(images, rngs=...)` takes normalised float images
            [batch, height, width, channel] (3, or more as `models.inputs` says) and returns the
            logits of P(fake), float32 [batch].
        input: What it is shown of a crop.
    """

    name: str
    summary: str
    input_size: int
    mean: float | tuple[float, float, float]
    std: float | tuple[float, float, float]
    paper: str
    parameters: int | None
    multiply_adds: float | None
    build: Build
    input: Input = "rgb"


def register(
    *,
    name: str,
    summary: str,
    input_size: int,
    paper: str,
    mean: float | tuple[float, float, float] = 0.0,
    std: float | tuple[float, float, float] = 1.0,
    parameters: int | None = None,
    multiply_adds: float | None = None,
) -> Callable[[Build], Build]:
    """Decorate a model's build function; the arguments are the fields of `ModelSpec`.

    Raises:
        ValueError: The name is taken.
    """

    def add(build: Build) -> Build:
        if name in _SPECS:
            raise ValueError(f"a model named '{name}' is registered already")
        _SPECS[name] = ModelSpec(
            name=name,
            summary=summary,
            input_size=input_size,
            mean=mean,
            std=std,
            paper=paper,
            parameters=parameters,
            multiply_adds=multiply_adds,
            build=build,
        )
        return build

    return add


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def model_names() -> tuple[str, ...]:
    """Return the names of all models but `keras:NAME`, sorted, without importing any of them."""
    return tuple(sorted({*_MODULES, *_SPECS, *_plugins()}))


def keras_names() -> tuple[str, ...]:
    """Return the names of the models `keras:NAME`, without importing Keras; none without it."""
    package = find_spec("keras")
    if package is None or package.origin is None:
        return ()
    # It imports a function for each application, and modules, whose names are in lower case.
    listing = Path(package.origin).parent / "applications" / "__init__.py"
    names = set(re.findall(r"\b([A-Z]\w+) as \1\b", listing.read_text(encoding="utf-8")))
    return tuple(KERAS_PREFIX + name for name in sorted(names))


def check_name(name: str, others: Iterable[str] = ()) -> None:
    """Raise UserError, with the nearest name, where no model is called `name`. Imports no JAX.

    Args:
        name: Of a model.
        others: Names of what is no network, but may be asked for in the same place.
    """
    foreign = name.startswith(KERAS_PREFIX)
    known = keras_names() if foreign else (*model_names(), *others)
    if name in known:
        return
    if foreign and not known:
        raise UserError(f"the model '{name}' needs Keras 3: pip install 'dfbench[keras]'")
    listed = ", ".join(known if foreign else (*known, f"{KERAS_PREFIX}NAME"))
    raise UserError(f"unknown model '{name}'{nearest(name, known)} (known: {listed})")


def get_model(name: str) -> ModelSpec:
    """Return the model called `name`, importing its module.

    Raises:
        UserError: There is no such model, or another package's model cannot be loaded.
    """
    if name in _SPECS:
        return _SPECS[name]
    check_name(name)
    if name.startswith(KERAS_PREFIX):
        from dfbench.models.keras_backbone import keras_spec

        return keras_spec(name)
    if name in _MODULES:
        importlib.import_module(_MODULES[name])
    else:
        _load(_plugins()[name])
    return _SPECS[name]


def configured_model(config: ModelConfig) -> ModelSpec:
    """Return the model of a configuration, which may have another size and see something else.

    Raises:
        UserError: As for `get_model`.
    """
    spec = get_model(config.name)
    return replace(spec, input_size=config.input_size or spec.input_size, input=config.input)


def _load(point: EntryPoint) -> None:
    try:
        point.load()
    except Exception as error:
        raise UserError(
            f"the model '{point.name}' of another package ({point.value}) cannot be loaded: {error}"
        ) from error
    if point.name not in _SPECS:
        raise UserError(
            f"the entry point '{point.name}' ({point.value}) registers no model of that name"
        )


def all_models() -> tuple[ModelSpec, ...]:
    """Return every model, by name. Imports them all."""
    return tuple(get_model(name) for name in model_names())
