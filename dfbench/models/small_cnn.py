"""The small network of the UADFV lab report (Ortega Andres & Coin Castro 2021)."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.errors import UserError
from dfbench.models import lowering
from dfbench.models.cam import feature_map
from dfbench.models.inputs import image_channels
from dfbench.models.layers import Dropout, Head, drawn_flat
from dfbench.models.registry import register

INPUT_SIZE = 160  # of the report's face crops
PAPER = "Ortega Andres & Coin Castro, DeepFakes detection lab report, 2021"
CHANNELS = (16, 32)  # the report gives no widths: these are ours, and so are 3x3 and 64
HIDDEN = 64
_he = nnx.initializers.he_normal()


class SmallCnn(nnx.Module):
    """Two blocks of convolution, ReLU, dropout and 2x2 max-pool, and two dense layers.

    Args:
        config: Of it `dropout` (in the blocks, and before each dense layer), `dtype`, `input`, and
            what `Head` takes.
        input_size: Side of the images, px: a multiple of 4.
        rngs: Needs the stream "params".

    Raises:
        UserError: Settings that the network has no place for.
    """

    def __init__(
        self, config: ModelConfig, *, input_size: int = INPUT_SIZE, rngs: nnx.Rngs
    ) -> None:
        if input_size % 4:
            raise UserError(f"model.input_size = {input_size}: {config.name} takes multiples of 4")
        if config.pooling != "average":
            raise UserError(
                f"model.pooling = {config.pooling}: {config.name} pools nothing at its end; leave "
                "it out"
            )
        self.dtype = jnp.dtype(config.dtype)
        convs, channels = [], image_channels(config)
        for out in CHANNELS:
            convs.append(
                nnx.Conv(
                    channels, out, (3, 3), dtype=self.dtype, kernel_init=drawn_flat(_he), rngs=rngs
                )
            )
            channels = out
        self.convs = nnx.List(convs)
        self.dropouts = nnx.List([Dropout(config.dropout) for _ in CHANNELS])
        features = (input_size // 4) ** 2 * channels
        self.head = Head(features, config, widths=(HIDDEN,), init=_he, rngs=rngs)

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images are in [0, 1]."""
        x = images.astype(self.dtype)
        for conv, dropout in zip(self.convs, self.dropouts, strict=True):
            x = dropout(nnx.relu(conv(x)), rngs=rngs)
            x = lowering.max_pool(feature_map(x), 2)
        return self.head(x.reshape(x.shape[0], -1), rngs=rngs)


@register(
    name="small_cnn",
    summary="two convolutions and two dense layers, 3 million parameters",
    input_size=INPUT_SIZE,
    paper=PAPER,
    parameters=3_282_017,
    multiply_adds=43.8,
)
def build(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build the small network for 160 px."""
    return SmallCnn(config, input_size=config.input_size or INPUT_SIZE, rngs=rngs)
