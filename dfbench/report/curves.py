"""Training curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dfbench.report.picture import save


def write_curves(history_rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write loss and source-val AUC over steps as a picture, the kept epoch marked.

    Args:
      history_rows: Of `metrics.jsonl`: rows with `loss` of training, rows with `val_loss`,
        `val_video_auc` (None: undefined) and `best` of validation; any of them may be missing.
      path: Of the PNG.
    """
    logged = [row for row in history_rows if row.get("loss") is not None]
    checked = [row for row in history_rows if row.get("val_loss") is not None]
    ranked = [row for row in checked if row.get("val_video_auc") is not None]
    figure = Figure(figsize=(8, 3.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharex=True)
    _line(left, logged, "loss", "training", "0.6", "-")
    _line(left, checked, "val_loss", "val", "tab:blue", "o-")
    _line(right, ranked, "val_video_auc", "val", "tab:blue", "o-")
    left.set_ylabel("loss")
    right.set_ylabel("val video AUC")
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.grid(alpha=0.3)
    if ranked:
        lowest = min(row["val_video_auc"] for row in ranked)
        right.set_ylim(min(0.45, lowest - 0.05), 1.02)
        right.axhline(0.5, color="0.5", lw=0.8, ls=":", label="chance")
    best = [row for row in checked if row.get("best")]
    if best:
        for axes in (left, right) if ranked else (left,):
            axes.axvline(best[-1]["step"], color="tab:red", lw=1, ls="--", label="kept epoch")
        figure.suptitle(f"kept: epoch {best[-1].get('epoch', '?')}", fontsize=9)
    _finish(left, bool(logged or checked), "nothing logged yet")
    empty = "undefined: val lacks a class" if checked else "no validation yet"
    _finish(right, bool(ranked), empty)
    save(figure, path)


def _line(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    label: str,
    colour: str,
    style: str,
) -> None:
    if rows:
        steps, values = [row["step"] for row in rows], [row[key] for row in rows]
        axes.plot(steps, values, style, color=colour, label=label, lw=1.2, ms=3.5)


def _finish(axes: Axes, filled: bool, otherwise: str) -> None:
    if filled:
        axes.legend(fontsize=8)
    else:
        axes.text(0.5, 0.5, otherwise, transform=axes.transAxes, ha="center", color="0.4")
