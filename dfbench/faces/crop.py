"""Face box to square crop, and crop to bytes."""

from __future__ import annotations

import cv2
import numpy as np

from dfbench.faces.clip import CropRecipe
from dfbench.faces.images import RGB

Box = tuple[float, float, float, float]  # x0 y0 x1 y1, px


def square_box(box: Box, margin: float) -> Box:
    """Return the square around the centre of `box`, `margin` times its longer side wide."""
    x0, y0, x1, y1 = box
    half = margin * max(x1 - x0, y1 - y0) / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return (x - half, y - half, x + half, y + half)


def inner_square(height: int, width: int) -> Box:
    """Return the largest centred square of an image: the crop of one that is cropped already."""
    side = min(height, width)
    x, y = (width - side) / 2, (height - side) / 2
    return (x, y, x + side, y + side)


def cut(image: RGB, box: Box) -> RGB:
    """Cut a box out, to whole pixels; what lies outside the frame repeats its border."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (round(value) for value in box)
    inside = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    top, left = max(-y0, 0), max(-x0, 0)
    bottom, right = max(y1 - height, 0), max(x1 - width, 0)
    if not (top or bottom or left or right):
        return inside
    return np.asarray(
        cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8
    )


def resize(image: RGB, size: int) -> RGB:
    """Scale a square image to `size` px: averaged when it shrinks, bilinear when it grows."""
    how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)


def encode(image: RGB, recipe: CropRecipe) -> bytes:
    """Encode as the recipe says."""
    suffix, flags = (
        (".jpg", [cv2.IMWRITE_JPEG_QUALITY, recipe.quality])
        if recipe.format == "jpeg"
        else (".png", [])
    )
    good, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    if not good:
        raise ValueError(f"OpenCV cannot encode {suffix}")
    encoded: bytes = data.tobytes()
    return encoded
