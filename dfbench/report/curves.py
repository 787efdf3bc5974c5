"""Training curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dfbench.report.figures.style import ACCENT, INK, MUTED, canvas, styled
from dfbench.report.picture import save

Rows = Sequence[Mapping[str, Any]]


def write_curves(history_rows: Rows, path: Path) -> None:
    """Write loss and source-val AUC over steps as a PNG; see `curves_figure`."""
    save(curves_figure(history_rows, side_by_side=True), path)


@styled
def curves_figure(history_rows: Rows, *, side_by_side: bool = False) -> Figure:
    """Draw loss and source-val AUC over steps, the kept epoch marked.

    Args:
      history_rows: Of `metrics.jsonl`: rows with `loss` of training, rows with `val_loss`,
        `val_video_auc` (None: undefined) and `best` of validation; any of them may be missing.
      side_by_side: The two panels, not one above the other.
    """
    logged = [row for row in history_rows if row.get("loss") is not None]
    checked = [row for row in history_rows if row.get("val_loss") is not None]
    ranked = [row for row in checked if row.get("val_video_auc") is not None]
    figure = canvas(3.2, 8.0) if side_by_side else canvas(4.2)
    shape = (1, 2) if side_by_side else (2, 1)
    loss, auc = figure.subplots(*shape, sharex=True)
    _line(loss, logged, "loss", "training", MUTED, "-")
    _line(loss, checked, "val_loss", "val", ACCENT, "o-")
    _line(auc, ranked, "val_video_auc", "val", ACCENT, "o-")
    loss.set_ylabel("loss")
    auc.set_ylabel("val video AUC")
    for axes in (loss, auc):
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    for axes in (loss, auc) if side_by_side else (auc,):
        axes.set_xlabel("step")
    if ranked:
        lowest = min(row["val_video_auc"] for row in ranked)
        auc.set_ylim(min(0.45, lowest - 0.05), 1.02)
        auc.axhline(0.5, color=MUTED, lw=1, ls=(0, (4, 3)), label="chance")
    best = [row for row in checked if row.get("best")]
    if best:
        name = f"kept: epoch {best[-1].get('epoch', '?')}"
        for axes in (loss, auc) if ranked else (loss,):
            axes.axvline(best[-1]["step"], color=INK, lw=1.2, ls=":", label=name)
    _finish(loss, bool(logged or checked), "upper right", "nothing logged yet")
    empty = "undefined: val lacks a class" if checked else "no validation yet"
    _finish(auc, bool(ranked), "lower right", empty)
    return figure


def _line(axes: Axes, rows: Rows, key: str, label: str, colour: str, style: str) -> None:
    if rows:
        steps, values = [row["step"] for row in rows], [row[key] for row in rows]
        axes.plot(steps, values, style, color=colour, label=label, lw=1.3, ms=4)


def _finish(axes: Axes, filled: bool, corner: str, otherwise: str) -> None:
    if filled:
        axes.legend(loc=corner)  # the best place would be sought, which can take seconds
    else:
        axes.text(0.5, 0.5, otherwise, transform=axes.transAxes, ha="center", color=MUTED)
