"""Scores by class, and of single videos over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dfbench.report.figures.style import CLASS_COLOURS, CLASS_INKS, INK, MUTED, canvas, styled
from dfbench.report.matrix import plain, short

BINS = 20
CLASSES = ("real", "fake")  # by label
LINES = (":", (0, (5, 2)), "-.")  # of thresholds
NAME = 46  # letters of a video's name over its panel


def histogram(
    label: Int[np.ndarray, " n"], score: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "2 bins"]:
    """Return the share of each class in `BINS` equal bins of P(fake); NaN for an absent class."""
    edges = np.linspace(0, 1, BINS + 1)
    counts = [np.histogram(score[label == k], edges)[0] for k in (0, 1)]
    with np.errstate(invalid="ignore"):
        return np.array([c / c.sum() for c in counts])


@styled
def histogram_figure(
    label: Int[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    unit: str,
    thresholds: Mapping[str, float],
) -> Figure:
    """Draw the scores of each class in a panel of its own, both on the same scales.

    Args:
      label: Of each example, 1 = fake.
      score: Of each example, P(fake).
      unit: "videos" or "frames".
      thresholds: Lines, by name.
    """
    figure = canvas(3.3)
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    shares = histogram(label, score)
    edges = np.linspace(0, 1, BINS + 1)
    for k, axes in enumerate(panels):
        n = int(np.sum(label == k))
        axes.set_title(f"{CLASSES[k]}: {n:,} {unit}", color=CLASS_INKS[k], fontweight="bold")
        if n:
            axes.stairs(shares[k], edges, fill=True, color=CLASS_COLOURS[k], alpha=0.3)
            axes.stairs(shares[k], edges, color=CLASS_COLOURS[k], lw=1.4)
        else:
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=MUTED)
        for style, (name, value) in zip(LINES, thresholds.items(), strict=False):
            axes.axvline(value, color=INK, lw=1.1, ls=style, label=f"{name} ({value:.3g})")
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    panels[0].set_ylim(0, 1.08 * max(0.1, np.nanmax(shares, initial=0)))
    panels[1].set_xlim(-0.01, 1.01)
    panels[1].set_xlabel("P(fake)")
    figure.supylabel(f"share of the class's {unit}", fontsize=9)
    if thresholds:
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=2,
            columnspacing=1.2,
        )
    return figure


@dataclass(frozen=True, eq=False)
class Track:
    """The frame scores of one video."""

    name: str
    label: int  # 1 = fake
    manipulation: str
    at: Float[np.ndarray, " frames"]  # seconds, or frame numbers, rising
    score: Float[np.ndarray, " frames"]  # P(fake)
    video_score: float


@styled
def timeline_figure(tracks: Sequence[Track], unit: str) -> Figure:
    """Draw each video's frame scores in a panel of its own.

    Args:
      tracks: At least one.
      unit: Of `Track.at`: "s" or "frame".
    """
    figure = canvas(0.5 + 1.2 * len(tracks))
    panels = figure.subplots(len(tracks), 1, sharey=True, squeeze=False)[:, 0]
    for axes, track in zip(panels, tracks, strict=True):
        _track(axes, track)
    panels[-1].set_xlabel("time in the video, s" if unit == "s" else "frame number")
    figure.supylabel("P(fake)", fontsize=9)
    return figure


def _track(axes: Axes, track: Track) -> None:
    colour = CLASS_COLOURS[track.label]
    kind = "real" if track.label == 0 else f"fake, {track.manipulation}"
    axes.axhline(0.5, color=MUTED, lw=0.9, ls=":")
    axes.axhline(track.video_score, color=INK, lw=0.9)
    # Markers of few frames; of many they would hide the line.
    marker = "o" if len(track.at) <= 200 else ""
    axes.plot(track.at, track.score, color=colour, lw=1.1, marker=marker, ms=3.2, clip_on=False)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=bool(np.ptp(track.at) >= 6)))
    if len(track.at) == 1 or not np.ptp(track.at):
        axes.set_xlim(track.at[0] - 0.5, track.at[0] + 0.5)
    axes.grid(visible=False, axis="x")
    name = short(plain(track.name), NAME)
    axes.set_title(name, fontsize=8, pad=13)
    said = f"{short(plain(kind), NAME // 2)}; video {track.video_score:.3f}"
    axes.text(0, 1.04, said, transform=axes.transAxes, fontsize=7.5, color=MUTED, va="bottom")
    if not math.isfinite(track.video_score):
        raise ValueError(f"{track.name}: no scored frame")
