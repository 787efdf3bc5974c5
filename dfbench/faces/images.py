"""Still images of every kind, as 8-bit RGB."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from dfbench.errors import one_line

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jp2", ".ppm", ".pgm"}
)
MAX_PIXELS = 100_000_000  # a bigger picture is a mistake or an attack
MAX_BYTES = 1_000_000_000  # of the file of one: 100 megapixels of 16 bits are 600 MB
# What Pillow is asked for. It knows more: PostScript it would run, if Ghostscript is there.
FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI"),
    *("SGI", "SUN", "TGA", "TIFF", "WEBP"),
)

RGB = UInt8[np.ndarray, "height width 3"]


class UnreadableError(Exception):
    """A file of media that cannot be decoded; the message says why, for the record of misses."""


LONGEST = 200  # characters of a reason


def reason(error: BaseException) -> str:
    """Return why something cannot be read, as one line for the record of misses.

    It names no file: records are published, and folders carry the names of people.
    """
    if isinstance(error, OSError) and error.strerror:
        text = f"[Errno {error.errno}] {error.strerror}"
    elif isinstance(error, cv2.error) and error.err:
        text = error.err  # without the source file of OpenCV
    elif isinstance(error, UnreadableError | OSError | ValueError | SyntaxError | EOFError):
        text = str(error)
    else:  # of a parser: 'KeyError: 7' says more than '7'
        text = f"{type(error).__name__}: {error}"
    return one_line(" ".join(text.split()))[:LONGEST] or type(error).__name__


def no_memory(error: BaseException) -> bool:
    """Tell whether something failed for want of memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, cv2.error) and error.code == cv2.Error.STS_NO_MEM
    )


def is_image(path: Path) -> bool:
    """Return whether a file is a still image, by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> RGB:
    """Decode an image, turned upright as its EXIF says.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB; transparent ones are put on white; of an
    animation the first picture is taken.

    Raises:
      UnreadableError: the file is empty, truncated, too large or no image.
      OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        raise UnreadableError("empty file (0 bytes)")
    if size > MAX_BYTES:
        raise UnreadableError(f"image too large ({size} bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata that does not matter
            with Image.open(path, formats=FORMATS) as image:
                return _upright_rgb(image)
    except UnreadableError:
        raise
    except UnidentifiedImageError:
        return _by_opencv(path)
    except Image.DecompressionBombError:
        raise UnreadableError(f"image too large (more than {MAX_PIXELS} pixels)") from None
    except Exception as error:  # Pillow raises whatever its parsers stumble over
        if no_memory(error) or (isinstance(error, OSError) and error.errno):  # of the system
            raise
        raise UnreadableError(f"cannot decode image: {reason(error)}") from error


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
    grey = np.clip(np.round(values.astype(np.float32) / 257), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _by_opencv(path: Path) -> RGB:
    """Decode what Pillow does not know."""
    data = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        if no_memory(error):
            raise
        if "CV_IO_MAX_IMAGE" in error.err:
            raise UnreadableError(f"image too large (more than {MAX_PIXELS} pixels)") from None
        raise UnreadableError(f"cannot decode image: {reason(error)}") from error
    if image is None:
        raise UnreadableError("not an image that can be decoded")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
