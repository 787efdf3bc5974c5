"""Evaluations on degraded crops, put beside those on clean ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dfbench.eval.change import Change, auc_change
from dfbench.eval.standings import ScoredCard
from dfbench.report.figures.sweep import drawable, sweep_figure
from dfbench.report.picture import save
from dfbench.report.robustness import METRIC, UNKNOWN, Point, Sweep, degradation_of
from dfbench.results.card import ResultCard
from dfbench.results.comparable import row_key
from dfbench.results.store import StoredCard, load_cards
from dfbench.workflow.pages import scored

PICTURE = "robustness.png"  # in a run's folder


def sweeps_of(stored: Iterable[StoredCard]) -> list[Sweep]:
    """Return the sweeps of evaluations that have both clean and degraded crops, in their order."""
    ordered = list(stored)
    sweeps = []
    for one in ordered:
        if one.card.cell.degrade:
            continue
        others = [o for o in ordered if o.card.cell.degrade and _same(one.card, o.card)]
        if others:
            clean = scored(one)
            points = [point for other in others if (point := _point(clean, scored(other)))]
            points.sort(key=lambda point: point.degradation.order)
            sweeps.append(Sweep(one.card, tuple(points)))
    return sweeps


def _same(clean: ResultCard, other: ResultCard) -> bool:
    """Tell whether two cards are of one detector and one dataset."""
    pairs = ((c.cell.eval, c.cell.seed, c.training_hash, row_key(c)) for c in (clean, other))
    return next(pairs) == next(pairs)


def _point(clean: ScoredCard, other: ScoredCard) -> Point | None:
    degradation = degradation_of(other.card)
    if degradation is None:  # of a version that knows more kinds
        return None
    metric = other.card.metrics.get(METRIC, UNKNOWN)
    return Point(degradation, metric, _change(clean, other))


def _change(clean: ScoredCard, other: ScoredCard) -> Change:
    one, two = clean.card, other.card
    if one.datasets.eval != two.datasets.eval:
        return Change(value=None, reason="clean crops that were scored are others")
    if one.files.get("checkpoint") != two.files.get("checkpoint"):
        return Change(value=None, reason="clean crops were scored by another checkpoint")
    if clean.videos is None or other.videos is None:
        return Change(value=None, reason="no scores beside a card")
    confidence = two.config.get("scoring", {}).get("confidence", 0.95)
    return auc_change(clean.videos, other.videos, confidence)


def write_sweeps(stored: Sequence[StoredCard]) -> tuple[list[Sweep], list[Path]]:
    """Return the sweeps of some cards, and the pictures of their runs, which show all there is."""
    sweeps, paths = sweeps_of(stored), []
    for run in dict.fromkeys(_run_of(one) for one in stored if one.card.cell.degrade):
        every = sorted(load_cards([run]), key=lambda one: one.card.role != "within")
        if shown := drawable(sweeps_of(every)):
            paths.append(run / PICTURE)
            save(sweep_figure(shown), paths[-1])
    return sweeps, paths


def _run_of(stored: StoredCard) -> Path:
    return stored.path.parents[2]
