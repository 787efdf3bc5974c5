"""ResNet-18, -34 and -50 (He et al. 2015), and ResNet-50 V2 (He et al. 2016)."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.models import lowering
from dfbench.models.inputs import image_channels
from dfbench.models.layers import BatchNorm, Conv, Head, Pointwise, pool
from dfbench.models.registry import register

INPUT_SIZE = 224
DEPTHS, WIDTHS = (3, 4, 6, 3), (64, 128, 256, 512)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
# The same mean in more digits, as Keras subtracts it: so that padding is of exactly that colour.
_KERAS_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)


@dataclass(frozen=True, kw_only=True)
class Style:
    """What all layers of a network have in common.

    Attributes:
        momentum: Of batch norm.
        epsilon: Of batch norm.
        dtype: Of the activations.
    """

    momentum: float
    epsilon: float
    dtype: jnp.dtype

    def norm(self, channels: int) -> BatchNorm:
        """Make a batch norm."""
        return BatchNorm(channels, momentum=self.momentum, epsilon=self.epsilon)

    def conv(
        self,
        channels: int,
        out: int,
        side: int,
        *,
        stride: int = 1,
        bias: bool = False,
        rngs: nnx.Rngs,
    ) -> Conv | Pointwise:
        """Make a He-normal convolution whose padding keeps height and width at stride 1."""
        if side == 1:
            return Pointwise(channels, out, stride=stride, bias=bias, dtype=self.dtype, rngs=rngs)
        return Conv(
            channels,
            out,
            side,
            stride=stride,
            padding=side // 2,
            bias=bias,
            dtype=self.dtype,
            rngs=rngs,
        )


Layers = tuple[tuple[int, int, int], ...]  # side, output channels and stride of each convolution
Unit = Literal["basic", "bottleneck", "bottleneck_v1_5"]


def _unit_layers(unit: Unit, width: int, stride: int) -> Layers:
    if unit == "basic":
        return ((3, width, stride), (3, width, 1))
    first, second = (stride, 1) if unit == "bottleneck" else (1, stride)
    return ((1, width, first), (3, width, second), (1, 4 * width, 1))


class Residual(nnx.Module):
    """Convolutions with batch norm and ReLU between, a skip connection, and a ReLU after both.

    The skip is a 1x1 convolution and batch norm where the shape changes.
    """

    def __init__(self, channels: int, layers: Layers, style: Style, *, rngs: nnx.Rngs) -> None:
        convs, norms, features, total_stride = [], [], channels, 1
        for side, out, stride in layers:
            convs.append(style.conv(features, out, side, stride=stride, rngs=rngs))
            norms.append(style.norm(out))
            features, total_stride = out, total_stride * stride
        self.convs, self.norms = nnx.List(convs), nnx.List(norms)
        self.identity = total_stride == 1 and features == channels
        if not self.identity:
            self.skip = style.conv(channels, features, 1, stride=total_stride, rngs=rngs)
            self.skip_norm = style.norm(features)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Halve height and width (rounded up) where the stride is 2."""
        inputs = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(nnx.relu(x) if i else x))
        y: Array = nnx.relu(x + (inputs if self.identity else self.skip_norm(self.skip(inputs))))
        return y


class ResNet(nnx.Module):
    """A 7x7 convolution, a max-pool, four stages of residual units, global mean, linear.

    Kernels are He-normal, the linear layer LeCun-normal, biases zero.

    Args:
        config: Of it `dtype`, `input`, `pooling`, and what `Head` takes.
        unit: Two 3x3 ("basic"), or 1x1, 3x3 and 1x1 of four times the width, with the stride in
            the first 1x1 (as in the paper and Keras) or, in "bottleneck_v1_5", in the 3x3 (as in
            torchvision).
        depths: Units in each stage.
        widths: Channels of the 3x3 convolutions in each stage.
        momentum: Of batch norm.
        epsilon: Of batch norm.
        rngs: Needs the stream "params".
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        unit: Unit,
        depths: tuple[int, ...] = DEPTHS,
        widths: tuple[int, ...] = WIDTHS,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
    ) -> None:
        style = Style(momentum=momentum, epsilon=epsilon, dtype=jnp.dtype(config.dtype))
        channels = widths[0]
        self.conv1 = style.conv(image_channels(config), channels, 7, stride=2, rngs=rngs)
        self.norm1 = style.norm(channels)
        stages = []
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            units = []
            for i in range(depth):
                layers = _unit_layers(unit, width, 2 if stage and i == 0 else 1)
                units.append(Residual(channels, layers, style, rngs=rngs))
                channels = layers[-1][1]
            stages.append(nnx.List(units))
        self.stages = nnx.List(stages)
        self.head = Head(channels, config, rngs=rngs)
        self.pooling = config.pooling
        self.dtype = style.dtype

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images have ImageNet's mean and deviation."""
        x = nnx.relu(self.norm1(self.conv1(images.astype(self.dtype))))
        x = lowering.max_pool3x3(x)  # after ReLU, padding by zeros would be the same
        for stage in self.stages:
            for unit in stage:
                x = unit(x)
        return self.head(pool(x, self.pooling), rngs=rngs)


