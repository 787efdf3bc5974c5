"""What a model consists of: its layers, parameters and multiply-adds. Traced, never computed."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from dfbench.config import ModelConfig
from dfbench.models import lowering
from dfbench.models.keys import key_streams
from dfbench.models.names import dotted
from dfbench.models.registry import ModelSpec

Shape = tuple[int, ...]


@dataclass(kw_only=True)
class Layer:
    """A part of a model that has parameters of its own.

    Attributes:
        path: Dotted: with a parameter's name behind it, what a pattern for freezing matches.
        kind: Class of the module; empty for a part that is never called itself.
        output: Shape of what it returned first, without the batch; None likewise.
        parameters: Shapes by name.
    """

    path: str
    kind: str = ""
    output: Shape | None = None
    parameters: dict[str, Shape] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Numbers to train."""
        return sum(math.prod(shape) for shape in self.parameters.values())


def abstract_model(spec: ModelSpec, config: ModelConfig | None = None) -> nnx.Module:
    """Build a model of shapes alone, in evaluation mode; `config` defaults to the model's own."""
    config = config or ModelConfig(name=spec.name)
    model: nnx.Module = nnx.eval_shape(
        lambda: spec.build(config, key_streams(default=jax.random.key(0)))
    )
    model.eval()
    return model


def parameter_count(model: nnx.Module) -> int:
    """Return how many numbers can be trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def multiply_adds(model: nnx.Module, side: int) -> int:
    """Return the multiply-adds of predicting one image of `side` px.

    Those of convolutions and matrix products, in the plain operations of `jax.lax`.
    """
    graphdef, state = nnx.split(model)

    def predict(state: Any, images: Array) -> Array:
        logits: Array = nnx.merge(graphdef, state)(images)
        return logits

    with lowering.traced_as("plain"):
        return count_multiply_adds(jax.make_jaxpr(predict)(state, _images(side)).jaxpr)


def layers_of(model: nnx.Module, side: int) -> tuple[Layer, ...]:
    """Return the layers that have parameters, those called first, first."""
    outputs: dict[str, tuple[str, Shape | None]] = {}  # with the kind, in the order of calls

    def predict(model: Any, images: Array) -> Array:
        names = {id(module): dotted(path) for path, module in nnx.iter_modules(model)}

        def note(module: Any, output: Any) -> None:
            name = names.get(id(module))
            if name is not None and hasattr(output, "shape"):
                outputs.setdefault(name, (type(module).__name__, output.shape[1:]))

        with _watched({type(module) for _, module in nnx.iter_modules(model)}, note):
            logits: Array = model(images)
        return logits

    nnx.eval_shape(predict, model, _images(side))
    layers: dict[str, Layer] = {}
    for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        name = dotted(path[:-1])
        kind, output = outputs.get(name, ("", None))
        layer = layers.setdefault(name, Layer(path=name, kind=kind, output=output))
        layer.parameters[str(path[-1])] = tuple(leaf.shape)
    order = {name: i for i, name in enumerate(outputs)}
    return tuple(sorted(layers.values(), key=lambda layer: order.get(layer.path, len(order))))


def _images(side: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)


@contextmanager
def _watched(classes: set[type], note: Callable[[Any, Any], None]) -> Iterator[None]:
    """Call `note(module, output)` after each call of a module of these classes."""
    calls = {cls: cls.__dict__["__call__"] for cls in classes if "__call__" in cls.__dict__}

    def watch(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(module: Any, *args: Any, **kwargs: Any) -> Any:
            output = call(module, *args, **kwargs)
            note(module, output)
            return output

        return watched

    try:
        for cls, call in calls.items():
            setattr(cls, "__call__", watch(call))  # noqa: B010
        yield
    finally:
        for cls, call in calls.items():
            setattr(cls, "__call__", call)  # noqa: B010


def operations(jaxpr: Any, times: int = 1) -> Iterator[tuple[Any, int]]:
    """Yield each equation that holds no others, and how many times it runs.

    A scan runs its body many times; of a choice, all branches are counted.
    """
    for equation in jaxpr.eqns:
        inner = list(_inner_jaxprs(equation.params))
        if not inner:
            yield equation, times
        runs = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for one in inner:
            yield from operations(one, times * runs)


def count_multiply_adds(jaxpr: Any) -> int:
    """Return the multiply-adds of all convolutions and matrix products, but for those with 0.

    Those are where the gradient of a strided convolution is dilated.
    """
    return sum(times * _multiply_adds(equation) for equation, times in operations(jaxpr))


def _multiply_adds(equation: Any) -> int:
    params, operands = equation.params, equation.invars
    if equation.primitive.name == "conv_general_dilated":
        kernel, output = operands[1].aval, equation.outvars[0].aval
        out_dimension = params["dimension_numbers"].rhs_spec[0]
        taps = int(output.size * kernel.size // kernel.shape[out_dimension])
        return taps // int(math.prod(params["lhs_dilation"]))
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        terms = math.prod(operands[0].aval.shape[d] for d in contracted)
        return int(equation.outvars[0].aval.size * terms)
    return 0


def _inner_jaxprs(params: Mapping[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            jaxpr = getattr(one, "jaxpr", one)
            if hasattr(jaxpr, "eqns"):
                yield jaxpr
