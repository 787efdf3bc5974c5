"""The matrix as a heat map."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dfbench.report.matrix import (
    Entry,
    Matrix,
    column_label,
    marks,
    matrix,
    n_text,
    plain,
    value_text,
)
from dfbench.results.card import ResultCard

CELL = (1.15, 0.78)  # inches
COLOURS = "RdBu"  # diverging: chance (0.5) is white; safe for colour-blind readers


def write_matrix_png(cards: Sequence[ResultCard], path: Path) -> None:
    """Write the matrix of video AUC as a picture; within-dataset cells are outlined."""
    table = matrix(cards)
    rows, columns = len(table.rows), len(table.columns)
    figure = Figure(figsize=(CELL[0] * columns, CELL[1] * rows), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    mappable = ScalarMappable(Normalize(0, 1), COLOURS)
    for (i, j), entry in table.entries.items():
        _draw(axes, entry, i, j)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    _label(axes, table)
    width, gap = 0.14 / (CELL[0] * columns), 0.2 / (CELL[0] * columns)
    height = min(1.0, 4 / (CELL[1] * rows))
    bar = figure.add_axes((1 + gap, (1 - height) / 2, width, height))
    figure.colorbar(mappable, cax=bar, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.tick_params(labelsize=7)
    bar.set_ylabel("video AUC", fontsize=8)
    save(figure, path)


def _draw(axes: Axes, entry: Entry, i: int, j: int) -> None:
    dark = False
    if entry.value is None:
        axes.add_patch(
            Rectangle((j, i), 1, 1, facecolor="0.93", edgecolor="0.8", hatch="///", lw=0)
        )
        texts = ["undefined", "", _counted(entry)]
    else:
        red, green, blue, _ = colormaps[COLOURS](entry.value)
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor=(red, green, blue), lw=0))
        texts = [f"{value_text(entry.value)}{marks(entry)}", _spread(entry), _counted(entry)]
    if entry.within:
        axes.add_patch(
            Rectangle((j + 0.03, i + 0.04), 0.94, 0.92, fill=False, edgecolor="black", lw=1.6)
        )
    colour = "white" if dark else "black"
    for text, y, size in zip(texts, (0.3, 0.57, 0.78), (11, 7, 7), strict=True):
        axes.text(
            j + 0.5,
            i + y,
            text,
            fontsize=9 if text == "undefined" else size,
            fontweight="bold" if entry.best and size == 11 else "normal",
            color=colour,
            ha="center",
            va="center",
        )


def _spread(entry: Entry) -> str:
    if entry.seeds > 1:
        return f"({value_text(entry.low)}-{value_text(entry.high)})"
    if entry.low is None or entry.high is None:
        return "no interval"
    return f"[{value_text(entry.low)}, {value_text(entry.high)}]"


def _counted(entry: Entry) -> str:
    seeds = f"{entry.defined} of {entry.seeds}" if entry.defined < entry.seeds else entry.seeds
    return f"{seeds} seeds, {n_text(entry.n)}" if entry.seeds > 1 else n_text(entry.n)


def _label(axes: Axes, table: Matrix) -> None:
    size = max(len(column_label(c)) for c in table.columns)
    # Long names stand aslant: side by side they would run into each other.
    aslant = size > 15
    axes.set_xticks(
        [j + 0.5 for j in range(len(table.columns))],
        [textwrap.fill(column_label(c), 32) for c in table.columns],
        rotation=35 if aslant else 0,
        ha="left" if aslant else "center",
        rotation_mode="anchor" if aslant else "default",
        fontsize=8,
        parse_math=False,
    )
    axes.set_yticks(
        [i + 0.5 for i in range(len(table.rows))],
        [
            f"{textwrap.fill(plain(r.model), 32)}\n"
            f"{textwrap.fill(plain(f'on {r.train} {r.tag}'.rstrip()), 32)}"
            for r in table.rows
        ],
        fontsize=8,
        parse_math=False,
    )
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_ylabel("model, trained on", fontsize=9, color="0.35")
    axes.set_xlabel("evaluated on", fontsize=9, color="0.35")
    axes.xaxis.set_label_position("top")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(range(len(table.columns) + 1), minor=True)
    axes.set_yticks(range(len(table.rows) + 1), minor=True)
    axes.grid(which="minor", color="white", lw=2)
    axes.tick_params(which="minor", length=0)
    outlined = any(e.within for e in table.entries.values())
    shared = any(e.overlap for e in table.entries.values())
    notes = [
        "outlined, †: within-dataset" if outlined else "",
        "‡: train and evaluated data overlap" if shared else "",
    ]
    axes.text(
        0,
        len(table.rows) + 0.08,
        "\n".join(note for note in notes if note),
        fontsize=7,
        color="0.35",
        va="top",
    )


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; equal figures give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; the tables beside it have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": None})
    temporary.replace(path)
