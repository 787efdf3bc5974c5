"""A first convolution that is fed as our models are, where the source is fed otherwise."""

from __future__ import annotations

import numpy as np

from dfbench.models.registry import ModelSpec
from dfbench.models.weights.layout import Pixels


def refed(kernel: np.ndarray, source: Pixels, spec: ModelSpec) -> np.ndarray:
    """Return the first kernel for our inputs, which have the same zero as the source's.

    Both are linear in the pixels: the kernel takes over the factor of each channel. Zero must mean
    the same colour, since that is what both are padded with. Channels behind the picture's stay as
    they are.

    Raises:
        ValueError: The model subtracts another mean.
    """
    mean, std = (np.broadcast_to(np.asarray(v, np.float64), 3) for v in (spec.mean, spec.std))
    if not np.allclose(mean, source.mean, rtol=0, atol=1e-6):
        raise ValueError(f"'{spec.name}' subtracts {mean}, its pretrained weights {source.mean}")
    picture = kernel[:, :, :3]
    if source.order == "blue, green, red":
        picture = picture[:, :, ::-1]
    picture = picture * (std / source.std)[None, None, :, None]
    return np.concatenate([picture, kernel[:, :, 3:]], axis=2).astype(np.float32)


def widened(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what read pictures alone for a `model.input` of more channels; the rest is as it was.

    The kernels of the new channels are zeros: the network says of a picture what it said, until
    training finds a use for them. The means and variances within EfficientNet are repeated.
    """
    if array.shape == shape:
        return array
    if array.ndim == 4 and (*array.shape[:2], 6, array.shape[3]) == shape:
        return np.pad(array, ((0, 0), (0, 0), (0, 3), (0, 0)))
    return np.tile(array, 2) if array.shape == (3,) and shape == (6,) else array
