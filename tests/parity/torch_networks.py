"""The networks once more in PyTorch, to hold dfbench's against.

Modules carry the names of dfbench's parameters, so that weights are copied by name: `kernel` and
`scale` are PyTorch's `weight`, `mean` and `var` its `running_mean` and `running_var`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_OURS = {"running_mean": "mean", "running_var": "var"}
_SKIPPED = ("num_batches_tracked",)


def copy_weights(
    module: nn.Module, params: Mapping[Any, Any], batch_stats: Mapping[Any, Any]
) -> None:
    """Fill `module` from the nested dicts of a `TrainState`.

    Raises:
        ValueError: A tensor of either side has no partner, or shapes differ.
    """
    ours = dict(_leaves(params)) | dict(_leaves(batch_stats))
    ours = {name: leaf for name, leaf in ours.items() if not name.endswith(".seen")}
    theirs = {_our_name(module, name): tensor for name, tensor in _tensors(module)}
    if ours.keys() != theirs.keys():
        raise ValueError(f"without a partner: {sorted(ours.keys() ^ theirs.keys())}")
    with torch.no_grad():
        for name, tensor in theirs.items():
            array = _to_torch(np.asarray(ours[name]))
            if array.shape != tuple(tensor.shape):
                raise ValueError(f"{name}: {array.shape} here, {tuple(tensor.shape)} in PyTorch")
            tensor.copy_(torch.from_numpy(array))


def gradients(module: nn.Module) -> dict[str, np.ndarray]:
    """Return the gradients by dfbench's names and in its layout."""
    found = {}
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        found[_our_name(module, name)] = _from_torch(parameter.grad.numpy())
    return found


