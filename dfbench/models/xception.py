"""Xception (Chollet 2017), in the form the field uses: with a dropout and two outputs."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.models import lowering
from dfbench.models.layers import BatchNorm, Depthwise, Head, Pointwise, drawn_flat
from dfbench.models.registry import register

INPUT_SIZE = 299
MIDDLE_BLOCKS = 8


def _norm(channels: int) -> BatchNorm:
    return BatchNorm(channels, momentum=0.9, epsilon=1e-5)


class SepConv(nnx.Module):
    """Depthwise 3x3, pointwise 1x1, batch norm."""

    def __init__(self, channels: int, out: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.depthwise = Depthwise(channels, dtype=dtype, rngs=rngs)
        self.pointwise = Pointwise(channels, out, dtype=dtype, rngs=rngs)
        self.norm = _norm(out)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Keep height and width."""
        return self.norm(self.pointwise(self.depthwise(x)))


class Block(nnx.Module):
    """Separable convolutions beside a skip connection.

    Args:
        widths: Channels in, and out of each separable convolution.
        stride: 2 ends the block with a max-pool 3x3.
        leading_relu: Whether a ReLU precedes the first separable convolution too.
        dtype: Of the activations.
        rngs: Needs the stream "params".
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        *,
        stride: int,
        leading_relu: bool = True,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        pairs = pairwise(widths)
        self.convs = nnx.List([SepConv(a, b, dtype=dtype, rngs=rngs) for a, b in pairs])
        self.leading_relu = leading_relu
        self.stride = stride
        first, last = widths[0], widths[-1]
        if stride > 1 or first != last:
            self.skip = Pointwise(first, last, stride=stride, dtype=dtype, rngs=rngs)
            self.skip_norm = _norm(last)
        self.identity = stride == 1 and first == last

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Halve height and width (rounded up) where the stride is 2."""
        inputs = x
        for i, conv in enumerate(self.convs):
            x = conv(nnx.relu(x) if i or self.leading_relu else x)
        if self.stride > 1:
            x = lowering.max_pool3x3(x)
        if self.identity:
            return x + inputs
        return x + self.skip_norm(self.skip(inputs))


class Xception(nnx.Module):
    """Entry, middle and exit flow; the logit is the difference of two outputs.

    Kernels are He-normal, the linear layer LeCun-normal, biases zero.

    Args:
        config: Of it `dtype`, and what `Head` takes.
        middle_blocks: 8 in the paper.
        rngs: Needs the stream "params".
    """

    def __init__(
        self, config: ModelConfig, *, middle_blocks: int = MIDDLE_BLOCKS, rngs: nnx.Rngs
    ) -> None:
        dtype = jnp.dtype(config.dtype)

        def conv(channels: int, out: int, stride: int) -> nnx.Conv:
            return nnx.Conv(
                channels,
                out,
                (3, 3),
                strides=stride,
                padding="VALID",
                use_bias=False,
                dtype=dtype,
                kernel_init=drawn_flat(nnx.initializers.he_normal()),
                rngs=rngs,
            )

        def block(*widths: int, stride: int, leading_relu: bool = True) -> Block:
            return Block(widths, stride=stride, leading_relu=leading_relu, dtype=dtype, rngs=rngs)

        self.conv1, self.norm1 = conv(3, 32, 2), _norm(32)
        self.conv2, self.norm2 = conv(32, 64, 1), _norm(64)
        entry = [
            block(64, 128, 128, stride=2, leading_relu=False),
            block(128, 256, 256, stride=2),
            block(256, 728, 728, stride=2),
        ]
        middle = [block(728, 728, 728, 728, stride=1) for _ in range(middle_blocks)]
        self.blocks = nnx.List([*entry, *middle, block(728, 728, 1024, stride=2)])
        self.exit1 = SepConv(1024, 1536, dtype=dtype, rngs=rngs)
        self.exit2 = SepConv(1536, 2048, dtype=dtype, rngs=rngs)
        self.head = Head(2048, config, outputs=2, rngs=rngs)
        self.dtype = dtype

    def __call__(
        self, images: Float[Array, "batch height width 3"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images are in [-1, 1]."""
        x = nnx.relu(self.norm1(self.conv1(images.astype(self.dtype))))
        x = nnx.relu(self.norm2(self.conv2(x)))
        for block in self.blocks:
            x = block(x)
        x = nnx.relu(self.exit2(nnx.relu(self.exit1(x))))
        pooled = jnp.mean(x.astype(jnp.float32), (1, 2))
        return self.head(pooled, rngs=rngs)


@register(
    name="xception",
    summary="Xception: depthwise separable convolutions, 21 million parameters",
    input_size=INPUT_SIZE,
    mean=0.5,
    std=0.5,
    paper=(
        "Chollet. Xception: Deep Learning with Depthwise Separable Convolutions. CVPR 2017, "
        "arXiv:1610.02357"
    ),
)
def build(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build Xception for 299 px."""
    return Xception(config, rngs=rngs)
