"""What a layer of ours is called in a file from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from typing import Literal

Label = Literal["fake", "real"]


@dataclass(frozen=True)
class Entry:
    """A layer.

    Attributes:
        ours: Its dotted path in our model.
        theirs: Its name in the file; None where Keras numbers layers as it goes, so that only
            their order says which is which.
        bias_into: Dotted path of our batch norm that takes over the bias of this convolution,
            which ours does not have.
    """

    ours: str
    theirs: str | None = None
    bias_into: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """What a network is fed with: (RGB in [0, 1] - mean) / std, channels in this order."""

    mean: tuple[float, float, float]  # of red, green, blue
    std: float
    order: Literal["red, green, blue", "blue, green, red"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a network is laid out in the files of one origin; its head is not part of this.

    Attributes:
        entries: In the order of the file, which matters where names do not decide.
        epsilon: Of the source's batch norms.
        label: What the files' output usually scores.
        pixels: What the first convolution sees, if not what ours sees.
    """

    entries: tuple[Entry, ...]
    epsilon: float
    label: Label = "fake"
    pixels: Pixels | None = None


# From the dotted paths of our layers.
MakeLayout = Callable[[Collection[str]], Layout]


def how_many(ours: Collection[str], template: str) -> int:
    """Return how many paths there are of `template` with 0, 1, ... in place of its `{}`."""
    return next(number for number in count() if template.format(number) not in ours)
