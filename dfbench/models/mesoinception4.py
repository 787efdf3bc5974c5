"""MesoInception-4 (Afchar et al. 2018)."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.models.inputs import image_channels
from dfbench.models.meso4 import (
    INPUT_SIZE,
    PAPER,
    meso_conv,
    meso_features,
    meso_head,
    meso_norm,
)
from dfbench.models.registry import register

_BRANCHES = ((1, 4, 4, 2), (2, 4, 4, 2))  # channels of each module's branches


class Inception(nnx.Module):
    """Four branches side by side: 1x1; and 1x1 then 3x3, of dilation 1, 2 and 3.

    A ReLU follows each convolution.

    Args:
        channels: In.
        branches: Channels of each branch.
        dtype: Of the activations.
        rngs: Needs the stream "params".
    """

    def __init__(
        self, channels: int, branches: tuple[int, ...], *, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        first, *others = branches
        convs = [meso_conv(channels, first, 1, dtype, rngs)]
        for dilation, out in enumerate(others, 1):
            convs.append(meso_conv(channels, out, 1, dtype, rngs))
            convs.append(meso_conv(out, out, 3, dtype, rngs, dilation))
        self.convs = nnx.List(convs)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Keep height and width; the branches' channels follow one another."""
        first, *others = self.convs
        branches = [nnx.relu(first(x))]
        for narrow, wide in zip(others[::2], others[1::2], strict=True):
            branches.append(nnx.relu(wide(nnx.relu(narrow(x)))))
        return jnp.concatenate(branches, axis=-1)


class MesoInception4(nnx.Module):
    """Two inception modules and two 5x5 convolutions, then Meso-4's two dense layers.

    Batch norm and max-pool follow each of the four. Initialised as Keras does: kernels
    Glorot-uniform, biases zero.

    Args:
        config: Of it `dtype`, `input`, and what `Head` takes.
        input_size: Side of the images, px: a multiple of 32. The paper's is 256.
        rngs: Needs the stream "params".
    """

    def __init__(
        self, config: ModelConfig, *, input_size: int = INPUT_SIZE, rngs: nnx.Rngs
    ) -> None:
        dtype = jnp.dtype(config.dtype)
        inceptions, channels = [], [image_channels(config)]
        for branches in _BRANCHES:
            inceptions.append(Inception(channels[-1], branches, dtype=dtype, rngs=rngs))
            channels.append(sum(branches))
        self.inceptions = nnx.List(inceptions)
        self.convs = nnx.List([meso_conv(n, 16, 5, dtype, rngs) for n in (channels[-1], 16)])
        self.norms = nnx.List([meso_norm(n) for n in (*channels[1:], 16, 16)])
        self.head = meso_head(16, config, input_size, rngs)
        self.dtype = dtype

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images are in [0, 1]."""
        # What an inception module returns is a ReLU's already: another changes nothing.
        stages = (*self.inceptions, *self.convs)
        features = meso_features(images.astype(self.dtype), stages, self.norms)
        return self.head(features, rngs=rngs)


@register(
    name="mesoinception4",
    summary="MesoInception-4: begins with two inception modules, 29 thousand parameters",
    input_size=INPUT_SIZE,
    paper=PAPER,
    parameters=28_615,
    multiply_adds=57.1,
)
def build(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build MesoInception-4 for 256 px."""
    return MesoInception4(config, input_size=config.input_size or INPUT_SIZE, rngs=rngs)
