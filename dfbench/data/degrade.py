"""What a degradation does to the pixels of a face crop; `docs/robustness.md` is its page.

On the host and by OpenCV, since the loss of JPEG is that of a real codec.
"""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from jaxtyping import UInt8

from dfbench.data.keys import clip_key
from dfbench.degradations import Degradation
from dfbench.faces.crop import decode


def degrade(
    image: UInt8[np.ndarray, "height width 3"],
    degradation: Degradation,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a degraded RGB image of the same size.

    Args:
      image: Of 8-bit levels; it is not changed.
      degradation: jpeg: encoded at that quality and decoded; blur: Gaussian, sigma in px; resize:
        shrunk to that part of each side by area, and back bilinearly; noise: Gaussian, independent
        for each pixel and channel, sigma in levels, rounded and clipped to 0..255.
      rng: Of the noise.
    """
    strength = degradation.strength
    if degradation.kind == "jpeg":
        flags = [cv2.IMWRITE_JPEG_QUALITY, int(strength)]
        good, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
        if not good:
            raise ValueError("OpenCV cannot encode JPEG")
        return decode(data.tobytes())
    if degradation.kind == "blur":
        return np.asarray(cv2.GaussianBlur(image, (0, 0), strength), np.uint8)
    if degradation.kind == "resize":
        height, width = image.shape[:2]
        small = max(1, round(width * strength)), max(1, round(height * strength))
        shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        grown = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(grown, np.uint8)
    if degradation.kind == "noise":
        noise = rng.normal(0.0, strength, image.shape)
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    raise ValueError(f"unknown degradation {degradation.text}")


def noise_of(dataset: str, video: str, frame: int) -> np.random.Generator:
    """Return the generator of a crop's noise: the same wherever and with whatever it is scored.

    It does not depend on the strength, so that a sweep differs in nothing but that.
    """
    digest = hashlib.sha256(clip_key(dataset, video).encode()).digest()
    return np.random.default_rng([int.from_bytes(digest[:8], "big"), frame])
