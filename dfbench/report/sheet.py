"""Pairs of crops side by side: what training and evaluated data share, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dfbench.report.matrix import plain
from dfbench.report.picture import DPI, GREY, fold, save

RGB = UInt8[np.ndarray, "height width 3"]
SIDE = 1.1  # of a crop, in inches
GAP, APART = 0.04, 0.3  # between the crops of a pair, and between pairs
MARGIN = 0.15
HEAD, FOOT = 0.34, 0.66  # above a row of crops, and below
TITLE = 0.55
LETTERS = 23  # of a clip's name on a line


@dataclass(frozen=True)
class Pair:
    """A crop of the training data and an evaluated one."""

    train: RGB
    eval: RGB
    train_name: str
    eval_name: str
    shared: str


@dataclass(frozen=True)
class Strip:
    """A row of pairs of one kind."""

    title: str
    pairs: tuple[Pair, ...]


def write_sheet(title: str, strips: Sequence[Strip], path: Path) -> None:
    """Write rows of pairs as a picture; equal ones give equal bytes."""
    save(sheet_figure(title, strips), path)


def sheet_figure(title: str, strips: Sequence[Strip]) -> Figure:
    """Draw a row of pairs for each strip: left the training data, right the evaluated."""
    columns = max((len(strip.pairs) for strip in strips), default=0)
    width = max(2 * MARGIN + columns * (2 * SIDE + GAP + APART) - APART, 6.5)
    height = TITLE + len(strips) * (HEAD + SIDE + FOOT) + MARGIN
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)

    def write(x: float, y: float, text: str, **style: Any) -> None:
        """Write below and right of a point, in inches from the top left."""
        style = {"va": "top", "ha": "left", "parse_math": False, **style}
        figure.text(x / width, 1 - y / height, text, **style)

    write(MARGIN, MARGIN, plain(title), fontsize=10)
    write(MARGIN, MARGIN + 0.19, "left: training data, right: evaluated", fontsize=7, color=GREY)
    for number, strip in enumerate(strips):
        top = TITLE + number * (HEAD + SIDE + FOOT)
        write(MARGIN, top + 0.12, plain(strip.title), fontsize=8, fontweight="bold")
        for place, pair in enumerate(strip.pairs):
            left = MARGIN + place * (2 * SIDE + GAP + APART)
            write(left, top + HEAD + SIDE + 0.04, _line(pair.shared), fontsize=6)
            crops = ((pair.train, pair.train_name), (pair.eval, pair.eval_name))
            for k, (image, name) in enumerate(crops):
                x, y = left + k * (SIDE + GAP), top + HEAD
                box = (x / width, 1 - (y + SIDE) / height, SIDE / width, SIDE / height)
                axes = figure.add_axes(box)
                axes.imshow(image)
                axes.set_axis_off()
                below = fold(plain(name), LETTERS)
                write(x, y + SIDE + 0.17, below, fontsize=5.5, color=GREY)
    return figure


def _line(text: str) -> str:
    return fold(plain(text), 2 * LETTERS).replace("\n", " ")
