"""Where in a picture a network sees what speaks for a fake: Grad-CAM.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization,
ICCV 2017, arXiv:1610.02391. Networks pass their last feature map through `feature_map`; nothing
else of them is known here.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.errors import UserError

Map = Float[Array, "batch height width channel"]
Look = Callable[[Map], Map]

_LOOK: ContextVar[Look | None] = ContextVar("feature_map", default=None)


def feature_map(x: Map) -> Map:
    """Return `x`. A network calls this on what it pools, or flattens, at the end.

    Where it does so several times, as squeezing layers on the way pool too, the last call counts.
    """
    look = _LOOK.get()
    return x if look is None else look(x)


@contextmanager
def _looking(look: Look) -> Iterator[None]:
    token = _LOOK.set(look)
    try:
        yield
    finally:
        _LOOK.reset(token)


def evidence(
    model: nnx.Module, images: Float[Array, "batch height width channel"]
) -> Float[Array, "batch map_height map_width"]:
    """Return for each place what it adds to the logit of P(fake), up to a factor.

    The channels of the last feature map, each weighted by the mean of its gradient. What is above 0
    is Grad-CAM's map of the class fake, what is below that of the class real: their logits are each
    other's negative.

    Args:
        model: In evaluation mode.
        images: As the model wants them.

    Raises:
        UserError: The network shows no feature map.
    """
    shapes: list[jax.ShapeDtypeStruct] = []

    def note(x: Map) -> Map:
        shapes.append(jax.ShapeDtypeStruct(x.shape, x.dtype))
        return x

    with _looking(note):
        jax.eval_shape(lambda images: model(images), images)
    if not shapes:
        raise UserError("the network shows no feature map (`dfbench.models.cam.feature_map`)")

    def logits(shift: Map) -> tuple[Array, Map]:
        maps: list[Map] = []

        def shifted(x: Map) -> Map:
            last = len(maps) == len(shapes) - 1
            maps.append(x + shift if last else x)
            return maps[-1]

        with _looking(shifted):
            return jnp.sum(model(images)), maps[-1]

    # By a sum over images each gets its own gradient: in evaluation they do not mix.
    zeros = jnp.zeros(shapes[-1].shape, shapes[-1].dtype)
    gradient, maps = jax.grad(logits, has_aux=True)(zeros)
    weights = jnp.mean(gradient.astype(jnp.float32), (1, 2))
    return jnp.einsum("bhwc,bc->bhw", maps.astype(jnp.float32), weights)
