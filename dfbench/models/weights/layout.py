"""What a layer of ours is called in a file from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
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
class Layout:
    """How a network is laid out in the files of one origin; its head is not part of this.

    Attributes:
        entries: In the order of the file, which matters where names do not decide.
        epsilon: Of the source's batch norms.
        label: What the files' output usually scores.
        bgr: The source sees blue first; ours sees red first.
    """

    entries: tuple[Entry, ...]
    epsilon: float
    label: Label = "fake"
    bgr: bool = False


# From the dotted paths of our layers.
MakeLayout = Callable[[Collection[str]], Layout]
