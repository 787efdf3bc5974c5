"""What a network sees of a crop: `model.input`.

Crops come as frames in [0, 1]: [batch, side, side, 3], or 6 channels with the frame before behind.
All representations are centred where a network's own padding is: nothing to see is 0.

- `rgb`: (frame - mean) / std, as the network wants pictures.
- `srm`: noise, by the three filters of steganalysis that Zhou et al. picked (Learning Rich Features
  for Image Manipulation Detection, CVPR 2018, arXiv:1805.04953) from those of Fridrich and Kodovský
  (Rich Models for Steganalysis of Digital Images, IEEE TIFS 7(3), 2012). In grey levels of 0 to
  255, averaged over the colours (they sum, which is a factor), border repeated, and cut off at 4
  levels: the widest range of Fridrich and Kodovský's (2 steps of 2 levels); nothing is rounded. The
  range is then mapped to half of that of pictures to either side of the mean.
- `diff`: (frame - frame before) / std, the difference of what the network sees of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Shaped

from dfbench.config import Input, ModelConfig

if TYPE_CHECKING:
    from dfbench.models.registry import ModelSpec

SRM_LIMIT = 4.0  # grey levels
_SECOND = np.pad(np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]) / 4, 1)
_THIRD = (
    np.array(
        [
            [-1, 2, -2, 2, -1],
            [2, -6, 8, -6, 2],
            [-2, 8, -12, 8, -2],
            [2, -6, 8, -6, 2],
            [-1, 2, -2, 2, -1],
        ]
    )
    / 12
)
_LINE = np.pad(np.array([[1, -2, 1]]) / 2, ((2, 2), (1, 1)))
SRM_KERNELS: Float[np.ndarray, "3 5 5"] = np.stack([_SECOND, _THIRD, _LINE]).astype(np.float32)

Frames = Float[Array, "batch height width frames_times_3"]


def image_channels(config: ModelConfig) -> int:
    """Return how many channels the first layer of a network gets."""
    return 3 * len(config.input.split("+"))


def seen_frames(
    images: Shaped[Array, "batch height width channel"], kind: Input
) -> Shaped[Array, "batch height width frames_times_3"]:
    """Return the channels of the frames that a representation is made of.

    Raises:
        ValueError: The frame before is not among them.
    """
    if "diff" not in kind.split("+"):
        return images[..., :3]
    if images.shape[-1] != 6:
        raise ValueError(
            f"model.input = {kind} needs crops that were prepared with data.before = true"
        )
    return images


def represent(frames: Frames, spec: ModelSpec) -> Float[Array, "batch height width channel"]:
    """Turn frames in [0, 1] into what the network of `spec` wants to see."""
    mean, std = (
        jnp.broadcast_to(jnp.asarray(value, jnp.float32), (1, 1, 1, 3))
        for value in (spec.mean, spec.std)
    )
    frame = frames[..., :3]
    parts = []
    for kind in spec.input.split("+"):
        if kind == "rgb":
            parts.append((frame - mean) / std)
        elif kind == "srm":
            parts.append(srm_noise(frame) * (0.5 / SRM_LIMIT) / std)
        else:
            parts.append((frame - frames[..., 3:]) / std)
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def srm_noise(
    frame: Float[Array, "batch height width 3"],
) -> Float[Array, "batch height width 3"]:
    """Return the three filters' noise of frames in [0, 1], in grey levels, cut off at the limit."""
    grey = jnp.mean(frame, axis=-1, keepdims=True) * 255  # one filter is the same for all colours
    padded = jnp.pad(grey, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    kernels = jnp.asarray(SRM_KERNELS.transpose(1, 2, 0)[:, :, None])
    noise: Array = lax.conv_general_dilated(
        padded,
        kernels,
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,  # a GPU's TF32 would add noise of its own
    )
    return jnp.clip(noise, -SRM_LIMIT, SRM_LIMIT)
