"""ResNets as torchvision (and timm) and Keras name their layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dfbench.models.weights.layout import Entry, Layout, Pixels, how_many

_KERAS_EPSILON = 1.001e-5
# Keras feeds its ResNet-50, whose weights came from Caffe, with 0 to 255 less ImageNet's mean.
_CAFFE = Pixels(
    mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=1 / 255, order="blue, green, red"
)


def _units(ours: Collection[str]) -> Iterator[tuple[int, int, int]]:
    """Yield stage, unit and how many convolutions it has."""
    for stage in range(how_many(ours, "stages.{}.0.convs.0")):
        for unit in range(how_many(ours, f"stages.{stage}.{{}}.convs.0")):
            yield stage, unit, how_many(ours, f"stages.{stage}.{unit}.convs.{{}}")


def torch_layout(ours: Collection[str]) -> Layout:
    """Name the layers as torchvision does."""
    entries = [Entry("conv1", "conv1"), Entry("norm1", "bn1")]
    for stage, unit, convs in _units(ours):
        path, name = f"stages.{stage}.{unit}", f"layer{stage + 1}.{unit}"
        for conv in range(convs):
            entries.append(Entry(f"{path}.convs.{conv}", f"{name}.conv{conv + 1}"))
            entries.append(Entry(f"{path}.norms.{conv}", f"{name}.bn{conv + 1}"))
        if f"{path}.skip" in ours:
            entries.append(Entry(f"{path}.skip", f"{name}.downsample.0"))
            entries.append(Entry(f"{path}.skip_norm", f"{name}.downsample.1"))
    return Layout(entries=tuple(entries), epsilon=1e-5)


def keras_layout(ours: Collection[str]) -> Layout:
    """Name the layers as `keras.applications.ResNet50` does."""
    entries = [Entry("conv1", "conv1_conv", "norm1"), Entry("norm1", "conv1_bn")]
    for stage, unit, convs in _units(ours):
        path, name = f"stages.{stage}.{unit}", f"conv{stage + 2}_block{unit + 1}"
        kernels = [
            Entry(f"{path}.convs.{i}", f"{name}_{i + 1}_conv", f"{path}.norms.{i}")
            for i in range(convs)
        ]
        norms = [Entry(f"{path}.norms.{i}", f"{name}_{i + 1}_bn") for i in range(convs)]
        for conv, norm in zip(kernels[:-1], norms[:-1], strict=True):
            entries += [conv, norm]
        if f"{path}.skip" in ours:  # as far from the output as the last convolution
            entries.append(Entry(f"{path}.skip", f"{name}_0_conv", f"{path}.skip_norm"))
            entries.append(kernels[-1])
            entries.append(Entry(f"{path}.skip_norm", f"{name}_0_bn"))
        else:
            entries.append(kernels[-1])
        entries.append(norms[-1])
    return Layout(entries=tuple(entries), epsilon=_KERAS_EPSILON, pixels=_CAFFE)


def keras_v2_layout(ours: Collection[str]) -> Layout:
    """Name the layers as `keras.applications.ResNet50V2` does."""
    entries = [Entry("conv1", "conv1_conv")]
    for stage, unit, convs in _units(ours):
        path, name = f"stages.{stage}.{unit}", f"conv{stage + 2}_block{unit + 1}"
        for i in range(convs):
            norm = "preact_bn" if i == 0 else f"{i}_bn"
            entries.append(Entry(f"{path}.norms.{i}", f"{name}_{norm}"))
            if i == convs - 1 and f"{path}.skip" in ours:
                entries.append(Entry(f"{path}.skip", f"{name}_0_conv"))
            entries.append(Entry(f"{path}.convs.{i}", f"{name}_{i + 1}_conv"))
    entries.append(Entry("norm", "post_bn"))
    return Layout(entries=tuple(entries), epsilon=_KERAS_EPSILON)
