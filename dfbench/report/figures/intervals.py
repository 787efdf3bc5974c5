"""Values with their intervals, one under the other: a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from dfbench.report.figures.style import ACCENT, MUTED, canvas, styled
from dfbench.report.matrix import plain, short
from dfbench.results.card import Metric

LETTERS = 22  # of a name
ROW = 0.4  # inches
SHOWN = 20  # rows; a longer figure is not read


@dataclass(frozen=True)
class Bar:
    """A named metric."""

    name: str
    metric: Metric
    note: str = ""  # sign beside the name


def lowest(bars: Sequence[Bar]) -> list[Bar]:
    """Return the bars that a figure shows: those with a value, the lowest first, `SHOWN` at most.

    What is hard for a detector says more than what is easy.
    """
    there = [bar for bar in bars if bar.metric.value is not None]
    return sorted(there, key=lambda bar: (bar.metric.value or 0.0, bar.name))[:SHOWN]


@styled
def bars_figure(bars: Sequence[Bar], quantity: str) -> Figure:
    """Draw a row for each bar, in the order given: a dot, its interval, and both in numbers.

    The axis is that of an AUC: it reaches from 0.4, or the lowest end of an interval, to 1, and has
    a line at chance.

    Args:
      bars: At least one, each with a value.
      quantity: What the values are.
    """
    figure = canvas(0.75 + ROW * len(bars))
    axes = figure.subplots()
    ends = [bar.metric.low for bar in bars] + [bar.metric.value for bar in bars]
    left = min([0.4, *(end - 0.02 for end in ends if end is not None)])
    axes.axvline(0.5, color=MUTED, lw=1, ls=(0, (4, 3)))
    for place, bar in enumerate(bars):
        m = bar.metric
        if m.value is None:
            raise ValueError(f"{bar.name}: a bar needs a value")
        if m.low is not None and m.high is not None:
            axes.hlines(place, m.low, m.high, color=ACCENT, lw=5, alpha=0.3)
        axes.plot([m.value], [place], "o", color=ACCENT, ms=5, clip_on=False)
    names = [short(plain(bar.name), LETTERS) + bar.note for bar in bars]
    said = [f"{name}\n{interval(bar.metric)}" for name, bar in zip(names, bars, strict=True)]
    axes.set_yticks(range(len(bars)), said, fontsize=8, linespacing=1.3)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(max(left, -0.02), 1.0), ylim=(len(bars) - 0.5, -0.5), xlabel=quantity)
    axes.xaxis.set_major_locator(MultipleLocator(0.1 if left > 0.15 else 0.2))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return figure


def interval(metric: Metric) -> str:
    """Return a metric as `0.912 [0.883, 0.941]`."""
    if metric.value is None:
        return "undefined"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
