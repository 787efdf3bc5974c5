"""Forms of the operations of `dfbench/models/lowering.py`, and candidates that it does not have."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax import Array

    from dfbench.models.lowering import Form

# Of each operation: `lax` and `shifts` are dfbench's own, of accelerators and of CPUs.
FORMS: dict[str, tuple[str, ...]] = {
    "depthwise3x3": ("lax", "shifts", "sums"),
    "grouped3x3": ("lax", "shifts", "sums", "dense"),
    "max_pool3x3": ("lax", "shifts"),
    "pointwise": ("lax", "shifts", "product"),
    "convolution": ("lax", "shifts"),
    "max_pool": ("lax", "shifts"),
}
_DENSE = (16, 8, 4, 2)  # channels of a group


def form(text: str) -> tuple[str, str]:
    """Read `OPERATION=FORM`.

    Raises:
        argparse.ArgumentTypeError: There is no such form.
    """
    operation, _, name = text.partition("=")
    if name not in FORMS.get(operation, ()):
        known = "; ".join(f"{op}={'/'.join(names)}" for op, names in FORMS.items())
        raise argparse.ArgumentTypeError(f"'{text}' is none of {known}")
    return operation, name


def function(operation: str, name: str) -> Callable[..., Array]:
    """Return a form of an operation, with the arguments of dfbench's."""
    from dfbench.models import lowering

    if name in ("lax", "shifts"):
        return _traced(getattr(lowering, operation), "plain" if name == "lax" else "shifted")
    candidates: dict[tuple[str, str], Callable[..., Array]] = {
        ("depthwise3x3", "sums"): _depthwise_sums,
        ("grouped3x3", "sums"): _grouped_sums,
        ("grouped3x3", "dense"): _grouped_dense,
        ("pointwise", "product"): _pointwise_product,
    }
    return candidates[operation, name]


def _traced(operation: Callable[..., Array], how: Form) -> Callable[..., Array]:
    from dfbench.models import lowering

    @functools.wraps(operation)
    def traced(*args: object, **kwargs: object) -> Array:
        with lowering.traced_as(how):
            return operation(*args, **kwargs)

    return traced


def use(forms: Mapping[str, str]) -> None:
    """Let this process's networks use these forms."""
    from dfbench.models import lowering

    for operation, name in forms.items():
        setattr(lowering, operation, function(operation, name))


def _depthwise_sums(images: Array, kernel: Array) -> Array:
    """Nine shifted multiply-adds; the gradient by the kernel is nine sums over the whole batch.

    On a GPU both can be one fused pass, where a loop over images would wait for each.
    """
    import jax.numpy as jnp

    from dfbench.models import lowering

    taps = kernel.reshape(9, 1, 1, 1, -1)
    windows = lowering._windows3x3(images)
    products = (window * tap for window, tap in zip(windows, taps, strict=True))
    total: Array = functools.reduce(jnp.add, products)
    return total


def _grouped_sums(images: Array, kernel: Array) -> Array:
    from dfbench.models import lowering

    own, other = lowering._halves(kernel)
    return _depthwise_sums(images, own) + _depthwise_sums(lowering._swapped(images), other)


