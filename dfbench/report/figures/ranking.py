"""ROC and DET curves with a band of confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri
from sklearn.metrics import roc_curve

from dfbench.eval.statistics import Ranking, resample_weights
from dfbench.report.figures.style import ACCENT, INK, MUTED, canvas, styled, unit_axes

GRID = np.linspace(0, 1, 401)  # false-positive rates at which the band is taken
RESAMPLES = 1000
DET_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.995, 0.999)
DET_END = 0.6  # of the axes, where nothing of interest lies beyond
MARKERS = ("o", "D", "s", "^")


@dataclass(frozen=True, eq=False)
class Roc:
    """A ROC curve by its corners, and the band around it at the rates of `GRID`."""

    alarm: Float64[np.ndarray, " corners"]  # false-positive rate: reals called fake
    hit: Float64[np.ndarray, " corners"]  # true-positive rate: fakes called fake
    low: Float64[np.ndarray, " grid"]
    high: Float64[np.ndarray, " grid"]
    counts: tuple[int, int]  # reals, fakes


@dataclass(frozen=True)
class Operating:
    """A threshold, and where it lies on the curve."""

    name: str
    alarm: float
    hit: float


def roc(
    label: Int[np.ndarray, " n"],
    score: Float64[np.ndarray, " n"],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Roc:
    """Return the ROC curve of videos with a pointwise band by vertical averaging.

    The videos of each class are drawn again with replacement; at every false-positive rate the
    band holds the central `confidence` of the true-positive rates (Fawcett 2006, section 9.1).

    Args:
      label: Of each video, 1 = fake; both classes are there.
      score: Of each video.
      confidence: Of the band, at each rate by itself.
      resamples: How many.
      seed: Of the draws.
    """
    video = np.arange(len(label))
    ranking = Ranking(label, score, video)
    curves = [
        vertical(alarm, hit)
        for weights in resample_weights(label, resamples, seed, len(label))
        for alarm, hit in zip(*_rates(*ranking.groups(weights)), strict=True)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.array(curves), [tail, 1 - tail], axis=0)
    alarm, hit, _ = roc_curve(label, score)
    counts = np.bincount(label, minlength=2)
    return Roc(alarm, hit, low, high, (int(counts[0]), int(counts[1])))


def _rates(
    fake: Float64[np.ndarray, "chunk groups"], real: Float64[np.ndarray, "chunk groups"]
) -> tuple[Float64[np.ndarray, "chunk corners"], Float64[np.ndarray, "chunk corners"]]:
    def from_zero(weight: np.ndarray) -> np.ndarray:
        total = np.cumsum(weight, axis=1)
        return np.pad(total / total[:, -1:], ((0, 0), (1, 0)))

    return from_zero(real), from_zero(fake)


def vertical(
    alarm: Float64[np.ndarray, " corners"], hit: Float64[np.ndarray, " corners"]
) -> Float64[np.ndarray, " grid"]:
    """Return a curve's true-positive rates at `GRID`: of a vertical piece, its upper end."""
    # A hair to the right, since a grid's 0.3 may lie below the 3/10 of a curve. Of corners at one
    # rate np.interp takes the last, which is the highest.
    rates: np.ndarray = np.interp(GRID + 1e-9, alarm, hit)
    return rates


def operating_point(
    name: str,
    label: Int[np.ndarray, " n"],
    score: Float64[np.ndarray, " n"],
    threshold: float,
) -> Operating:
    """Return where a threshold lies; a score at it is called fake."""
    called = score >= threshold
    return Operating(name, float(called[label == 0].mean()), float(called[label == 1].mean()))


@styled
def roc_figure(curve: Roc, summary: str, operating: Sequence[Operating] = ()) -> Figure:
    """Draw a ROC curve; `summary` stands in the legend."""
    figure = canvas(4.6)
    axes = figure.subplots()
    unit_axes(axes)
    axes.fill_between(GRID, curve.low, curve.high, color=ACCENT, alpha=0.22, lw=0)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)), label="chance")
    axes.plot(curve.alarm, curve.hit, color=ACCENT, lw=1.8, label=summary)
    for marker, point in zip(MARKERS, operating, strict=False):
        _mark(axes, point.alarm, point.hit, marker, point.name)
    axes.set_xlabel("false-positive rate (reals called fake)")
    axes.set_ylabel("true-positive rate (fakes called fake)")
    handles, labels = axes.get_legend_handles_labels()
    first = labels.index(summary)
    order = [first, *(i for i in range(len(labels)) if i != first)]
    _legend(figure, [handles[i] for i in order], [labels[i] for i in order])
    return figure


@styled
def det_figure(curve: Roc, operating: Sequence[Operating] = ()) -> Figure:
    """Draw misses against false alarms, both as normal deviates.

    Rates below half a video are drawn at half a video: a deviate of 0 is infinite. The axes end at
    `DET_END`, unless the two errors meet close to it.
    """
    figure = canvas(4.6)
    axes = figure.subplots()
    reals, fakes = curve.counts
    lowest = 0.5 / max(reals, fakes)
    alarm_end, miss_end = 0.5 / reals, 0.5 / fakes

    def x(rate: Float64[np.ndarray, " n"] | float) -> Float64[np.ndarray, " n"]:
        return np.asarray(ndtri(np.clip(rate, alarm_end, 1 - alarm_end)))

    def y(hit: Float64[np.ndarray, " n"] | float) -> Float64[np.ndarray, " n"]:
        return np.asarray(ndtri(np.clip(1 - np.asarray(hit), miss_end, 1 - miss_end)))

    axes.fill_between(x(GRID), y(curve.high), y(curve.low), color=ACCENT, alpha=0.22, lw=0)
    start = float(ndtri(lowest))
    meet = np.max(np.minimum(GRID, 1 - vertical(curve.alarm, curve.hit)))
    end = float(ndtri(DET_END)) if meet < DET_END / 2 else -start
    if end == -start:  # else it lies outside
        axes.plot([start, end], [end, start], color=MUTED, lw=1, ls=(0, (4, 3)), label="chance")
    axes.plot([start, -start], [start, -start], color=MUTED, lw=0.8, ls=":", label="equal errors")
    # From the last corner without an alarm to the first with all: beyond them nothing is traded.
    inner = slice(np.sum(curve.alarm == 0) - 1, len(curve.alarm) - np.sum(curve.alarm == 1) + 1)
    axes.plot(x(curve.alarm[inner]), y(curve.hit[inner]), color=ACCENT, lw=1.8, label="videos")
    for marker, point in zip(MARKERS, operating, strict=False):
        _mark(axes, float(x(point.alarm)), float(y(point.hit)), marker, point.name)
    ticks = [t for t in DET_TICKS if start <= ndtri(t) <= end] or [0.5]
    names = [f"{100 * t:g}" for t in ticks]
    axes.set_xticks(ndtri(ticks), names)
    axes.set_yticks(ndtri(ticks), names)
    pad = 0.03 * (end - start)
    axes.set(xlim=(start - pad, end + pad), ylim=(start - pad, end + pad), aspect="equal")
    axes.set_xlabel("false alarms: reals called fake, %")
    axes.set_ylabel("misses: fakes called real, %")
    _legend(figure, *axes.get_legend_handles_labels())
    return figure


def _legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Put the legend below: inside it would hide the curve of a bad detector."""
    figure.legend(handles, labels, loc="outside lower center", ncols=2, columnspacing=1.2)


def _mark(axes: Axes, x: float, y: float, marker: str, name: str) -> None:
    axes.plot(
        [x], [y], marker, ms=7, mfc="none", mec=INK, mew=1.5, label=name, clip_on=False, zorder=4
    )