class PreActivation(nnx.Module):
    """Batch norm and ReLU *before* each of 1x1, 3x3 and 1x1, and nothing after the sum.

    Args:
        channels: In.
        width: Of the 3x3; four times as many channels come out.
        stride: Of the 3x3, and of the skip.
        projection: Whether the skip is a 1x1 convolution, which sees the activated input; else
            it is the input itself.
        style: Of the network.
        rngs: Needs the stream "params".
    """

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        stride: int,
        projection: bool,
        style: Style,
        rngs: nnx.Rngs,
    ) -> None:
        self.norms = nnx.List([style.norm(n) for n in (channels, width, width)])
        self.convs = nnx.List(
            [
                style.conv(channels, width, 1, rngs=rngs),
                style.conv(width, width, 3, stride=stride, rngs=rngs),
                style.conv(width, 4 * width, 1, bias=True, rngs=rngs),
            ]
        )
        self.stride, self.projection = stride, projection
        if projection:
            self.skip = style.conv(channels, 4 * width, 1, stride=stride, bias=True, rngs=rngs)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Halve height and width (rounded up) where the stride is 2."""
        inputs = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            x = nnx.relu(norm(x))
            if i == 0 and self.projection:
                inputs = self.skip(x)
            x = conv(x)
        if not self.projection:
            inputs = inputs[:, :: self.stride, :: self.stride]
        return x + inputs


class ResNetV2(nnx.Module):
    """ResNet of pre-activation units as `keras.applications` has it.

    Unlike the paper's, a stage strides in its *last* unit, the last stage not at all, and the
    first convolution and the last of each unit have a bias. Initialised as `ResNet`.

    Args:
        config: Of it `dtype`, `input`, `pooling`, and what `Head` takes.
        depths: Units in each stage.
        widths: Channels of the 3x3 convolutions in each stage.
        rngs: Needs the stream "params".
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        depths: tuple[int, ...] = DEPTHS,
        widths: tuple[int, ...] = WIDTHS,
        rngs: nnx.Rngs,
    ) -> None:
        style = Style(momentum=0.99, epsilon=1.001e-5, dtype=jnp.dtype(config.dtype))
        channels = widths[0]
        self.conv1 = style.conv(image_channels(config), channels, 7, stride=2, bias=True, rngs=rngs)
        stages = []
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            units = []
            for i in range(depth):
                stride = 2 if i == depth - 1 and stage < len(depths) - 1 else 1
                units.append(
                    PreActivation(
                        channels, width, stride=stride, projection=i == 0, style=style, rngs=rngs
                    )
                )
                channels = 4 * width
            stages.append(nnx.List(units))
        self.stages = nnx.List(stages)
        self.norm = style.norm(channels)
        self.head = Head(channels, config, rngs=rngs)
        self.pooling = config.pooling
        self.dtype = style.dtype

    def __call__(
        self, images: Float[Array, "batch height width channel"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; images are in [-1, 1]."""
        x = self.conv1(images.astype(self.dtype))
        x = lowering.max_pool3x3(x, border=0.0)
        for stage in self.stages:
            for unit in stage:
                x = unit(x)
        x = nnx.relu(self.norm(x))
        return self.head(pool(x, self.pooling), rngs=rngs)


_PAPER = (
    "He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016, arXiv:1512.03385"
)
_register = partial(register, input_size=INPUT_SIZE, mean=_MEAN, std=_STD, paper=_PAPER)


@_register(
    name="resnet18",
    summary="ResNet-18: residual units of two 3x3 convolutions, 11 million parameters",
    parameters=11_177_025,
    multiply_adds=1_813.6,
)
def resnet18(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build ResNet-18 for 224 px."""
    return ResNet(config, unit="basic", depths=(2, 2, 2, 2), rngs=rngs)


@_register(
    name="resnet34",
    summary="ResNet-34: residual units of two 3x3 convolutions, 21 million parameters",
    parameters=21_285_185,
    multiply_adds=3_663.2,
)
def resnet34(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build ResNet-34 for 224 px."""
    return ResNet(config, unit="basic", rngs=rngs)


@_register(
    name="resnet50",
    summary="ResNet-50 as in the paper and Keras: stride in the first 1x1 of a bottleneck",
    mean=_KERAS_MEAN,
    parameters=23_510_081,
    multiply_adds=3_855.9,
)
def resnet50(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build ResNet-50 for 224 px, with the batch norm of Keras."""
    return ResNet(config, unit="bottleneck", momentum=0.99, epsilon=1.001e-5, rngs=rngs)


@_register(
    name="resnet50v1_5",
    summary="ResNet-50 as in torchvision and timm: stride in the 3x3 of a bottleneck",
    parameters=23_510_081,
    multiply_adds=4_087.1,
)
def resnet50v1_5(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build ResNet-50 v1.5 for 224 px."""
    return ResNet(config, unit="bottleneck_v1_5", rngs=rngs)


@register(
    name="resnet50v2",
    summary="ResNet-50 V2 as in Keras: batch norm and ReLU before each convolution",
    input_size=INPUT_SIZE,
    mean=0.5,
    std=0.5,
    paper=(
        "He, Zhang, Ren, Sun. Identity Mappings in Deep Residual Networks. ECCV 2016, "
        "arXiv:1603.05027"
    ),
    parameters=23_521_409,
    multiply_adds=3_480.2,
)
def resnet50v2(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
    """Build ResNet-50 V2 for 224 px."""
    return ResNetV2(config, rngs=rngs)
