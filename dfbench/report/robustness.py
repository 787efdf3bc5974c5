"""Results on degraded crops beside those on clean ones. They are in no rank and in no mean."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dfbench.degradations import Degradation, parse_degradations
from dfbench.errors import UserError
from dfbench.eval.change import Change
from dfbench.report.figures.intervals import interval
from dfbench.report.matrix import (
    marks,
    matrix,
    model_label,
    n_text,
    plain,
    same_n,
    spread_text,
    train_label,
    value_text,
)
from dfbench.results.card import Metric, ResultCard
from dfbench.results.comparable import column_key

METRIC = "video_auc"
UNKNOWN = Metric(value=None, reason="not computed")
CLEAN = "clean"
SECTION = "Robustness"
LEAD = (
    "The same clips, with face crops that were degraded before they were scored. Epoch, threshold "
    "and temperature are those of clean crops. These results count in no mean and no rank."
)
CHANGE_NOTE = (
    "change: video AUC on degraded crops minus that on clean ones, on the same videos, with the "
    "interval and the two-sided p value of DeLong's paired test, not corrected for the number of "
    "rows."
)


@dataclass(frozen=True)
class Point:
    """A result on degraded crops, and how far it is from that on clean ones."""

    degradation: Degradation
    metric: Metric  # video AUC
    change: Change


@dataclass(frozen=True)
class Sweep:
    """A detector on one dataset: clean, and by kind and strength of degradation."""

    clean: ResultCard
    points: tuple[Point, ...]  # by kind, and what is stronger behind

    @property
    def metric(self) -> Metric:
        """Video AUC on clean crops."""
        return self.clean.metrics.get(METRIC, UNKNOWN)

    @property
    def name(self) -> str:
        """The dataset; † where it was trained on."""
        return plain(self.clean.cell.eval) + (" †" if self.clean.role == "within" else "")


def degradation_of(card: ResultCard) -> Degradation | None:
    """Return what was done to the crops; None: nothing, or nothing that is known here."""
    try:
        found = parse_degradations([card.cell.degrade] if card.cell.degrade else [], "card")
    except UserError:
        return None
    return found[0] if len(found) == 1 else None


def sweep_rows(sweep: Sweep) -> list[tuple[str, ...]]:
    """Return crops, video AUC, change, p and n, first of the clean crops."""
    clean = sweep.metric
    rows: list[tuple[str, ...]] = [(CLEAN, _value(clean), "", "", f"{clean.n:,}")]
    for point in sweep.points:
        p = "" if point.change.p is None else p_text(point.change.p)
        texts = (point.degradation.text, _value(point.metric), change_text(point.change), p)
        rows.append((*texts, f"{point.metric.n:,}"))
    return rows


SWEEP_HEAD = ("crops", "video AUC", "change", "p", "videos")


def _value(metric: Metric) -> str:
    return f"undefined: {metric.reason}" if metric.value is None else interval(metric)


def change_text(change: Change) -> str:
    """Return a change as `-0.041 [-0.062, -0.020]`."""
    if change.value is None:
        return f"undefined: {change.reason}"
    if change.low is None or change.high is None:
        return f"{change.value:+.3f} ({change.reason})"
    return f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


def p_text(p: float) -> str:
    """Return a p value; a very small one as a bound."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def sweeps_text(sweeps: Sequence[Sweep], width: int = 100) -> str:
    """Return the sweeps for a terminal."""
    blocks = []
    for sweep in sweeps:
        cell = sweep.clean.cell
        title = f"{cell.model}, trained on {cell.train}, seed {cell.seed}, on {sweep.name}"
        rows = [SWEEP_HEAD, *sweep_rows(sweep)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        blocks.append("\n".join([f"robustness: {plain(title)}", *(f"  {line}" for line in lines)]))
    note = textwrap.fill(CHANGE_NOTE, width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n\n".join([*blocks, note])


# --- many detectors -------------------------------------------------------------------------------


@dataclass(frozen=True)
class RobustnessTable:
    """Detectors on one dataset, clean and degraded, as plain text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def robustness_tables(cards: Iterable[ResultCard]) -> list[RobustnessTable]:
    """Return a table for each dataset that a card has degraded crops of."""
    by_eval: dict[str, list[ResultCard]] = defaultdict(list)
    for card in cards:
        by_eval[card.cell.eval].append(card)
    found = sorted((k, v) for k, v in by_eval.items() if any(c.cell.degrade for c in v))
    return [_table(name, members) for name, members in found]


def _table(name: str, cards: Sequence[ResultCard]) -> RobustnessTable:
    table = matrix(cards)
    degraded = {column_key(card): card for card in cards}

    def order(j: int) -> tuple[object, ...]:
        card = degraded[table.columns[j].key]
        one = degradation_of(card)
        return bool(card.cell.degrade), one is None, one.order if one else (), card.cell.degrade

    columns = sorted(range(len(table.columns)), key=order)
    heads = []
    for j in columns:
        column = table.columns[j]
        words = [degraded[column.key].cell.degrade or CLEAN, column.tag]
        n = same_n(table, j)
        heads.append(
            " ".join([*filter(None, map(plain, words)), f"({n_text((n, n))})" if n else ""])
        )
    rows = []
    for i, row in enumerate(table.rows):
        entries = [table.entries.get((i, j)) for j in columns]
        if not any(entry and entry.degraded for entry in entries):
            continue
        texts = [
            "-"
            if entry is None
            else " ".join(
                filter(None, [value_text(entry.value) + marks(entry), spread_text(entry)])
            )
            for entry in entries
        ]
        rows.append((model_label(row), train_label(row), *texts))
    return RobustnessTable(
        plain(name), ("model", "trained on", *(h.strip() for h in heads)), tuple(rows)
    )
