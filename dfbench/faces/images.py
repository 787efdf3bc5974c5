"""Still images of every kind, as 8-bit RGB."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jp2", ".ppm", ".pgm"}
)
MAX_PIXELS = 100_000_000  # a bigger picture is a mistake or an attack

RGB = UInt8[np.ndarray, "height width 3"]


class UnreadableError(Exception):
    """A file of media that cannot be decoded; the message says why, for the record of misses."""


def is_image(path: Path) -> bool:
    """Return whether a file is a still image, by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> RGB:
    """Decode an image, turned upright as its EXIF says.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB; transparent ones are put on white; of an
    animation the first picture is taken.

    Raises:
      UnreadableError: the file is empty, truncated, too large or no image.
    """
    if path.stat().st_size == 0:
        raise UnreadableError("empty file (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata that does not matter
            with Image.open(path) as image:
                return _upright_rgb(image)
    except UnidentifiedImageError:
        return _by_opencv(path)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UnreadableError(f"cannot decode image: {_one_line(error)}") from error


def _upright_rgb(image: Image.Image) -> RGB:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"image too large ({width}x{height})")
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel, stored as such or as 32
        return _from_grey16(np.asarray(image))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def _from_grey16(values: np.ndarray) -> RGB:
    grey = np.clip(np.round(values.astype(np.float64) / 257), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _by_opencv(path: Path) -> RGB:
    """Decode what Pillow does not know."""
    data = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise UnreadableError(f"cannot decode image: {_one_line(error)}") from error
    if image is None:
        raise UnreadableError("not an image that can be decoded")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
