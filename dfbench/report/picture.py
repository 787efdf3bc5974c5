"""The matrix as a heat map."""

from __future__ import annotations

import contextlib
import itertools
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from matplotlib.ticker import MultipleLocator

from dfbench.files import whole
from dfbench.report.matrix import (
    Entry,
    Matrix,
    column_label,
    interval_text,
    legend_of_marks,
    marks,
    matrix,
    model_label,
    n_text,
    same_n,
    seeds_text,
    short,
    train_label,
    value_text,
)
from dfbench.results.card import ResultCard

WIDTH = 1.15  # of a cell, in inches
LINE = 0.19  # of a line in a cell
DPI = 150
GREY = "0.35"
SHARED = "0.82"  # of a cell whose training and evaluated data overlap

# Diverging and safe for colour-blind readers; chance (0.5) is white. Without its darkest ends, on
# which a black outline would not be seen.
COLOURS = ListedColormap(colormaps["RdBu"](np.linspace(0.1, 0.9, 256)), "RdBu, light")


def write_matrix_png(cards: Sequence[ResultCard], path: Path) -> None:
    """Write the matrix of video AUC as a picture."""
    save(matrix_figure(matrix(cards)), path)


def matrix_figure(table: Matrix) -> Figure:
    """Draw the matrix; within-dataset cells are outlined, the best of a column is bold."""
    rows, columns = len(table.rows), len(table.columns)
    texts = {place: _texts(table, place) for place in table.entries}
    high = LINE * (1 + max(len(lines) for lines in texts.values()))
    figure = Figure(figsize=(WIDTH * columns, high * rows), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    for i, j in itertools.product(range(rows), range(columns)):
        _draw(axes, table.entries.get((i, j)), texts.get((i, j), ["-"]), i, j, high)
    _label_columns(axes, table)
    left = _label_rows(axes, table)
    letters = int((columns * WIDTH * 72 - left) / 4)  # one takes about 4 points
    notes = textwrap.fill("; ".join(_notes(table)), letters, break_on_hyphens=False)
    _note(axes, notes, (0, rows), (left, -6), fontsize=7, color=GREY, va="top", ha="left")
    _colour_bar(figure, table, WIDTH * columns, high * rows)
    return figure


def _texts(table: Matrix, place: tuple[int, int]) -> list[str]:
    """Return the lines of a cell: value, spread, and what the column's head does not say."""
    entry = table.entries[place]
    lines = [f"{value_text(entry.value)}{marks(entry)}", interval_text(entry), seeds_text(entry)]
    lines.append("" if same_n(table, place[1]) else n_text(entry.n))
    return [line for line in lines if line]


def _draw(
    axes: Axes, entry: Entry | None, lines: Sequence[str], i: int, j: int, high: float
) -> None:
    face: Any = "0.97"
    hatch = None
    if entry is not None and entry.value is None:
        face, hatch = "0.93", "///"
    elif entry is not None and entry.value is not None:
        face = SHARED if entry.overlap else COLOURS(entry.value)
    axes.add_patch(Rectangle((j, i), 1, 1, facecolor=face, edgecolor="0.85", hatch=hatch, lw=0))
    axes.add_patch(Rectangle((j, i), 1, 1, fill=False, edgecolor="white", lw=2))
    if entry is not None and entry.within:
        inset = 0.035 / WIDTH, 0.035 / high
        axes.add_patch(
            Rectangle(
                (j + inset[0], i + inset[1]), 1 - 2 * inset[0], 1 - 2 * inset[1],
                fill=False, edgecolor="black", lw=1.6,
            )
        )  # fmt: skip
    colour = "0.6" if entry is None else ink(face)
    top = 0.5 - (len(lines) - 1) / 2 * LINE / high
    for k, line in enumerate(lines):
        value = k == 0 and entry is not None and entry.value is not None
        axes.text(
            j + 0.5,
            i + top + k * LINE / high,
            line,
            fontsize=10.5 if value else 7,
            fontweight="bold" if value and entry is not None and entry.best else "normal",
            color=colour,
            ha="center",
            va="center",
        )


def ink(face: Any) -> str:
    """Return the colour of text with the higher contrast on `face` (WCAG 2.2), at least 4.5:1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(face)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def _label_columns(axes: Axes, table: Matrix) -> None:
    names = []
    for j, column in enumerate(table.columns):
        n = same_n(table, j)
        names.append(fold(column_label(column), 16) + (f"\nn = {n}" if n else ""))
    for j, name in enumerate(names):
        _note(axes, name, (j + 0.5, 0), (0, 5), fontsize=8, ha="center", va="bottom")
    above = 9 + 9.6 * (1 + max(name.count("\n") for name in names))
    middle, style = (len(names) / 2, 0), {"fontsize": 8, "color": GREY, "va": "bottom"}
    _note(axes, "evaluated on", middle, (0, above), ha="center", **style)


def _label_rows(axes: Axes, table: Matrix) -> float:
    """Write the training set beside each row and the model beside its rows; return their left."""
    left = -6.0
    heads = {"fontsize": 8, "color": GREY, "ha": "right", "va": "bottom"}
    drawn = [_note(axes, "trained on", (0, 0), (left, 5), **heads)]
    for i, row in enumerate(table.rows):
        name = fold(train_label(row), 24)
        drawn.append(_note(axes, name, (0, i + 0.5), (left, 0), fontsize=8, ha="right"))
    left -= _points(drawn) + 14
    drawn = [_note(axes, "model", (0, 0), (left, 5), **heads)]
    groups = [list(group) for _, group in itertools.groupby(table.rows, key=model_label)]
    start = 0
    for group in groups:
        name, middle = fold(model_label(group[0]), 24), (0, start + len(group) / 2)
        drawn.append(_note(axes, name, middle, (left, 0), fontsize=8, ha="right"))
        start += len(group)
    left -= _points(drawn)
    if 1 < len(groups) < len(table.rows):
        for end in itertools.accumulate(len(group) for group in groups[:-1]):
            axes.axhline(end, color="0.3", lw=0.8)
            line = {"arrowstyle": "-", "color": "0.3", "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
            _note(axes, "", (0, end), (left, 0), arrowprops=line)
    return left


def _points(texts: Sequence[Annotation]) -> float:
    with _missing_letters():
        return max(text.get_window_extent().width for text in texts) * 72 / DPI


def _note(
    axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **style: Any
) -> Annotation:
    style = {"va": "center", "annotation_clip": False, "parse_math": False, **style}
    return axes.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def _notes(table: Matrix) -> list[str]:
    notes = [note.replace("‡:", "‡, grey:") for note in legend_of_marks(table)]
    if any(entry.best for entry in table.entries.values()):
        notes.append("bold: highest of its column across datasets")
    return notes


def _colour_bar(figure: Figure, table: Matrix, width: float, height: float) -> None:
    long = min(height, 3.5)
    bar = figure.add_axes((1 + 0.2 / width, 0.5 - long / height / 2, 0.13 / width, long / height))
    figure.colorbar(ScalarMappable(Normalize(0, 1), COLOURS), cax=bar)
    lowest = min((e.value for e in table.entries.values() if e.value is not None), default=0.5)
    bar.set_ylim(min(0.4, np.floor(lowest * 10) / 10), 1)
    bar.yaxis.set_major_locator(MultipleLocator(0.1 if long > 1 else 0.2))
    bar.tick_params(labelsize=7)
    bar.set_ylabel("video AUC", fontsize=8)


def fold(text: str, width: int) -> str:
    """Break a name into at most three lines, after a separator where one comes late enough.

    A name longer than two full lines loses its middle.
    """
    rest, lines = short(text, 2 * width), []
    while len(rest) > width:
        ends = [m.end() for m in re.finditer(r"[^\w.]|_", rest[:width])]
        cut = ends[-1] if ends and ends[-1] > width // 2 else width
        lines.append(rest[:cut])
        rest = rest[cut:]
    return "\n".join([*lines, rest])


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; equal figures give equal bytes."""
    with whole(path) as unfinished, _missing_letters():
        figure.savefig(unfinished, format="png", bbox_inches="tight", metadata={"Software": None})


@contextlib.contextmanager
def _missing_letters() -> Iterator[None]:
    """Accept names in a script that the font lacks: they show as boxes; the tables have them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
