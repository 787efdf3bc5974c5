"""Blur or noise on training crops, never both (report of the UADFV lab, 2021)."""

from __future__ import annotations

import cv2
import numpy as np

from dfbench.config import AugmentConfig
from dfbench.faces.images import RGB


def perturbed(image: RGB, config: AugmentConfig, rng: np.random.Generator) -> RGB:
    """Blur a crop, or add Gaussian noise, or neither, by the probabilities of `config`."""
    draw = rng.random()
    if draw < config.blur:
        sigma = rng.uniform(*config.blur_sigma)
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if draw < config.blur + config.noise:
        noise = rng.normal(0, 255 * rng.uniform(*config.noise_std), image.shape)
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    return image