def named(tree: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of nested dicts by their dotted names."""
    return {name: np.asarray(leaf) for name, leaf in _leaves(tree)}


def _leaves(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if not name.endswith(_SKIPPED):
            yield name, tensor


def _our_name(module: nn.Module, name: str) -> str:
    owner, _, leaf = name.rpartition(".")
    if leaf == "weight":
        leaf = "scale" if isinstance(module.get_submodule(owner), nn.BatchNorm2d) else "kernel"
    return f"{owner}.{_OURS.get(leaf, leaf)}"


def _to_torch(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:  # height, width, in, out
        array = array.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(array.T if array.ndim == 2 else array)


def _from_torch(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T if array.ndim == 2 else array


class Head(nn.Module):
    """Dense layers to one logit; of two outputs (real, fake), to their difference.

    Args:
        features: In.
        widths: Of hidden layers.
        outputs: 1 or 2.
        leak: What hidden layers leave of numbers below zero.
    """

    def __init__(
        self, features: int, widths: tuple[int, ...] = (), outputs: int = 1, leak: float = 0.1
    ) -> None:
        super().__init__()
        self.leak = leak
        sizes = (features, *widths)
        self.hidden = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.output = nn.Linear(sizes[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        for dense in self.hidden:
            x = F.leaky_relu(dense(x), self.leak)
        x = self.output(x)
        return x[:, 0] if x.shape[1] == 1 else x[:, 1] - x[:, 0]


class SepConv(nn.Module):
    """A 3x3 within groups of channels, a 1x1, batch norm."""

    def __init__(self, channels: int, out: int, group: int) -> None:
        super().__init__()
        groups = channels // group
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(x)))


class XceptionBlock(nn.Module):
    """Separable convolutions of the widths given, beside a skip connection."""

    def __init__(
        self, *widths: int, group: int, stride: int, projected: bool, leading_relu: bool = True
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList([SepConv(a, b, group) for a, b in pairwise(widths)])
        self.leading_relu = leading_relu
        self.stride = stride
        self.projected = projected
        if projected:
            self.skip = nn.Conv2d(widths[0], widths[-1], 1, stride, bias=False)
            self.skip_norm = nn.BatchNorm2d(widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number, conv in enumerate(self.convs):
            y = conv(F.relu(y) if number or self.leading_relu else y)
        skip = self.skip_norm(self.skip(x)) if self.projected else x
        return (F.max_pool2d(y, 3, 2, 1) if self.stride == 2 else y) + skip


class Xception(nn.Module):
    """Xception; Light has 4 middle blocks.

    Args:
        middle_blocks: How many.
        midway: Every 3x3 mixes pairs of channels, and every block projects its skip connection.
    """

    def __init__(self, middle_blocks: int = 8, *, midway: bool = False) -> None:
        super().__init__()
        group = 2 if midway else 1

        def halving(*widths: int, leading_relu: bool = True) -> XceptionBlock:
            return XceptionBlock(
                *widths, group=group, stride=2, projected=True, leading_relu=leading_relu
            )

        def middle() -> XceptionBlock:
            return XceptionBlock(728, 728, 728, 728, group=group, stride=1, projected=midway)

        self.conv1, self.norm1 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.norm2 = nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64)
        self.blocks = nn.Sequential(
            halving(64, 128, 128, leading_relu=False),
            halving(128, 256, 256),
            halving(256, 728, 728),
            *[middle() for _ in range(middle_blocks)],
            halving(728, 728, 1024),
        )
        self.exit1, self.exit2 = SepConv(1024, 1536, group), SepConv(1536, 2048, group)
        self.head = Head(2048, outputs=2)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(images)))
        x = F.relu(self.norm2(self.conv2(x)))
        x = self.blocks(x)
        x = F.relu(self.exit2(F.relu(self.exit1(x))))
        return self.head(x.mean((2, 3)))


def _flat(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(1)  # in the order of Keras and Flax


def _keras_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Meso4(nn.Module):
    """Meso-4 for images of `side` px."""

    def __init__(self, side: int = 256) -> None:
        super().__init__()
        shapes = ((3, 8, 3), (8, 8, 5), (8, 16, 5), (16, 16, 5))
        self.convs = nn.ModuleList([nn.Conv2d(a, b, k, padding=k // 2) for a, b, k in shapes])
        self.norms = nn.ModuleList([_keras_norm(b) for _, b, _ in shapes])
        self.head = Head((side // 32) ** 2 * 16, (16,))

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for conv, norm, window in zip(self.convs, self.norms, (2, 2, 2, 4), strict=True):
            x = F.max_pool2d(norm(F.relu(conv(x))), window)
        return self.head(_flat(x))


class Inception(nn.Module):
    """Branches of MesoInception-4: 1x1, and 1x1 then 3x3 of dilation 1, 2 and 3."""

    def __init__(self, channels: int, branches: tuple[int, int, int, int]) -> None:
        super().__init__()
        convs = [nn.Conv2d(channels, branches[0], 1)]
        for dilation, out in enumerate(branches[1:], 1):
            wide = nn.Conv2d(out, out, 3, padding=dilation, dilation=dilation)
            convs += [nn.Conv2d(channels, out, 1), wide]
        self.convs = nn.ModuleList(convs)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.convs
        branches = [F.relu(first(x))]
        for narrow, wide in zip(others[::2], others[1::2], strict=True):
            branches.append(F.relu(wide(F.relu(narrow(x)))))
        return torch.cat(branches, 1)


class MesoInception4(nn.Module):
    """MesoInception-4 for images of `side` px."""

    def __init__(self, side: int = 256) -> None:
        super().__init__()
        self.inceptions = nn.ModuleList([Inception(3, (1, 4, 4, 2)), Inception(11, (2, 4, 4, 2))])
        self.convs = nn.ModuleList([nn.Conv2d(n, 16, 5, padding=2) for n in (12, 16)])
        self.norms = nn.ModuleList([_keras_norm(n) for n in (11, 12, 16, 16)])
        self.head = Head((side // 32) ** 2 * 16, (16,))

    def forward(self, images: Tensor) -> Tensor:
        x = images
        stages = (*self.inceptions, *self.convs)
        for stage, norm, window in zip(stages, self.norms, (2, 2, 2, 4), strict=True):
            x = F.max_pool2d(norm(F.relu(stage(x))), window)
        return self.head(_flat(x))


def _keras_resnet_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1.001e-5, momentum=0.01)


class Residual(nn.Module):
    """Convolutions (side, output channels, stride) beside a skip connection, then ReLU."""

    def __init__(
        self,
        channels: int,
        layers: tuple[tuple[int, int, int], ...],
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        widths = (channels, *(out for _, out, _ in layers))
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(before, out, side, stride, side // 2, bias=False)
                for before, (side, out, stride) in zip(widths, layers, strict=False)
            ]
        )
        self.norms = nn.ModuleList([norm(out) for _, out, _ in layers])
        stride = max(stride for _, _, stride in layers)
        self.projected = stride > 1 or channels != widths[-1]
        if self.projected:
            self.skip = nn.Conv2d(channels, widths[-1], 1, stride, bias=False)
            self.skip_norm = norm(widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(F.relu(y) if number else y))
        return F.relu(y + (self.skip_norm(self.skip(x)) if self.projected else x))


class ResNet(nn.Module):
    """ResNet-34; with `bottleneck`, ResNet-50 whose 3x3 carry the strides.

    Args:
        bottleneck: Units of 1x1, 3x3 and 1x1 instead of two 3x3.
        keras: The first 1x1 carry the strides, and batch norm is Keras's.
        depths: Units in each stage.
    """

    def __init__(
        self,
        *,
        bottleneck: bool = False,
        keras: bool = False,
        depths: tuple[int, ...] = (3, 4, 6, 3),
    ) -> None:
        super().__init__()
        norm = _keras_resnet_norm if keras else nn.BatchNorm2d
        self.conv1, self.norm1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), norm(64)
        stages, channels = [], 64
        for number, depth in enumerate(depths):
            units, width = [], 64 * 2**number
            for place in range(depth):
                stride = 2 if number and not place else 1
                first, second = (stride, 1) if keras else (1, stride)
                if bottleneck:
                    layers = ((1, width, first), (3, width, second), (1, 4 * width, 1))
                else:
                    layers = ((3, width, stride), (3, width, 1))
                units.append(Residual(channels, layers, norm))
                channels = layers[-1][1]
            stages.append(nn.Sequential(*units))
        self.stages = nn.Sequential(*stages)
        self.head = Head(channels)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 3, 2, 1)
        return self.head(self.stages(x).mean((2, 3)))


class PreActivation(nn.Module):
    """Batch norm and ReLU before each of 1x1, 3x3 and 1x1, and nothing after the sum."""

    def __init__(self, channels: int, width: int, *, stride: int, projection: bool) -> None:
        super().__init__()
        out = 4 * width
        self.norms = nn.ModuleList([_keras_resnet_norm(n) for n in (channels, width, width)])
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(channels, width, 1, bias=False),
                nn.Conv2d(width, width, 3, stride, 1, bias=False),
                nn.Conv2d(width, out, 1),
            ]
        )
        self.stride, self.projection = stride, projection
        if projection:
            self.skip = nn.Conv2d(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inputs = x
        for number, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            x = F.relu(norm(x))
            if number == 0 and self.projection:
                inputs = self.skip(x)
            x = conv(x)
        return x + (inputs if self.projection else inputs[:, :, :: self.stride, :: self.stride])


class ResNetV2(nn.Module):
    """ResNet-50 V2 as Keras has it: a stage strides in its last unit, the last stage nowhere."""

    def __init__(self, depths: tuple[int, ...] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        stages, channels = [], 64
        for number, depth in enumerate(depths):
            units, width = [], 64 * 2**number
            for place in range(depth):
                stride = 2 if place == depth - 1 and number < len(depths) - 1 else 1
                unit = PreActivation(channels, width, stride=stride, projection=place == 0)
                units.append(unit)
                channels = 4 * width
            stages.append(nn.Sequential(*units))
        self.stages = nn.Sequential(*stages)
        self.norm = _keras_resnet_norm(channels)
        self.head = Head(channels)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.pad(self.conv1(images), (1, 1, 1, 1)), 3, 2)
        return self.head(F.relu(self.norm(self.stages(x))).mean((2, 3)))


class SmallCnn(nn.Module):
    """Two convolutions and two dense layers, for images of `side` px."""

    def __init__(self, side: int = 160) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 16), (16, 32))])
        self.head = Head((side // 4) ** 2 * 32, (64,), leak=0.0)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for conv in self.convs:
            x = F.max_pool2d(F.relu(conv(x)), 2)
        return self.head(_flat(x))
