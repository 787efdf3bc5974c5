"""Meso-4 (Afchar et al. 2018)."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from collections.abc import Iterable

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.errors import UserError
from dfbench.models import lowering
from dfbench.models.cam import feature_map
from dfbench.models.inputs import image_channels
from dfbench.models.layers import BatchNorm, Head, drawn_flat
from dfbench.models.registry import register

INPUT_SIZE = 256
PAPER = (
    "Afchar, Nozick, Yamagishi, Echizen. MesoNet: a Compact Facial Video Forgery Detection "
    "Network. WIFS 2018, arXiv:1809.00888"
)
WINDOWS = (2, 2, 2, 4)  # of the poolings
_STAGES = ((8, 3), (8, 5), (16, 5), (16, 5))  # output channels, side of the kernel
_glorot = nnx.initializers.glorot_uniform()


def meso_conv(
    channels: int, out: int, side: int, dtype: jnp.dtype, rngs: nnx.Rngs, dilation: int = 1
) -> nnx.Conv:
    """Make a convolution that keeps height and width, with bias; Glorot-uniform as in Keras."""
    return nnx.Conv(
        channels,
        out,
        (side, side),
        kernel_dilation=dilation,
        dtype=dtype,
        kernel_init=drawn_flat(_glorot),
        rngs=rngs,
    )


def meso_norm(channels: int) -> BatchNorm:
    """Make a batch norm as Keras does."""
    return BatchNorm(channels, momentum=0.99, epsilon=1e-3)


def meso_head(channels: int, config: ModelConfig, input_size: int, rngs: nnx.Rngs) -> Head:
    """Make the two dense layers of both networks, 16 wide between; images shrink 32-fold.

    Raises:
        UserError: Settings that the networks have no place for.
    """
    if input_size % 32:
        raise UserError(f"model.input_size = {input_size}: {config.name} takes multiples of 32 px")
    if config.pooling != "average":
        raise UserError(
            f"model.pooling = {config.pooling}: {config.name} pools nothing at its end; leave "
            "it out"
        )
    features = (input_size // 32) ** 2 * channels
    return Head(features, config, widths=(16,), activation=_leaky_relu, init=_glorot, rngs=rngs)


def _leaky_relu(x: Array) -> Array:
    y: Array = nnx.leaky_relu(x, 0.1)  # leaves a tenth of what is below zero
    return y


def meso_features(
    x: Float[Array, "batch height width channel"],
    stages: Iterable[nnx.Module],
    norms: Iterable[BatchNorm],
) -> Float[Array, "batch feature"]:
    """Run four stages, each followed by ReLU, then batch norm, then max-pool, and flatten."""
    for stage, norm, window in zip(stages, norms, WINDOWS, strict=True):
        x = lowering.max_pool(feature_map(norm(nnx.relu(stage(x)))), window)
    return x.reshape(x.shape[0], -1)


class Meso4(nnx.Module):
    """Four convolutions, each ReLU then batch norm then max-pool, and two dense layers.

    Initialised as Keras does: kernels Glorot-uniform, biases zero.

    Args:
        config: Of it `dtype`, `input`, and what `Head` takes.
        input_size: Side of the images, px: a multiple of 32. The paper's is 256.
        rngs: Needs the stream "params".
    """

    def __init__(
        self, config: ModelConfig, *, input_size: int = INPUT_SIZE, rngs: nnx.Rngs
    ) -> None:
        dtype = jnp.dtype(config.dtype)
        convs, norms, channels = [], [], image_channels(config)
        for out, side in _STAGES:
            convs.append(meso_conv(channels, out, side, dtype, rngs))
            norms.append(meso_norm(out))
            channels = out
        self.convs, self.norms = nnx.List(convs), nnx.List(norms)
        self.head = meso_head(channels, config, input_size, rngs)
        self.dtype = dtype

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images are in [0, 1]."""
        features = meso_features(images.astype(self.dtype), self.convs, self.norms)
        return self.head(features, rngs=rngs)


@register(
    name="meso4",
    summary="Meso-4: four small convolutions, 28 thousand parameters",
    input_size=INPUT_SIZE,
    paper=PAPER,
    parameters=27_977,
    multiply_adds=60.0,
)
def build(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build Meso-4 for 256 px."""
    return Meso4(config, input_size=config.input_size or INPUT_SIZE, rngs=rngs)
