"""Face box to square crop, and crop to bytes."""

from __future__ import annotations

import math

import cv2
import numpy as np
import simplejpeg
from jaxtyping import Float

from dfbench.faces.clip import CropRecipe
from dfbench.faces.images import RGB

Box = tuple[float, float, float, float]  # x0 y0 x1 y1, px
Point = tuple[float, float]  # x y, px
Affine = Float[np.ndarray, "2 3"]


def square_box(box: Box, margin: float) -> Box:
    """Return the square around the centre of `box`, `margin` times its longer side wide."""
    x0, y0, x1, y1 = box
    half = margin * max(x1 - x0, y1 - y0) / 2
    x, y = middle(box)
    return (x - half, y - half, x + half, y + half)


HEAD_MARGIN, HEAD_RAISE = 1.5, 0.2  # of a head over a face: times the margin; heights of the box


def recipe_box(box: Box, recipe: CropRecipe) -> Box:
    """Return the square that a recipe cuts around a face box: of the face, or of the head.

    Face boxes end at the brows or the hairline; a head's square is larger, and raised.
    """
    if recipe.crop == "face":
        return square_box(box, recipe.margin)
    x0, y0, x1, y1 = box
    up = HEAD_RAISE * (y1 - y0)
    return square_box((x0, y0 - up, x1, y1 - up), recipe.margin * HEAD_MARGIN)


def inner_square(height: int, width: int) -> Box:
    """Return the largest centred square of an image: the crop of one that is cropped already."""
    side = min(height, width)
    x, y = (width - side) / 2, (height - side) / 2
    return (x, y, x + side, y + side)


def cut(image: RGB, box: Box) -> RGB:
    """Cut a box out, to whole pixels; what lies outside the frame repeats its border."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (round(value) for value in box)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)  # from 0.5 to 1.5 is a pixel, and rounds to none
    inside = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    top, left = max(-y0, 0), max(-x0, 0)
    bottom, right = max(y1 - height, 0), max(x1 - width, 0)
    if not (top or bottom or left or right):
        return inside
    return np.asarray(
        cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8
    )


def middle(box: Box) -> Point:
    """Return the centre of a box."""
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def turned(image: RGB, box: Box, centre: Point, eyes: tuple[Point, Point]) -> tuple[RGB, Affine]:
    """Cut a square out of a frame that is turned about `centre` until the eyes are level.

    Args:
      image: the frame.
      box: the square, in the turned frame.
      centre: what stays where it is: of the face box, so that a head is above its face.
      eyes: the one that is left in the frame of an upright face, and the other.

    Returns:
      The square, and the map of points from the frame into it.
    """
    (left, top), (right, bottom) = eyes
    angle = math.degrees(math.atan2(bottom - top, right - left))
    side = max(1, round(box[2] - box[0]))
    into = cv2.getRotationMatrix2D(centre, angle, 1.0)
    into[:, 2] -= box[:2]
    # OpenCV has pixels at whole numbers, boxes and points have their corners there.
    pixels = into.copy()
    pixels[:, 2] += into[:, :2] @ (0.5, 0.5) - 0.5
    square = cv2.warpAffine(
        image, pixels, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(square, np.uint8), np.asarray(into)


def resize(image: RGB, size: int) -> RGB:
    """Scale a square image to `size` px: averaged when it shrinks, bilinear when it grows."""
    how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)


def decode(data: bytes) -> RGB:
    """Decode what `encode` returned.

    Raises:
      ValueError: it is something else.
    """
    if simplejpeg.is_jpeg(data):
        decoded: RGB = simplejpeg.decode_jpeg(data)
        return decoded
    pixels = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(pixels, cv2.IMREAD_COLOR_RGB) if len(pixels) else None
    if image is None:
        raise ValueError("no picture that OpenCV can decode")
    return np.asarray(image, np.uint8)


def decode_into(image: RGB, data: bytes) -> None:
    """Decode what `encode` returned into memory that is there.

    Of JPEG nothing is allocated or copied, and other threads go on meanwhile.

    Raises:
      ValueError: it is something else, or of another size.
    """
    if not simplejpeg.is_jpeg(data):
        image[...] = decode(data)
    elif (found := simplejpeg.decode_jpeg(data, buffer=image)).shape != image.shape:
        raise ValueError(f"{found.shape[1]} x {found.shape[0]} px, not {image.shape[0]}")


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
