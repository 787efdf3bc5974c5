"""What all figures share: size, colours and type, and their bytes as SVG or PNG.

The colours of the classes are those of Okabe and Ito (2008), told apart by readers who see red and
green alike; what they say is also said by words or by shape.
"""

from __future__ import annotations

import io
import warnings
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Format = Literal["svg", "png"]

REAL, FAKE = "#0072b2", "#d55e00"
CLASS_COLOURS = (REAL, FAKE)  # by label
CLASS_INKS = ("#00598c", "#a34500")  # of text about a class: darker, so that it is read
ACCENT = "#5b4b9a"  # what belongs to no class
INK, MUTED, GRID, PAPER = "#1b1f24", "#5c6670", "#d9dee3", "#ffffff"

WIDTH = 4.0  # inches: on a phone the type is still read
DPI = 200  # of PNG

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.edgecolor": "none",
    "legend.facecolor": PAPER,
    "legend.framealpha": 0.8,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: searched, read aloud, in any script
    "svg.hashsalt": "dfbench",  # equal figures get equal ids
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar sign
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
}
styled = rc_context(STYLE)  # decorates a function that draws


def canvas(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of a size in inches; call it under `styled`."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def unit_axes(axes: Axes) -> None:
    """Let both axes show probabilities, equally long."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)


@styled
def encode(figure: Figure, format: Format) -> bytes:
    """Return a figure as a file's bytes; equal figures give equal bytes."""
    buffer = io.BytesIO()
    unsigned = ("Date", "Creator", "Format", "Type") if format == "svg" else ("Software",)
    with warnings.catch_warnings():
        # Names in a script that the font lacks: boxes in a PNG, in an SVG the reader's own font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format=format, metadata=dict.fromkeys(unsigned))
    return buffer.getvalue()
