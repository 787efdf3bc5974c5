"""Cards to the cross-dataset matrix: rows are trained models, columns are evaluated datasets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from dfbench.report.measures import MEASURES, Measure
from dfbench.report.overlap import overlap_words
from dfbench.results.card import Metric, ResultCard
from dfbench.results.comparable import ColumnKey, RowKey, column_key, newest, row_key, settings

METRIC = "video_auc"  # what the matrix shows, unless asked for another


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model, what it was trained on, and with what."""

    key: RowKey
    system: str = ""  # what a protocol calls this configuration
    tag: str = ""  # "#1a2b" tells apart rows of one model and training set
    note: str = ""  # what is different about this one
    handed_in: bool = False  # scores of a detector that was not trained and run here

    @property
    def model(self) -> str:
        """Name of the detector, and of the system that a protocol makes of it."""
        model = self.key[0]
        return f"{model} ({self.system})" if self.system not in ("", model) else model

    @property
    def train(self) -> str:
        """Spec that it was trained on; empty: not known."""
        return self.key[1]


@dataclass(frozen=True, kw_only=True)
class Column:
    """An evaluated dataset."""

    key: ColumnKey
    tag: str = ""  # "#1a2b" tells apart different data under one name
    note: str = ""

    @property
    def eval(self) -> str:
        """Spec that was scored."""
        return self.key[0]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One place of the matrix: a cell's seeds taken together.

    Of a single seed, `low` and `high` are the bootstrap interval over videos; of several, the
    smallest and largest value of the seeds, and `value` is their mean.
    """

    value: float | None
    low: float | None
    high: float | None
    n: tuple[int, int]  # fewest and most videos counted in a seed
    clips: int  # videos of the evaluated split, with those that gave no face
    seeds: int
    defined: int  # seeds with a value
    within: bool  # scored on the test split of the training dataset
    shared: str = ""  # what training and evaluated data share; empty: nothing
    unchecked: bool = False  # the training data are not known, so what they share is not
    degraded: bool = False  # its crops were degraded before they were scored
    fakes: float | None = None  # share of fakes among the clips with a face
    values: tuple[float, ...] = ()  # of the seeds that have one
    best: bool = False
    reason: str = ""

    @property
    def overlap(self) -> bool:
        """Training and evaluated data share something."""
        return bool(self.shared)

    @property
    def across(self) -> bool:
        """It measures generalisation, as far as is known."""
        return not (self.within or self.overlap or self.degraded)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Rows, columns and what is known where they meet."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    entries: Mapping[tuple[int, int], Entry]  # by position of row and column
    confidence: tuple[float, ...]  # of the intervals; more than one if cards differ


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """Cards at their places, which are the same for every metric."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    seeds: Mapping[tuple[int, int], Sequence[ResultCard]]  # by position of row and column
    confidence: tuple[float, ...]

    def table(self, metric: str) -> Matrix:
        """Return the matrix of a metric."""
        entries = {place: _entry(cards, metric) for place, cards in self.seeds.items()}
        return Matrix(
            rows=self.rows,
            columns=self.columns,
            entries=_mark_best(entries, len(self.columns), MEASURES[metric]),
            confidence=self.confidence,
        )


def matrix(cards: Iterable[ResultCard], metric: str = METRIC) -> Matrix:
    """Arrange cards; results of different settings or different data are never mixed.

    `best` marks the best value of a column among cross-dataset entries, if there are at least two
    to compare; within-dataset entries, those whose data overlap and those whose training data are
    not known neither get it nor take it from another. Of two cards of one place and seed the newest
    counts. The order of `cards` does not matter.
    """
    return arrange(cards).table(metric)


def arrange(cards: Iterable[ResultCard]) -> Arrangement:
    """Return the places of cards."""
    kept = sorted(newest(cards), key=lambda c: c.cell.seed)
    keys = [(row_key(c), column_key(c)) for c in kept]
    row_keys = sorted({row for row, _ in keys})
    trains = {c.cell.train for c in kept}
    column_keys = sorted({c for _, c in keys}, key=lambda k: (k[0] not in trains, k))
    seeds: dict[tuple[int, int], list[ResultCard]] = defaultdict(list)
    for (row, column), card in zip(keys, kept, strict=True):
        seeds[row_keys.index(row), column_keys.index(column)].append(card)
    confidence = {c.config.get("scoring", {}).get("confidence", 0.95) for c in kept}
    return Arrangement(
        rows=_rows(row_keys, {row: card for (row, _), card in zip(keys, kept, strict=True)}),
        columns=_columns(column_keys),
        seeds=dict(sorted(seeds.items())),
        confidence=tuple(sorted(confidence)),
    )


