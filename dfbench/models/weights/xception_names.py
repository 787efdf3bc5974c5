"""Xception as PyTorch files (Cadene's names, which timm and FaceForensics++ keep) and Keras."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dfbench.models.weights.layout import Entry, Layout, how_many


def _block_sizes(ours: Collection[str]) -> list[int]:
    """Return how many separable convolutions each block has."""
    blocks = how_many(ours, "blocks.{}.convs.0.norm")
    return [how_many(ours, f"blocks.{block}.convs.{{}}.norm") for block in range(blocks)]


def torch_layout(ours: Collection[str]) -> Layout:
    """Name the layers as `legacy_xception` of timm does; fewer middle blocks count on."""
    return Layout(entries=tuple(_torch_entries(ours)), epsilon=1e-5)


def _torch_entries(ours: Collection[str]) -> Iterator[Entry]:
    for number in (1, 2):
        yield Entry(f"conv{number}", f"conv{number}")
        yield Entry(f"norm{number}", f"bn{number}")
    for block, size in enumerate(_block_sizes(ours)):
        path, name = f"blocks.{block}", f"block{block + 1}"
        for conv in range(size):
            # `rep` lists ReLU, convolution, norm; the first block begins without the ReLU.
            place = 3 * conv + (0 if block == 0 else 1)
            names = f"{name}.rep.{place}", f"{name}.rep.{place + 1}"
            yield from _torch_separable(f"{path}.convs.{conv}", *names)
        if f"{path}.skip" in ours:
            yield Entry(f"{path}.skip", f"{name}.skip")
            yield Entry(f"{path}.skip_norm", f"{name}.skipbn")
    for number in (1, 2):
        yield from _torch_separable(f"exit{number}", f"conv{number + 2}", f"bn{number + 2}")


def _torch_separable(path: str, conv: str, norm: str) -> Iterator[Entry]:
    yield Entry(f"{path}.depthwise", f"{conv}.conv1")
    yield Entry(f"{path}.pointwise", f"{conv}.pointwise")
    yield Entry(f"{path}.norm", norm)


def keras_layout(ours: Collection[str]) -> Layout:
    """Name the layers as `keras.applications.Xception` does, which leaves the skips unnamed."""
    return Layout(entries=tuple(_keras_entries(ours)), epsilon=1e-3)


def _keras_entries(ours: Collection[str]) -> Iterator[Entry]:
    for number in (1, 2):
        yield Entry(f"conv{number}", f"block1_conv{number}")
        yield Entry(f"norm{number}", f"block1_conv{number}_bn")
    sizes = _block_sizes(ours)
    for block, size in enumerate(sizes):
        for conv in range(size):
            yield from _keras_separable(f"blocks.{block}.convs.{conv}", block + 2, conv + 1)
        if f"blocks.{block}.skip" in ours:
            yield Entry(f"blocks.{block}.skip")
            yield Entry(f"blocks.{block}.skip_norm")
    for conv in (1, 2):
        yield from _keras_separable(f"exit{conv}", len(sizes) + 2, conv)


def _keras_separable(path: str, block: int, conv: int) -> Iterator[Entry]:
    name = f"block{block}_sepconv{conv}"
    yield Entry(f"{path}.depthwise", f"{name}/depthwise")
    yield Entry(f"{path}.pointwise", f"{name}/pointwise")
    yield Entry(f"{path}.norm", f"{name}_bn")
