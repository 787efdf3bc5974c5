"""AUC against the strength of what was done to the crops: a panel for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import (
    FixedLocator,
    FormatStrFormatter,
    MaxNLocator,
    MultipleLocator,
    NullLocator,
)

from dfbench.degradations import KINDS
from dfbench.report.figures.style import ACCENT, INK, MUTED, canvas, styled
from dfbench.report.matrix import short
from dfbench.report.robustness import Point, Sweep

ROW = 1.75  # inches
TITLE = 0.35
LEGEND = 0.3
LETTERS = 48  # of a title
TICKS = 5  # that are marked by the strengths themselves


def drawable(sweeps: Sequence[Sweep]) -> list[Sweep]:
    """Return the sweeps that there is something to draw of."""
    return [s for s in sweeps if any(p.metric.value is not None for p in s.points)]


@styled
def sweep_figure(sweeps: Sequence[Sweep]) -> Figure:
    """Draw the sweeps one below the other; stronger is always to the right.

    Args:
      sweeps: At least one, each with a defined value.
    """
    rows = [ceil(len(_kinds(sweep)) / 2) for sweep in sweeps]
    heights = [TITLE + ROW * n for n in rows]
    heights[-1] += LEGEND
    figure = canvas(sum(heights))
    parts = figure.subfigures(len(sweeps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, sweep in zip(parts, sweeps, strict=True):
        _draw(part, sweep)
    handles, labels = parts[-1].axes[0].get_legend_handles_labels()
    parts[-1].legend(handles, labels, loc="outside lower left", ncols=3)
    return figure


def _kinds(sweep: Sweep) -> list[str]:
    there = {point.degradation.kind for point in sweep.points if point.metric.value is not None}
    return [kind for kind in KINDS if kind in there]


def _draw(part: SubFigure, sweep: Sweep) -> None:
    kinds = _kinds(sweep)
    columns = min(2, len(kinds))
    part.suptitle(short(sweep.name, LETTERS), x=0.02, ha="left", fontsize=9, fontweight="bold")
    grid = part.subplots(ceil(len(kinds) / columns), columns, sharey=True, squeeze=False)
    left = min([0.4, *(end - 0.02 for end in _ends(sweep))])
    for number, axes in enumerate(grid.flat):
        if number >= len(kinds):
            axes.remove()
            continue
        _panel(axes, sweep, kinds[number])
        axes.set_ylim(max(left, -0.02), 1.02)
        axes.yaxis.set_major_locator(MultipleLocator(0.2))
        if number % columns == 0:
            axes.set_ylabel("video AUC")


def _ends(sweep: Sweep) -> list[float]:
    """Return the lowest numbers that are drawn."""
    metrics = [sweep.metric, *(point.metric for point in sweep.points)]
    ends = [end for metric in metrics for end in (metric.value, metric.low)]
    return [end for end in ends if end is not None]


def _panel(axes: Axes, sweep: Sweep, kind: str) -> None:
    points = [p for p in sweep.points if p.degradation.kind == kind and p.metric.value is not None]
    clean = sweep.metric
    axes.axhline(0.5, color=MUTED, lw=1, ls=(0, (4, 3)), label="chance")
    if clean.low is not None and clean.high is not None:
        axes.axhspan(clean.low, clean.high, color=MUTED, alpha=0.15, lw=0)
    if clean.value is not None:
        axes.axhline(clean.value, color=INK, lw=1.2, label="clean crops")
    strengths = [point.degradation.strength for point in points]
    for point, strength in zip(points, strengths, strict=True):
        if point.metric.low is not None and point.metric.high is not None:
            axes.vlines(
                strength, point.metric.low, point.metric.high, color=ACCENT, lw=3, alpha=0.4
            )
    axes.plot(
        strengths,
        [_auc(point) for point in points],
        "o-",
        color=ACCENT,
        ms=4,
        lw=1.3,
        label="degraded",
    )
    axes.set_xlabel(KINDS[kind].label)
    axes.grid(visible=False, axis="x")
    _strength_axis(axes, strengths, falling=KINDS[kind].falling)


def _auc(point: Point) -> float:
    assert point.metric.value is not None
    return point.metric.value


def _strength_axis(axes: Axes, strengths: Sequence[float], *, falling: bool) -> None:
    low, high = min(strengths), max(strengths)
    pad = 0.12 * (high - low) or 0.5 * high
    axes.set_xlim((high + pad, low - pad) if falling else (low - pad, high + pad))
    few = len(strengths) <= TICKS
    axes.xaxis.set_major_locator(FixedLocator(strengths) if few else MaxNLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
