"""Meso-4 and MesoInception-4 as their authors saved them with Keras: by the order of layers.

The authors' folders sort so that the output is P(real).
"""

from __future__ import annotations

from collections.abc import Collection

from dfbench.models.weights.layout import Entry, Layout

# Keras sorts layers by their distance from the output: in an inception module the 1x1 in front of
# the three 3x3 come first, and then what is concatenated.
_INCEPTION = (1, 3, 5, 0, 2, 4, 6)


def meso4_layout(ours: Collection[str]) -> Layout:
    """Order convolutions and norms in turn."""
    del ours
    entries = [Entry(f"{name}.{stage}") for stage in range(4) for name in ("convs", "norms")]
    return Layout(entries=tuple(entries), epsilon=1e-3, label="real")


def mesoinception4_layout(ours: Collection[str]) -> Layout:
    """Order two inception modules and two convolutions, a norm behind each."""
    del ours
    entries = []
    for stage in range(4):
        if stage < 2:
            entries += [Entry(f"inceptions.{stage}.convs.{conv}") for conv in _INCEPTION]
        else:
            entries.append(Entry(f"convs.{stage - 2}"))
        entries.append(Entry(f"norms.{stage}"))
    return Layout(entries=tuple(entries), epsilon=1e-3, label="real")