def _rows(keys: Sequence[RowKey], cards: Mapping[RowKey, ResultCard]) -> tuple[Row, ...]:
    of = {key: (settings(card), card.origin) for key, card in cards.items()}
    rows = []
    for key in keys:
        own, origin = of[key]
        system = str(own.get("system", ""))
        siblings = [
            of[k][0] for k in keys if k[:2] == key[:2] and of[k][0].get("system", "") == system
        ]
        row = Row(key=key, system=system, handed_in=origin != "run")
        if len(siblings) > 1:
            names = sorted({name for one in siblings for name in one})
            differ = [n for n in names if any(one.get(n) != own.get(n) for one in siblings)]
            note = ", ".join(f"{n} = {own.get(n, 'default')}" for n in differ)
            row = replace(row, tag=f"#{key[2][:4]}", note=note or "other training data or crops")
        rows.append(row)
    return tuple(rows)


def _columns(keys: Sequence[ColumnKey]) -> tuple[Column, ...]:
    note = "other clips or dataset version"
    twice = {name for name, _ in keys if sum(other == name for other, _ in keys) > 1}
    return tuple(
        Column(key=k, tag=f"#{k[1][:4]}", note=note) if k[0] in twice else Column(key=k)
        for k in keys
    )


def _entry(cards: Sequence[ResultCard], metric: str) -> Entry:
    metrics = [c.metrics.get(metric, Metric(value=None, reason="not computed")) for c in cards]
    values = tuple(m.value for m in metrics if m.value is not None)
    single = metrics[0] if len(metrics) == 1 else None
    clips = [{k: v.clips_with_crops for k, v in c.coverage.items()} for c in cards]
    found = sum(clips[0].values())
    return Entry(
        value=fmean(values) if values else None,
        low=single.low if single else min(values, default=None),
        high=single.high if single else max(values, default=None),
        n=(min(m.n for m in metrics), max(m.n for m in metrics)),
        seeds=len(cards),
        defined=len(values),
        values=values,
        clips=max(sum(one.clips for one in c.coverage.values()) for c in cards),
        fakes=clips[0].get("fake", 0) / found if found else None,
        within=cards[0].role == "within",
        shared=" / ".join(dict.fromkeys(w for c in cards if (w := overlap_words(c.audit)))),
        unchecked=any(c.audit is None for c in cards),
        degraded=bool(cards[0].cell.degrade),
        reason="; ".join(sorted({m.reason for m in metrics if m.reason})),
    )


def _mark_best(
    entries: Mapping[tuple[int, int], Entry], columns: int, measure: Measure
) -> dict[tuple[int, int], Entry]:
    marked = dict(entries)
    best_of = max if measure.higher_is_better else min
    for column in range(columns):
        # Compared as shown: what looks equal is equally best.
        shown = {
            place: round(entry.value, 3)
            for place, entry in entries.items()
            if place[1] == column and entry.value is not None
            if entry.across and not entry.unchecked
        }
        for place, value in shown.items():
            best = len(shown) > 1 and value == best_of(shown.values())
            marked[place] = replace(marked[place], best=best)
    return marked


def value_text(value: float | None) -> str:
    """Return a metric as text."""
    return "undefined" if value is None else f"{value:.3f}"


def spread_text(entry: Entry) -> str:
    """Return the interval of one seed, or the range and number of several."""
    if entry.value is None or entry.seeds == 1:
        return interval_text(entry)
    return f"{interval_text(entry)[:-1]}, {seeds_text(entry)})"


def interval_text(entry: Entry) -> str:
    """Return the interval of one seed as `[low, high]`, the range of several as `(low-high)`."""
    if entry.value is None:
        return ""
    if entry.seeds > 1:
        return f"({value_text(entry.low)}-{value_text(entry.high)})"
    if entry.low is None or entry.high is None:
        return "[no interval]"
    return f"[{value_text(entry.low)}, {value_text(entry.high)}]"


def seeds_text(entry: Entry) -> str:
    """Return how many seeds an entry is made of, where there are several."""
    if entry.seeds == 1:
        return ""
    count = f"{entry.defined} of {entry.seeds}" if entry.defined < entry.seeds else entry.seeds
    return f"{count} seeds"


