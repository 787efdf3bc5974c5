"""Crops beside what in them speaks for a fake, and what for a real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from dfbench.report.figures.style import FAKE, MUTED, REAL, styled
from dfbench.report.matrix import plain, short

SIDE, GAP, APART = 1.5, 0.04, 0.2  # inches: of a picture, within a pair, between pairs
HEAD, FOOT = 0.62, 0.26
COLUMNS = 3  # pairs
STRONGEST = 0.75  # share of colour where a place counts most
DPI = 110  # crops have no more
NAME = 90  # letters of the file's name


@dataclass(frozen=True, eq=False)
class Shown:
    """A crop and its map."""

    image: UInt8[np.ndarray, "height width 3"]
    evidence: Float[np.ndarray, "map_height map_width"]  # above 0: for a fake
    text: str


def overlay(
    image: UInt8[np.ndarray, "height width 3"],
    evidence: Float[np.ndarray, "map_height map_width"],
    most: float,
) -> UInt8[np.ndarray, "height width 3"]:
    """Colour a crop, made grey, by its map: orange for fake, blue for real, more where more counts.

    Args:
      image: The crop.
      evidence: Its map, of any size.
      most: The value that is coloured most strongly; 0 colours nothing.
    """
    height, width = image.shape[:2]
    grown = cv2.resize(evidence, (width, height), interpolation=cv2.INTER_LINEAR)
    strength = np.clip(np.abs(grown) / most, 0, 1) if most > 0 else np.zeros_like(grown)
    colours = np.where((grown > 0)[..., None], to_rgb(FAKE), to_rgb(REAL))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] / 255
    share = STRONGEST * strength[..., None]
    return np.asarray(np.rint(255 * ((1 - share) * grey + share * colours)), np.uint8)


@styled
def evidence_figure(title: str, crops: Sequence[Shown]) -> Figure:
    """Draw each crop beside its map, all maps of one scale.

    Args:
      title: Name of the file.
      crops: At least one.
    """
    columns = min(COLUMNS, len(crops))
    rows = -(-len(crops) // columns)
    width = max(APART + columns * (2 * SIDE + GAP + APART), 5.2)
    height = HEAD + rows * (SIDE + FOOT) + APART
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    most = float(max(np.abs(crop.evidence).max() for crop in crops))

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, text, va="top", **style)

    write(APART, 0.12, short(plain(title), NAME), fontsize=9, fontweight="bold")
    says = "Grad-CAM: orange speaks for fake, blue for real; all crops on one scale"
    write(APART, 0.36, says, fontsize=7.5, color=MUTED)
    for place, crop in enumerate(crops):
        row, column = divmod(place, columns)
        x, y = APART + column * (2 * SIDE + GAP + APART), HEAD + row * (SIDE + FOOT)
        for k, image in enumerate((crop.image, overlay(crop.image, crop.evidence, most))):
            left = (x + k * (SIDE + GAP)) / width
            axes = figure.add_axes((left, 1 - (y + SIDE) / height, SIDE / width, SIDE / height))
            axes.imshow(image, aspect="auto")
            axes.set_axis_off()
        write(x, y + SIDE + 0.05, plain(crop.text), fontsize=7.5)
    return figure
