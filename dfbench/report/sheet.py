"""Crops beside each other, to be looked at: what data share, or what is like a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dfbench.report.matrix import plain, short
from dfbench.report.picture import DPI, GREY, fold, save

RGB = UInt8[np.ndarray, "height width 3"]
SIDE = 1.1  # of a crop, in inches
GAP, APART = 0.04, 0.3  # between the crops of a group, and between groups
MARGIN = 0.15
HEAD, FOOT = 0.34, 0.66  # above a row of crops, and below
TITLE = 0.55
LETTERS = 23  # of a crop's name on a line


@dataclass(frozen=True, eq=False)
class Tile:
    """A crop and its name."""

    image: RGB
    name: str


@dataclass(frozen=True, eq=False)
class Group:
    """Crops that stand together, and what is said of them."""

    note: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, eq=False)
class Strip:
    """A row of groups."""

    title: str
    groups: tuple[Group, ...]


def write_sheet(title: str, legend: str, strips: Sequence[Strip], path: Path) -> None:
    """Write rows of crops as a picture; equal ones give equal bytes."""
    save(sheet_figure(title, legend, strips), path)


def sheet_figure(title: str, legend: str, strips: Sequence[Strip]) -> Figure:
    """Draw each strip's groups from left to right, below a title and a line that explains them."""
    widest = max((_width(strip.groups) for strip in strips), default=0)
    width = max(2 * MARGIN + widest, 6.5)
    height = TITLE + len(strips) * (HEAD + SIDE + FOOT) + MARGIN
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)

    def write(x: float, y: float, text: str, **style: Any) -> None:
        """Write below and right of a point, in inches from the top left."""
        style = {"va": "top", "ha": "left", "parse_math": False, **style}
        figure.text(x / width, 1 - y / height, text, **style)

    # A long path would widen the picture.
    room = width - 2 * MARGIN
    write(MARGIN, MARGIN, short(plain(title), int(room / 0.085)), fontsize=10)
    write(MARGIN, MARGIN + 0.19, plain(legend), fontsize=7, color=GREY)
    for number, strip in enumerate(strips):
        top = TITLE + number * (HEAD + SIDE + FOOT)
        head = short(plain(strip.title), int(room / 0.075))
        write(MARGIN, top + 0.12, head, fontsize=8, fontweight="bold")
        for place, group in enumerate(strip.groups):
            left = MARGIN + (_width(strip.groups[:place]) + APART if place else 0)
            write(left, top + HEAD + SIDE + 0.04, _line(group), fontsize=6)
            for k, tile in enumerate(group.tiles):
                x, y = left + k * (SIDE + GAP), top + HEAD
                box = (x / width, 1 - (y + SIDE) / height, SIDE / width, SIDE / height)
                axes = figure.add_axes(box)
                axes.imshow(tile.image)
                axes.set_axis_off()
                below = fold(plain(tile.name), LETTERS)
                write(x, y + SIDE + 0.17, below, fontsize=5.5, color=GREY)
    return figure


def _width(groups: Sequence[Group]) -> float:
    """Return the width of a row of groups, in inches."""
    tiles = sum(len(group.tiles) * (SIDE + GAP) - GAP for group in groups)
    return tiles + (len(groups) - 1) * APART


def _line(group: Group) -> str:
    return fold(plain(group.note), len(group.tiles) * LETTERS).replace("\n", " ")