def n_text(n: tuple[int, int]) -> str:
    """Return a count of videos as text."""
    return f"n={n[0]}" if n[0] == n[1] else f"n={n[0]}-{n[1]}"


def same_n(table: Matrix, column: int) -> int | None:
    """Return the number of videos that every entry of a column counted; None if they differ."""
    counts = {n for (_, j), entry in table.entries.items() if j == column for n in entry.n}
    return counts.pop() if len(counts) == 1 else None


def mean_across(table: Matrix, row: int) -> tuple[float, int]:
    """Return the mean of a row's cross-dataset values without shared data, and their number."""
    entries = [entry for (i, _), entry in table.entries.items() if i == row]
    values = [e.value for e in entries if e.value is not None and e.across]
    return (fmean(values) if values else math.nan), len(values)


def marks(entry: Entry) -> str:
    """Return the signs that `legend` explains."""
    signs = {"†": entry.within, "‡": entry.overlap, "§": entry.unchecked}
    return "".join(sign for sign, there in signs.items() if there)


def legend(table: Matrix) -> list[str]:
    """Return the sentences that a reader of this matrix needs, as plain text."""
    lines = [
        "Video AUC: area under the ROC curve over videos, each with one score (the mean of its "
        "frames, where the settings say nothing else); 0.5 is chance. n: videos counted (those "
        "with a detected face).",
        *(f"{line}." for line in legend_of_marks(table)),
    ]
    return [*lines, *(f"{tag}: {note}." for tag, note in sorted(_tags(table)))]


def legend_of_marks(table: Matrix) -> list[str]:
    """Return what brackets and signs beside the values mean, of those that are there."""
    entries = table.entries.values()
    level = " or ".join(f"{100 * c:g}%" for c in table.confidence)
    lines = {
        f"[low, high]: {level} bootstrap interval over videos": any(
            e.low is not None for e in entries if e.seeds == 1
        ),
        "(low-high): smallest and largest of several seeds, beside their mean": any(
            e.seeds > 1 for e in entries
        ),
        "†: within-dataset (test split of the training dataset)": any(e.within for e in entries),
        "‡: training and evaluated data share clips, people or source videos, so this is no "
        "measure of generalisation": any(e.overlap for e in entries),
        "§: training data not known, overlap not checked": any(e.unchecked for e in entries),
    }
    return [line for line, there in lines.items() if there]


def _tags(table: Matrix) -> set[tuple[str, str]]:
    named = [(f"{r.model} trained on {train_label(r)}", r) for r in table.rows]
    rows = {(plain(name), plain(r.note)) for name, r in named if r.tag}
    return rows | {(plain(f"{c.eval} {c.tag}"), c.note) for c in table.columns if c.tag}


def shared(table: Matrix) -> list[str]:
    """Return one line for each training set and column whose data overlap, with what they share."""
    lines = []
    for (i, j), entry in table.entries.items():
        if entry.shared:
            where = f"{table.rows[i].train} on {column_label(table.columns[j])}"
            lines.append(plain(f"‡ {where}: {entry.shared}"))
    return list(dict.fromkeys(lines))


def undefined(table: Matrix) -> list[str]:
    """Return one line for each place without a value or without an interval, with the reason."""
    lines = []
    for (i, j), entry in table.entries.items():
        if entry.reason:
            row, column = table.rows[i], table.columns[j]
            where = f"{row_label(row)} on {column_label(column)}"
            what = "undefined: " if entry.value is None else ""
            lines.append(plain(f"{where}: {what}{entry.reason}"))
    return lines


def row_label(row: Row) -> str:
    """Return a row's name on one line."""
    return f"{model_label(row)}, {train_label(row)}"


def model_label(row: Row) -> str:
    """Return a detector's name, and whether its scores were handed in."""
    return plain(f"{row.model} (scores handed in)" if row.handed_in else row.model)


def train_label(row: Row) -> str:
    """Return what a row was trained on."""
    return plain(f"{row.train or 'not known'} {row.tag}".strip())


def column_label(column: Column) -> str:
    """Return a column's name."""
    return plain(f"{column.eval}{' ' + column.tag if column.tag else ''}")


def plain(text: str) -> str:
    """Return text on one line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def short(text: str, size: int) -> str:
    """Cut the middle out of a long name: the start says what it is, the end tells it apart."""
    half = (size - 3) // 2
    return text if len(text) <= size else f"{text[:half]}...{text[-half:]}"
