"""Meso-4 (Afchar et al. 2018)."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.models import lowering
from dfbench.models.layers import BatchNorm, Head, drawn_flat
from dfbench.models.registry import register

INPUT_SIZE = 256
PAPER = (
    "Afchar, Nozick, Yamagishi, Echizen. MesoNet: a Compact Facial Video Forgery Detection "
    "Network. WIFS 2018, arXiv:1809.00888"
)
# Output channels, side of the kernel, window of the pooling.
_STAGES = ((8, 3, 2), (8, 5, 2), (16, 5, 2), (16, 5, 4))


def leaky_relu(x: Array) -> Array:
    """Leave a tenth of what is below zero."""
    y: Array = nnx.leaky_relu(x, 0.1)
    return y


class Meso4(nnx.Module):
    """Four convolutions, each ReLU then batch norm then max-pool, and two dense layers.

    Initialised as Keras does: kernels Glorot-uniform, biases zero.

    Args:
        config: Of it `dtype`, and what `Head` takes.
        input_size: Side of the images, px: a multiple of 32. The paper's is 256.
        rngs: Needs the stream "params".
    """

    def __init__(
        self, config: ModelConfig, *, input_size: int = INPUT_SIZE, rngs: nnx.Rngs
    ) -> None:
        dtype, init = jnp.dtype(config.dtype), nnx.initializers.glorot_uniform()
        convs, norms, channels = [], [], 3
        for out, side, _ in _STAGES:
            kernel = (side, side)
            conv_init = drawn_flat(init)
            convs.append(
                nnx.Conv(channels, out, kernel, dtype=dtype, kernel_init=conv_init, rngs=rngs)
            )
            norms.append(BatchNorm(out, momentum=0.99, epsilon=1e-3))
            channels = out
        self.convs, self.norms = nnx.List(convs), nnx.List(norms)
        features = (input_size // 32) ** 2 * channels
        self.head = Head(
            features, config, widths=(16,), activation=leaky_relu, init=init, rngs=rngs
        )
        self.dtype = dtype

    def __call__(
        self, images: Float[Array, "batch height width 3"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images are in [0, 1]."""
        x = images.astype(self.dtype)
        for conv, norm, (_, _, window) in zip(self.convs, self.norms, _STAGES, strict=True):
            x = lowering.max_pool(norm(nnx.relu(conv(x))), window)
        return self.head(x.reshape(x.shape[0], -1), rngs=rngs)


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
    return Meso4(config, rngs=rngs)
