"""The heat map: a table of HTML, and the same cells for every metric as data for the script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfbench.report.matrix import (
    Entry,
    Matrix,
    arrange,
    column_label,
    interval_text,
    marks,
    mean_across,
    model_label,
    n_text,
    same_n,
    seeds_text,
    train_label,
    value_text,
)
from dfbench.report.measures import MEASURES, Measure
from dfbench.report.page.document import esc, esc_name
from dfbench.results.card import ResultCard

STEPS = 10  # of colour, from chance to perfect and as many below


@dataclass(frozen=True)
class Shown:
    """What a place of the table shows for one metric."""

    value: float | None  # sorted by
    text: str
    small: str  # interval and what else stands below
    tone: str  # class of the style sheet
    words: str  # the same for a screen reader and the details

    def as_data(self) -> list[Any]:
        """Return it as JSON has it."""
        value = None if self.value is None else round(self.value, 9)
        return [value, self.text, self.small, self.tone, self.words]


@dataclass(frozen=True)
class Board:
    """The heat map of some cards."""

    table: Matrix  # of the first metric; the others have the same rows and columns
    metrics: tuple[str, ...]  # that a card has
    cells: dict[str, list[list[Shown | None]]]  # by metric, row and column; first the mean
    order: tuple[int, ...]  # rows from the top

    def as_data(self) -> dict[str, Any]:
        """Return what the script needs."""
        return {
            "metrics": [
                {
                    "key": name,
                    "label": MEASURES[name].label,
                    "about": MEASURES[name].about,
                    "high": MEASURES[name].higher_is_better,
                }
                for name in self.metrics
            ],
            "rows": [[model_label(row), train_label(row)] for row in self.table.rows],
            "columns": [column_label(column) for column in self.table.columns],
            "cells": {
                name: [[shown and shown.as_data() for shown in row] for row in rows]
                for name, rows in self.cells.items()
            },
            "notes": [
                [_notes(self.table.entries.get((i, j))) for j in range(len(self.table.columns))]
                for i in range(len(self.table.rows))
            ],
        }


def make_board(cards: Sequence[ResultCard]) -> Board:
    """Arrange cards for every metric that one of them has."""
    there = {name for card in cards for name in card.metrics}
    metrics = tuple(name for name in MEASURES if name in there) or tuple(MEASURES)[:1]
    arranged = arrange(cards)
    tables = {name: arranged.table(name) for name in metrics}
    first = tables[metrics[0]]
    cells = {name: _cells(table, name) for name, table in tables.items()}
    means = [row[0] for row in cells[metrics[0]]]

    def place(i: int) -> tuple[object, ...]:
        shown = means[i]
        value = shown.value if shown and shown.value is not None else -math.inf
        row = first.rows[i]
        return not row.train, row.train, -value, row.key  # what is not known comes last

    order = tuple(sorted(range(len(first.rows)), key=place))
    return Board(first, metrics, cells, order)


def _cells(table: Matrix, name: str) -> list[list[Shown | None]]:
    measure = MEASURES[name]
    unit = "frames" if name.startswith("frame") else "videos"
    # The head of a column has the number of videos, where it is one.
    counted = [same_n(table, j) is None for j in range(len(table.columns))]
    rows = []
    for i in range(len(table.rows)):
        entries = [table.entries.get((i, j)) for j in range(len(table.columns))]
        row = [_mean(table, i, measure)]
        row += [
            None if entry is None else _cell(entry, measure, unit, with_n, table.confidence)
            for entry, with_n in zip(entries, counted, strict=True)
        ]
        rows.append(row)
    return rows


def _cell(
    entry: Entry, measure: Measure, unit: str, with_n: bool, confidence: Sequence[float]
) -> Shown:
    if entry.value is None:
        reason = entry.reason or "not computed"
        return Shown(None, f"undefined{marks(entry)}", reason, "none", f"undefined: {reason}")
    below = [interval_text(entry), seeds_text(entry), n_text(entry.n) if with_n else ""]
    tone = "leak" if entry.overlap else _tone(measure, entry.value, entry.fakes)
    level = " or ".join(f"{100 * c:g}%" for c in confidence)
    words = [f"{measure.label} {value_text(entry.value)}"]
    if entry.seeds > 1:
        shown = ", ".join(value_text(v) for v in entry.values)
        words.append(f"mean of {entry.defined} of {entry.seeds} seeds: {shown}")
    elif entry.low is not None:
        ends = f"{value_text(entry.low)} to {value_text(entry.high)}"
        words.append(f"{level} bootstrap interval {ends}")
    count = n_text(entry.n).removeprefix("n=")
    words.append(
        f"{count} {unit} of {entry.clips} clips" if unit == "videos" else f"{count} {unit}"
    )
    if entry.reason:
        words.append(entry.reason)
    text = f"{value_text(entry.value)}{marks(entry)}"
    return Shown(entry.value, text, "\n".join(filter(None, below)), tone, "; ".join(words))


def _mean(table: Matrix, i: int, measure: Measure) -> Shown | None:
    mean, count = mean_across(table, i)
    if not count:
        return None
    word = "dataset" if count == 1 else "datasets"
    words = f"mean {measure.label} {mean:.3f} over {count} {word} that measure generalisation"
    return Shown(mean, f"{mean:.3f}", f"{count} {word}", "mean", words)


def _tone(measure: Measure, value: float, fakes: float | None) -> str:
    shade = measure.shade(value, fakes)
    return f"{'u' if shade >= 0 else 'd'}{round(STEPS * abs(shade))}"


def _notes(entry: Entry | None) -> list[str]:
    """Return what holds of a place whatever the metric."""
    if entry is None:
        return []
    notes = {
        "† within-dataset: the test split of the training dataset": entry.within,
        f"‡ leak, no measure of generalisation: {entry.shared}": entry.overlap,
        "§ training data not known: overlap not checked": entry.unchecked,
        "best of its column across datasets": entry.best,
    }
    return [note for note, there in notes.items() if there]


def board_html(board: Board) -> str:
    """Return the table of the first metric, which the script takes over."""
    table, first = board.table, board.metrics[0]
    columns = range(len(table.columns))
    heads = [
        _head(str(j), column_label(column), n_text((n, n)) if (n := same_n(table, j)) else "")
        for j, column in zip(columns, table.columns, strict=True)
    ]
    corner = (
        '<th scope="col" class="corner" data-sort="model">'
        '<span class="head">Detector<small>trained on</small></span></th>'
    )
    body = []
    for i in board.order:
        row = table.rows[i]
        badge = '<small class="badge">scores handed in</small>' if row.handed_in else ""
        note = f'<small class="setting">{esc(row.note)}</small>' if row.note else ""
        name = (
            f'<th scope="row"><span class="name">{esc_name(row.model)}</span>{badge}'
            f'<small class="train">{esc_name(train_label(row))}</small>{note}</th>'
        )
        entries = [None, *(table.entries.get((i, j)) for j in columns)]
        shown = zip(board.cells[first][i], entries, strict=True)
        cells = [_td(cell, entry) for cell, entry in shown]
        body.append(f'<tr data-row="{i}">{name}{"".join(cells)}</tr>')
    mean = _head("mean", "mean across", "")
    return (
        '<table id="board"><caption class="hidden">Rows are detectors with their training set, '
        "columns are evaluated datasets.</caption>"
        f"<thead><tr>{corner}{mean}{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def _head(sort: str, name: str, small: str) -> str:
    below = f"<small>{esc(small)}</small>" if small else ""
    return (
        f'<th scope="col" data-sort="{sort}"><span class="head">{esc_name(name)}{below}</span></th>'
    )


def _td(shown: Shown | None, entry: Entry | None) -> str:
    if shown is None:
        return '<td class="empty"><span aria-hidden="true">-</span></td>'
    kinds = [shown.tone]
    if entry is not None:
        kinds += [name for name in ("within", "best") if getattr(entry, name)]
    small = "".join(f"<small>{esc(line)}</small>" for line in shown.small.split("\n") if line)
    return f'<td class="{" ".join(kinds)}"><b>{esc(shown.text)}</b>{small}</td>'
