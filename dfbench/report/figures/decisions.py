"""Confusion matrices, and how far probabilities can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.special import ndtri

from dfbench.eval.metrics import equal_mass_bins
from dfbench.report.figures.style import ACCENT, CLASS_INKS, MUTED, canvas, styled, unit_axes
from dfbench.results.card import Confusion


@styled
def confusion_figure(confusions: Mapping[str, Confusion]) -> Figure:
    """Draw a matrix for each threshold, by its name; rows are classes, shaded by their shares."""
    figure = canvas(2.5)
    panels = figure.subplots(1, 2, squeeze=False)[0]
    for axes in panels[len(confusions) :]:
        axes.set_axis_off()
    for axes, (name, confusion) in zip(panels, confusions.items(), strict=False):
        axes.set_title(f"{name}\ncalled fake from {confusion.threshold:.3g}", fontsize=8.5)
        _matrix(axes, confusion)
    return figure


def _matrix(axes: Axes, confusion: Confusion) -> None:
    table = np.array(
        [
            [confusion.real_as_real, confusion.real_as_fake],
            [confusion.fake_as_real, confusion.fake_as_fake],
        ]
    )
    for i, row in enumerate(table):
        for j, count in enumerate(row):
            share = count / row.sum() if row.sum() else 0.0
            # At most half covered: the text is read on it, on white as on black paper.
            face = Rectangle((j, i), 1, 1, facecolor=ACCENT, alpha=0.5 * share, lw=0)
            axes.add_patch(face)
            axes.add_patch(Rectangle((j, i), 1, 1, fill=False, edgecolor=MUTED, lw=0.8))
            said = f"{100 * share:.1f} %" if row.sum() else "no video"
            axes.text(j + 0.5, i + 0.44, f"{count:,}", ha="center", va="center", fontsize=12)
            axes.text(j + 0.5, i + 0.7, said, ha="center", va="center", fontsize=8)
    axes.set(xlim=(0, 2), ylim=(2, 0), aspect="equal", xlabel="called", ylabel="is")
    axes.set_xticks([0.5, 1.5], ["real", "fake"])
    axes.set_yticks([0.5, 1.5], ["real", "fake"], rotation=90, va="center")
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for text, colour in zip(ticks, CLASS_INKS, strict=True):
            text.set(color=colour, fontweight="bold")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Examples in bins of equal size, in rising order of their probability."""

    predicted: Float64[np.ndarray, " bins"]  # mean P(fake)
    observed: Float64[np.ndarray, " bins"]  # share of fakes
    low: Float64[np.ndarray, " bins"]  # interval of `observed`
    high: Float64[np.ndarray, " bins"]
    n: Int[np.ndarray, " bins"]


def reliability(
    label: Int[np.ndarray, " n"],
    p_fake: Float[np.ndarray, " n"],
    *,
    confidence: float = 0.95,
) -> Reliability:
    """Sort examples into the bins of the calibration error, with Wilson intervals (Wilson 1927).

    Equal probabilities share a bin, which is then larger than others.

    Args:
      label: Of each example, 1 = fake.
      p_fake: Of each example; at least one.
      confidence: Of the intervals.
    """
    _, place = np.unique(equal_mass_bins(p_fake), return_inverse=True)
    n = np.bincount(place)
    fakes = np.bincount(place, weights=label == 1)
    predicted = np.bincount(place, weights=p_fake) / n
    low, high = wilson(fakes, n, confidence)
    return Reliability(predicted, fakes / n, low, high, n)


def wilson(
    hits: Float64[np.ndarray, " bins"], n: Int[np.ndarray, " bins"], confidence: float
) -> tuple[Float64[np.ndarray, " bins"], Float64[np.ndarray, " bins"]]:
    """Return the score interval of shares `hits / n`."""
    z = float(ndtri(0.5 + confidence / 2))
    share = hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


@styled
def reliability_figure(panels: Sequence[tuple[str, Reliability]]) -> Figure:
    """Draw the share of fakes against the mean probability of each bin, a panel for each state.

    Args:
      panels: Title and bins; one, or two side by side.
    """
    figure = canvas(4.0 if len(panels) == 1 else 2.7)
    drawn = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, bins) in zip(drawn, panels, strict=False):
        unit_axes(axes)
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)))
        axes.vlines(bins.predicted, bins.low, bins.high, color=ACCENT, lw=1.2, alpha=0.6)
        axes.plot(bins.predicted, bins.observed, "o-", color=ACCENT, lw=1, ms=4)
        axes.set_title(title, fontsize=8.5)
        axes.set_xlabel("mean P(fake) of a bin")
    drawn[0].set_ylabel("share of fakes in it")
    return figure
