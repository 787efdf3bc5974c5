from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest

from dfbench.faces.clip import CropRecipe
from dfbench.faces.crop import cut, decode, decode_into, encode, inner_square, resize, square_box


def test_square_has_the_centre_and_the_margin() -> None:
    assert square_box((10, 20, 30, 60), 1.5) == (-10, 10, 50, 70)


def test_inner_square() -> None:
    assert inner_square(10, 20) == (5, 0, 15, 10)
    assert inner_square(20, 10) == (0, 5, 10, 15)


def test_cut_repeats_the_border() -> None:
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(cut(image, (1, 1, 3, 3)), image[1:3, 1:3])
    outside = cut(image, (-2, -1, 6, 7))
    assert outside.shape == (8, 8, 3)
    np.testing.assert_array_equal(outside[0, 0], image[0, 0])
    np.testing.assert_array_equal(outside[1:5, 2:6], image)
    np.testing.assert_array_equal(outside[7, 7], image[3, 3])


@pytest.mark.parametrize("form", ["jpeg", "png"])
def test_decoding_into_memory_that_is_there(form: Literal["jpeg", "png"]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    data = encode(cv2.blur(image, (5, 5)), CropRecipe(format=form, size=24))
    batch = np.zeros((3, 24, 24, 3), np.uint8)
    decode_into(batch[1], data)
    np.testing.assert_array_equal(batch[1], decode(data))
    assert not batch[[0, 2]].any()
    for size in (16, 32):
        with pytest.raises(ValueError, match="24"):
            decode_into(np.zeros((size, size, 3), np.uint8), data)
    for bad in (b"", b"no picture", data[: len(data) // 2]):
        with pytest.raises(ValueError, match=r"\w"):
            decode_into(batch[0], bad)


def test_pixels_are_those_of_opencv() -> None:
    """As they were before another decoder: the same library is in both."""
    rng = np.random.default_rng(0)
    for quality in (30, 75, 95):
        image = cv2.blur(rng.integers(0, 256, (64, 64, 3), np.uint8), (7, 7))
        data = encode(image, CropRecipe(quality=quality))
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(decode(data), expected)


def test_resize_and_encode_keep_colours() -> None:
    image = np.full((40, 40, 3), (200, 100, 20), np.uint8)
    for recipe in (CropRecipe(format="jpeg"), CropRecipe(format="png")):
        data = encode(resize(image, 16), recipe)
        back = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert back.shape == (16, 16, 3)
        np.testing.assert_allclose(back[8, 8].astype(int), (20, 100, 200), atol=2)  # BGR
