"""Meso-4 and MesoInception-4 as their authors saved them with Keras: by the order of layers."""

from __future__ import annotations

from collections.abc import Collection

from dfbench.models.weights.layout import Entry, Layout


def meso4_layout(ours: Collection[str]) -> Layout:
    """Convolution and norm in turn. The authors' folders sort so that the output is P(real)."""
    del ours
    entries = [Entry(f"{name}.{stage}") for stage in range(4) for name in ("convs", "norms")]
    return Layout(entries=tuple(entries), epsilon=1e-3, label="real")
