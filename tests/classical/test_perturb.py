from __future__ import annotations

import numpy as np

from dfbench.classical.perturb import perturbed
from dfbench.config import AugmentConfig

IMAGE = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))[..., None].repeat(3, axis=2).copy()
IMAGE[::2] = 255 - IMAGE[::2]


def _roughness(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.astype(np.float64), axis=1)).mean())


def test_every_crop_is_blurred_or_noisy_and_never_both() -> None:
    config = AugmentConfig(blur=0.5, noise=0.5, blur_sigma=(1.0, 1.0), noise_std=(0.02, 0.02))
    kinds = []
    for seed in range(200):
        image = perturbed(IMAGE, config, np.random.default_rng(seed))
        vertical = np.abs(np.diff(image.astype(np.float64), axis=0)).mean()
        blurred = vertical < 0.8 * np.abs(np.diff(IMAGE.astype(np.float64), axis=0)).mean()
        noisy = _roughness(image) > 1.2 * _roughness(IMAGE)
        assert blurred != noisy
        kinds.append(blurred)
    assert 70 < sum(kinds) < 130


def test_noise_is_as_strong_as_asked_for() -> None:
    config = AugmentConfig(noise=1.0, noise_std=(0.04, 0.04))
    grey = np.full((100, 100, 3), 128, np.uint8)
    image = perturbed(grey, config, np.random.default_rng(0)).astype(np.float64)
    assert abs(image.std() / 255 - 0.04) < 0.002
    assert abs(image.mean() - 128) < 0.5


def test_nothing_happens_unasked() -> None:
    assert perturbed(IMAGE, AugmentConfig(), np.random.default_rng(0)) is IMAGE
