"""A first convolution that is fed as our models are, where the source is fed otherwise."""

from __future__ import annotations

import numpy as np

from dfbench.models.registry import ModelSpec
from dfbench.models.weights.layout import Pixels


def refed(kernel: np.ndarray, source: Pixels, spec: ModelSpec) -> np.ndarray:
    """Return the first kernel for our inputs, which have the same zero as the source's.

    Both are linear in the pixels: the kernel takes over the factor of each channel. Zero must mean
    the same colour, since that is what both are padded with.

    Raises:
        ValueError: The model subtracts another mean.
    """
    mean, std = (np.broadcast_to(np.asarray(v, np.float64), 3) for v in (spec.mean, spec.std))
    if not np.allclose(mean, source.mean, rtol=0, atol=1e-6):
        raise ValueError(f"'{spec.name}' subtracts {mean}, its pretrained weights {source.mean}")
    if source.order == "blue, green, red":
        kernel = kernel[:, :, ::-1]
    return (kernel * (std / source.std)[None, None, :, None]).astype(np.float32)
