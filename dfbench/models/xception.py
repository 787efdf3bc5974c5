"""Xception (Chollet 2017), in the form the field uses: with a dropout and two outputs.

And the variants of Govi, Poppi and Marinelli (2022): fewer middle blocks, wider groups.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.models import lowering
from dfbench.models.inputs import image_channels
from dfbench.models.layers import BatchNorm, Conv, Depthwise, Head, Pointwise, pool
from dfbench.models.registry import register

INPUT_SIZE = 299
MIDDLE_BLOCKS = 8


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the blocks of the variants differ in.

    Attributes:
        grouped: A 3x3 kernel sees 2 channels instead of 1.
        skip_everywhere: Skips are convolutions even where the shape stays.
        epsilon: Of batch norm.
        dtype: Of the activations.
    """

    grouped: bool
    skip_everywhere: bool
    epsilon: float
    dtype: jnp.dtype

    def norm(self, channels: int) -> BatchNorm:
        """Make a batch norm."""
        return BatchNorm(channels, momentum=0.9, epsilon=self.epsilon)


class SepConv(nnx.Module):
    """3x3 of each channel (or pair), pointwise 1x1, batch norm."""

    def __init__(self, channels: int, out: int, form: Form, *, rngs: nnx.Rngs) -> None:
        group: Literal[1, 2] = 2 if form.grouped else 1
        self.depthwise = Depthwise(channels, group=group, dtype=form.dtype, rngs=rngs)
        self.pointwise = Pointwise(channels, out, dtype=form.dtype, rngs=rngs)
        self.norm = form.norm(out)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Keep height and width."""
        return self.norm(self.pointwise(self.depthwise(x)))


class Block(nnx.Module):
    """Separable convolutions beside a skip connection.

    Args:
        widths: Channels in, and out of each separable convolution.
        form: Of the network.
        stride: 2 ends the block with a max-pool 3x3.
        leading_relu: Whether a ReLU precedes the first separable convolution too.
        rngs: Needs the stream "params".
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        form: Form,
        *,
        stride: int,
        leading_relu: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        self.convs = nnx.List([SepConv(a, b, form, rngs=rngs) for a, b in pairwise(widths)])
        self.leading_relu = leading_relu
        self.stride = stride
        first, last = widths[0], widths[-1]
        self.identity = stride == 1 and first == last and not form.skip_everywhere
        if not self.identity:
            self.skip = Pointwise(first, last, stride=stride, dtype=form.dtype, rngs=rngs)
            self.skip_norm = form.norm(last)

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
        config: Of it `dtype`, `input`, `pooling`, and what `Head` takes.
        middle_blocks: 8 in the paper, 4 in LightXception.
        grouped: Every 3x3 of a separable convolution mixes channels in pairs, as MidwayXception's.
        skip_everywhere: The middle blocks too have a 1x1 convolution and batch norm as their skip,
            as MidwayXception's.
        epsilon: Of batch norm.
        rngs: Needs the stream "params".
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        middle_blocks: int = MIDDLE_BLOCKS,
        grouped: bool = False,
        skip_everywhere: bool = False,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ) -> None:
        dtype = jnp.dtype(config.dtype)
        form = Form(grouped=grouped, skip_everywhere=skip_everywhere, epsilon=epsilon, dtype=dtype)

        def block(*widths: int, stride: int, leading_relu: bool = True) -> Block:
            return Block(widths, form, stride=stride, leading_relu=leading_relu, rngs=rngs)

        self.conv1 = Conv(image_channels(config), 32, 3, stride=2, dtype=dtype, rngs=rngs)
        self.norm1 = form.norm(32)
        self.conv2 = Conv(32, 64, 3, dtype=dtype, rngs=rngs)
        self.norm2 = form.norm(64)
        entry = [
            block(64, 128, 128, stride=2, leading_relu=False),
            block(128, 256, 256, stride=2),
            block(256, 728, 728, stride=2),
        ]
        middle = [block(728, 728, 728, 728, stride=1) for _ in range(middle_blocks)]
        self.blocks = nnx.List([*entry, *middle, block(728, 728, 1024, stride=2)])
        self.exit1 = SepConv(1024, 1536, form, rngs=rngs)
        self.exit2 = SepConv(1536, 2048, form, rngs=rngs)
        self.head = Head(2048, config, outputs=2, rngs=rngs)
        self.pooling = config.pooling
        self.dtype = dtype

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images are in [-1, 1]."""
        x = nnx.relu(self.norm1(self.conv1(images.astype(self.dtype))))
        x = nnx.relu(self.norm2(self.conv2(x)))
        for block in self.blocks:
            x = block(x)
        x = nnx.relu(self.exit2(nnx.relu(self.exit1(x))))
        return self.head(pool(x, self.pooling), rngs=rngs)


_CHOLLET = (
    "Chollet. Xception: Deep Learning with Depthwise Separable Convolutions. CVPR 2017, "
    "arXiv:1610.02357"
)
_GOVI = (
    "Govi, Poppi, Marinelli. Deep Learning for DeepFake Creation and Detection. "
    "Project report, University of Modena and Reggio Emilia 2022; after Chollet, arXiv:1610.02357"
)
_register = partial(register, input_size=INPUT_SIZE, mean=0.5, std=0.5)


@_register(
    name="xception",
    summary="Xception: depthwise separable convolutions, 21 million parameters",
    paper=_CHOLLET,
    parameters=20_811_050,
    multiply_adds=8_355.4,
)
def xception(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build Xception for 299 px."""
    return Xception(config, rngs=rngs)


@_register(
    name="light_xception",
    summary="LightXception: 4 middle blocks instead of 8, 14 million parameters",
    paper=_GOVI,
    parameters=14_355_146,
    multiply_adds=6_031.1,
)
def light_xception(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build LightXception for 299 px."""
    return Xception(config, middle_blocks=4, rngs=rngs)


@_register(
    name="midway_xception",
    summary="MidwayXception: 3x3 kernels of 2 channels, every skip a convolution, 25 million",
    paper=_GOVI,
    parameters=25_270_002,
    multiply_adds=10_018.1,
)
def midway_xception(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build MidwayXception for 299 px."""
    return Xception(config, grouped=True, skip_everywhere=True, rngs=rngs)


@_register(
    name="light_midway_xception",
    summary="Both: MidwayXception with 4 middle blocks, that report's future work, 17 million",
    paper=_GOVI,
    parameters=16_609_714,
    multiply_adds=6_900.2,
)
def light_midway_xception(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build light MidwayXception for 299 px."""
    return Xception(config, middle_blocks=4, grouped=True, skip_everywhere=True, rngs=rngs)
