"""A sheet of the faces whose scores are most wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dfbench.report.figures.style import CLASS_INKS, DPI, MUTED, styled
from dfbench.report.matrix import plain
from dfbench.report.picture import fold

SIDE, GAP = 1.1, 0.12  # of a face and between two, inches
HEAD, FOOT = 0.3, 0.5  # above a class's faces, and below each face
COLUMNS = 6
LETTERS = 23  # of a name, on a line


@dataclass(frozen=True, eq=False)
class Face:
    """A crop and its score."""

    image: UInt8[np.ndarray, "height width 3"]
    label: int  # 1 = fake
    score: float  # P(fake)
    name: str


@styled
def faces_figure(groups: Sequence[tuple[str, Sequence[Face]]]) -> Figure:
    """Draw the faces of each group in rows, in the order given.

    Args:
      groups: Title and faces; at least one face in all.
    """
    groups = [(title, faces) for title, faces in groups if faces]
    rows = [-(-len(faces) // COLUMNS) for _, faces in groups]
    width = GAP + COLUMNS * (SIDE + GAP)
    height = GAP + sum(HEAD + n * (SIDE + FOOT) + GAP for n in rows)
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    top = GAP
    for (title, faces), n in zip(groups, rows, strict=True):
        colour = CLASS_INKS[faces[0].label]
        figure.text(
            GAP / width, 1 - top / height, plain(title), va="top", color=colour, fontweight="bold"
        )
        for place, face in enumerate(faces):
            row, column = divmod(place, COLUMNS)
            x, y = GAP + column * (SIDE + GAP), top + HEAD + row * (SIDE + FOOT)
            box = (x / width, 1 - (y + SIDE) / height, SIDE / width, SIDE / height)
            axes = figure.add_axes(box)
            axes.imshow(face.image, aspect="auto")
            axes.set_axis_off()
            below = 1 - (y + SIDE + 0.04) / height
            figure.text(x / width, below, f"P(fake) {face.score:.3f}", fontsize=7, va="top")
            name = fold(plain(face.name), LETTERS)
            where = x / width, below - 0.14 / height
            figure.text(*where, name, fontsize=5.5, va="top", color=MUTED)
        top += HEAD + n * (SIDE + FOOT) + GAP
    return figure
