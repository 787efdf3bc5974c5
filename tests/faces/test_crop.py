from __future__ import annotations

import cv2
import numpy as np

from dfbench.faces.clip import CropRecipe
from dfbench.faces.crop import cut, encode, inner_square, resize, square_box


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


def test_resize_and_encode_keep_colours() -> None:
    image = np.full((40, 40, 3), (200, 100, 20), np.uint8)
    for recipe in (CropRecipe(format="jpeg"), CropRecipe(format="png")):
        data = encode(resize(image, 16), recipe)
        back = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert back.shape == (16, 16, 3)
        np.testing.assert_allclose(back[8, 8].astype(int), (20, 100, 200), atol=2)  # BGR
