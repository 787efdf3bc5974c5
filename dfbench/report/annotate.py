"""Boxes and scores drawn on a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dfbench.report.figures.style import FAKE, INK, PAPER, REAL
from dfbench.report.matrix import plain
from dfbench.report.sheet import RGB

LEAST, MOST = 640, 1920  # px of a picture's longer side: below, letters hide it


@dataclass(frozen=True)
class Mark:
    """A box and what is written at it."""

    box: tuple[float, float, float, float]  # x0 y0 x1 y1, px of the picture
    text: str
    fake: bool


def annotated(image: RGB, marks: Sequence[Mark], caption: str, *, most: int = MOST) -> RGB:
    """Draw boxes, orange for fake and blue for real, and a line of text below the picture.

    Small pictures come back larger and large ones smaller, with even sides, as videos need them.
    Letters that the font lacks are drawn as boxes.

    Args:
      image: The picture.
      marks: What is drawn; the last is on top.
      caption: One line; what does not fit is cut off.
      most: px of the longer side, without the caption.
    """
    height, width = image.shape[:2]
    scale = min(max(LEAST, max(height, width)), most) / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(image, size, interpolation=how) if scale != 1 else image)
    letters = max(14, round(max(size) / 50))
    canvas = Image.new("RGB", (_even(size[0]), _even(size[1] + 2 * letters)), PAPER)
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(letters)
    taken: list[tuple[float, float, float, float]] = []
    for mark in marks:
        box = tuple(value * scale for value in mark.box)
        _draw_mark(draw, box, mark, font, size, taken)
    draw.text((letters // 2, size[1] + letters / 3), plain(caption), INK, font)
    return np.asarray(canvas)


def _even(length: int) -> int:
    return length + length % 2


def _draw_mark(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, ...],
    mark: Mark,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
    taken: list[tuple[float, float, float, float]],
) -> None:
    colour = FAKE if mark.fake else REAL
    thick = max(2, round(max(size) / 400))
    x0, y0 = (min(max(value, 0.0), end - 1.0) for value, end in zip(box[:2], size, strict=True))
    x1, y1 = (min(max(value, 0.0), end - 1.0) for value, end in zip(box[2:], size, strict=True))
    draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=thick)
    left, top, right, bottom = draw.textbbox((0, 0), mark.text, font)
    wide, high = right - left + 6, bottom - top + 6
    x = min(max(x0, 0.0), max(size[0] - wide, 0.0))
    y = y0 - high if y0 >= high else y0
    while any(_meet((x, y, x + wide, y + high), other) for other in taken):
        y += high  # below the text of another face
    taken.append((x, y, x + wide, y + high))
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    draw.text((x + 3 - left, y + 3 - top), mark.text, PAPER, font)


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