def _grouped_dense(images: Array, kernel: Array) -> Array:
    """Groups of 16 channels instead of 2, most of them zeros: more arithmetic, for matrix units."""
    import jax.numpy as jnp
    from jax import lax

    channels = images.shape[-1]
    wide = next(size for size in _DENSE if channels % size == 0)
    inputs = jnp.arange(wide, dtype=jnp.int32)[:, None]
    outputs = jnp.arange(channels, dtype=jnp.int32)[None, :] % wide
    kept = (inputs // 2 == outputs // 2)[None, None]
    dense = jnp.where(kept, jnp.tile(kernel, (1, 1, wide // 2, 1)), jnp.zeros((), kernel.dtype))
    return lax.conv_general_dilated(
        images,
        dense,
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels // wide,
    )


def _pointwise_product(images: Array, kernel: Array, stride: int = 1) -> Array:
    """A matrix product, of which XLA finds the gradients."""
    return images[:, ::stride, ::stride] @ kernel[0, 0]


# --- the shapes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """A call of an operation: shapes without the batch, and the other arguments."""

    operation: str
    image: tuple[int, ...]
    kernel: tuple[int, ...]  # () where there is none
    arguments: tuple[tuple[str, Any], ...]

    @property
    def text(self) -> str:
        """Return it for the page."""
        sizes = "x".join(map(str, self.image))
        kernel = f", kernel {'x'.join(map(str, self.kernel))}" if self.kernel else ""
        rest = "".join(f", {name} {value}" for name, value in self.arguments)
        return f"{sizes}{kernel}{rest}"


def uses(models: Sequence[str], operation: str) -> dict[Use, int]:
    """Return how often the networks use an operation at each shape, in the order of calls."""
    import jax
    from flax import nnx

    from dfbench.models import lowering
    from dfbench.models.describe import abstract_model
    from dfbench.models.registry import get_model

    found = dict[Use, int]()
    call = getattr(lowering, operation)
    signature = inspect.signature(call)

    @functools.wraps(call)
    def watched(*args: Any, **kwargs: Any) -> Array:
        given = signature.bind(*args, **kwargs).arguments
        images, kernel = given.pop("images"), given.pop("kernel", None)
        shape = () if kernel is None else tuple(kernel.shape)
        one = Use(operation, tuple(images.shape[1:]), shape, tuple(given.items()))
        found[one] = found.get(one, 0) + 1
        value: Array = call(*args, **kwargs)
        return value

    setattr(lowering, operation, watched)
    try:
        for name in models:
            spec = get_model(name)
            graph, side = abstract_model(spec), spec.input_size
            images = jax.ShapeDtypeStruct((1, side, side, 3), "float32")
            nnx.eval_shape(lambda graph, x: graph(x), graph, images)
    finally:
        setattr(lowering, operation, call)
    return found


# --- calls ---------------------------------------------------------------------------------------


def inputs_of(one: Use, dtype: str, images: int) -> tuple[Array, ...]:
    """Return random images, and a kernel where there is one."""
    import jax

    shapes = [(images, *one.image), *([one.kernel] if one.kernel else [])]
    keys = jax.random.split(jax.random.key(0), len(shapes))
    draw = jax.random.normal
    return tuple(draw(k, shape, dtype) for k, shape in zip(keys, shapes, strict=True))


def call_of(one: Use, name: str, what: str) -> Callable[..., Any]:
    """Return the value, or all gradients by a cotangent that is made of the value."""
    import jax

    call = functools.partial(function(one.operation, name), **dict(one.arguments))
    if what == "value":
        return call

    def both(*inputs: Array) -> Any:
        value, pull = jax.vjp(call, *inputs)
        return value, pull(value)

    return both


def error(one: Use, name: str, dtype: str) -> float:
    """Return how far a form, with its gradients, is from lax in float32, on two images.

    Of pooling only the value counts: where entries are equal, the forms differ in the gradient.
    """
    import jax
    import jax.numpy as jnp

    found = jax.jit(call_of(one, name, _checked(one)))(*inputs_of(one, dtype, 2))
    errors = []
    for a, b in zip(jax.tree.leaves(found), _reference(one, dtype), strict=True):
        difference = jnp.linalg.norm((a.astype(jnp.float32) - b).ravel())
        errors.append(float(difference / jnp.linalg.norm(b.ravel())))
    return max(errors)


def _checked(one: Use) -> str:
    return "all" if one.kernel else "value"


@functools.lru_cache(maxsize=1)
def _reference(one: Use, dtype: str) -> list[Array]:
    import jax
    import jax.numpy as jnp

    with jax.default_matmul_precision("highest"):
        wide = [leaf.astype(jnp.float32) for leaf in inputs_of(one, dtype, 2)]
        return jax.tree.leaves(jax.jit(call_of(one, "lax", _checked(one)))(*wide))
