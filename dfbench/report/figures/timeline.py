"""P(fake) of each face of a video over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dfbench.report.figures.style import ACCENT, INK, MUTED, canvas, styled
from dfbench.report.matrix import plain, short

SHOWN = 6  # faces
# By Okabe and Ito; without the two that stand for real and fake.
COLOURS = (ACCENT, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
MARKERS = "osD^vP"
NAME = 70  # letters of the file's name


@dataclass(frozen=True, eq=False)
class Line:
    """A face's scores."""

    name: str
    at: Float[np.ndarray, " frames"]  # seconds, rising; NaN where there is no score
    score: Float[np.ndarray, " frames"]  # P(fake)
    together: float  # of the frames together


@styled
def timeline(title: str, lines: Sequence[Line], threshold: float) -> Figure:
    """Draw a line a face; of more than `SHOWN` those with the highest scores.

    Args:
      title: Name of the file.
      lines: At least one.
      threshold: Of P(fake).
    """
    figure = canvas(3.0, 6.4)
    axes = figure.subplots()
    ranked = sorted(lines, key=lambda line: -line.together)[:SHOWN]
    axes.axhline(threshold, color=MUTED, lw=0.9, ls=":")
    axes.text(1, threshold, f"called fake from {threshold:.3g}",
              transform=axes.get_yaxis_transform(), color=MUTED, fontsize=7.5, ha="right",
              va="bottom" if threshold < 0.9 else "top")  # fmt: skip
    shown = [line for line in lines if line in ranked]
    for line, colour, marker in zip(shown, COLOURS, MARKERS, strict=False):
        label = f"{line.name}: {line.together:.3f} over {int(np.isfinite(line.at).sum())} frames"
        axes.plot(
            line.at, line.score, color=colour, lw=1.2, marker=marker, ms=3.6, label=label,
            clip_on=False,
        )  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    times = np.concatenate([line.at for line in lines])
    first, last = float(np.nanmin(times)), float(np.nanmax(times))
    axes.set_xlim((first, last) if last > first else (first - 0.5, first + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.set(xlabel="time in the video, s", ylabel="P(fake)")
    axes.grid(visible=False, axis="x")
    axes.set_title(short(plain(title), NAME))
    more = len(lines) - len(shown)
    note = f"and {more} with lower scores" if more else None
    figure.legend(loc="outside lower left", ncols=2, title=note, title_fontsize=7.5, fontsize=7.5)
    return figure
