from __future__ import annotations

import numpy as np
import pytest

from dfbench.faces.detect import Face
from dfbench.faces.self_blend import self_blend

FACE = Face((40, 40, 120, 120), 1.0)


def photo(grey: bool = False) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    image = cv2.resize(small, (160, 160), interpolation=cv2.INTER_CUBIC)
    return np.repeat(image[:, :, :1], 3, axis=2) if grey else image


def test_same_seed_same_fake_and_the_source_is_untouched() -> None:
    image = photo()
    before = image.copy()
    one, two, other = (self_blend(image, FACE, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    np.testing.assert_array_equal(image, before)
    assert one.shape == image.shape
    assert one.dtype == np.uint8


def test_inside_differs_and_outside_or_inside_is_the_original() -> None:
    image = photo().astype(int)
    kept_background = 0
    for seed in range(40):
        fake = self_blend(photo(), FACE, np.random.default_rng(seed)).astype(int)
        assert np.abs(fake - image).max() > 10  # every fake is one
        corner = np.abs(fake[:12, :12] - image[:12, :12]).mean()
        kept_background += corner < 0.5
    assert 10 <= kept_background <= 30  # the face is altered about as often as what is around it


@pytest.mark.parametrize("seed", range(6))
def test_grey_stays_grey(seed: int) -> None:
    fake = self_blend(photo(grey=True), FACE, np.random.default_rng(seed))
    assert np.ptp(fake.astype(int), axis=2).max() == 0


def test_keypoints_turn_the_mask() -> None:
    tilted = Face(FACE.box, 1.0, ((60, 60), (95, 80), (75, 85), (68, 98), (50, 60), (110, 90)))
    plain = self_blend(photo(), FACE, np.random.default_rng(3))
    assert (self_blend(photo(), tilted, np.random.default_rng(3)) != plain).any()
