"""The leaderboard's page in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dfbench.report.markdown_provenance import data_table, provenance_table, unique_data
from dfbench.report.markdown_sections import (
    published_section,
    ranking,
    robustness,
    systems_section,
)
from dfbench.report.markdown_text import bullets, escape, table_text
from dfbench.report.matrix import (
    Entry,
    Matrix,
    column_label,
    legend,
    marks,
    matrix,
    mean_across,
    model_label,
    n_text,
    same_n,
    shared,
    spread_text,
    train_label,
    undefined,
    value_text,
)
from dfbench.report.measures import MEASURES
from dfbench.report.overlap import overlap_words
from dfbench.report.published import (
    PublishedResult,
)
from dfbench.results.card import Coverage, Metric, ResultCard
from dfbench.results.standings import StandingGroup
from dfbench.results.store import StoredCard

# Of the table of all cells, in this order; leaderboard.csv has the others.
SHOWN = (
    "video_auc",
    "video_auc_all",
    "frame_auc",
    "video_ap",
    "video_eer",
    "video_balanced_accuracy",
    "video_accuracy",
)
WITH_INTERVAL = ("video_auc", "frame_auc")

EMPTY = """No results yet. Train a detector, score it on another dataset, and write this page again:

```
dfbench run --train synth_swap --eval synth_blend --model meso4
dfbench leaderboard runs --out leaderboard
```"""


def leaderboard_markdown(
    cards: Sequence[StoredCard],
    out: Path,
    picture: str | None,
    standings: Sequence[StandingGroup] = (),
    published: Sequence[PublishedResult] = (),
) -> str:
    """Return the text of the page.

    Args:
      cards: In the order in which the tables list them.
      out: The page's folder; the paths of cards are written relative to it.
      picture: File name of the heat map beside the page; None: without it.
      standings: Who ranks where.
      published: Numbers from papers and reports.
    """
    if not cards:
        parts = ["# Cross-dataset leaderboard", EMPTY, *published_section(published)]
        return "\n\n".join(parts) + "\n"
    table = matrix(stored.card for stored in cards if not stored.card.cell.degrade)
    data = unique_data(stored.card for stored in cards)
    word = "card" if len(cards) == 1 else "cards"
    parts = [
        "# Cross-dataset leaderboard",
        "How well does a deepfake detector that was trained on one dataset work on another? "
        f"Written by `dfbench leaderboard` from {len(cards)} result {word}; changes made here are "
        "lost.",
        "## Video AUC",
        _matrix_table(table),
    ]
    if picture:
        parts.append(f"![Heat map of the table above]({picture})")
    parts += [
        "`index.html` beside this page has this table for every metric, to sort and to filter.",
        *ranking(standings, table),
        *robustness(stored.card for stored in cards),
        *systems_section([stored.card for stored in cards], published),
        "## How to read it",
        bullets(_how_to_read(table)),
        "## All metrics",
        "One row a cell and seed. `leaderboard.csv` has these at full precision, the intervals of "
        "all metrics, and why one is undefined. *All videos*: a video without any detected face is "
        "scored 0.5. Accuracies are taken at the threshold 0.5. *Coverage*: clips with a detected "
        "face, of all clips of the evaluated split. *Overlap*: what training and evaluated data "
        "share.",
        _metrics_table(cards),
        "## Provenance",
        "What the numbers were made from. A card holds the whole configuration, the crops' recipe, "
        "and hashes of scores, checkpoint and data.",
        data_table(data),
        provenance_table(cards, out, data),
        *published_section(published),
        "",
    ]
    return "\n\n".join(parts).rstrip("\n") + "\n"


def _how_to_read(table: Matrix) -> list[str]:
    lines = [
        "A row is a model and the dataset it was trained on; a column is the dataset it was "
        "scored on. Checkpoints and early stopping are chosen on the training dataset's val split; "
        "the scored data choose nothing.",
        *(escape(line) for line in legend(table)),
    ]
    if any(e.best for e in table.entries.values()):
        lines.append(
            "**Bold**: highest of its column among cross-dataset entries, to three digits; "
            "entries with † or ‡ do not compete. Where intervals overlap the order may be chance."
        )
    if any(mean_across(table, i)[1] > 1 for i in range(len(table.rows))):
        lines.append(
            "Mean across (datasets): mean of the row's entries without † and ‡. Compare rows that "
            "were scored on the same datasets."
        )
    return lines + [escape(line) for line in (*shared(table), *undefined(table))]


def _matrix_table(table: Matrix) -> str:
    columns = range(len(table.columns))
    same = [same_n(table, j) for j in columns]
    names = [escape(column_label(c)) for c in table.columns]
    counts = [f" (n={n})" if n else "" for n in same]
    head = ["model", "trained on", *map("".join, zip(names, counts, strict=True))]
    means = [mean_across(table, i) for i in range(len(table.rows))]
    compared = any(count > 1 for _, count in means)
    body = []
    for i, row in enumerate(table.rows):
        entries = [_entry(table.entries.get((i, j)), same[j] is None) for j in columns]
        line = [escape(model_label(row)), escape(train_label(row)), *entries]
        mean, count = means[i]
        if compared:
            line.append(f"{mean:.3f} ({count})" if count else "-")
        body.append(line)
    return table_text([*head, "mean across"] if compared else head, body)


def _entry(entry: Entry | None, with_n: bool) -> str:
    if entry is None:
        return "-"
    value = value_text(entry.value)
    parts = [f"**{value}**" if entry.best else value]
    parts[0] += marks(entry)
    parts += [spread_text(entry), n_text(entry.n) if with_n else ""]
    return " ".join(part for part in parts if part)


def _metrics_table(cards: Iterable[StoredCard]) -> str:
    first = ["model", "trained on", "scored on", "seed", "videos", "frames"]
    head = [*first, *(MEASURES[key].label for key in SHOWN), "coverage", "overlap"]
    body = []
    for stored in cards:
        card, cell = stored.card, stored.card.cell
        within = "†" if card.role == "within" else ""
        model = f"{cell.model} (scores handed in)" if card.origin != "run" else cell.model
        train = cell.train or "not known"
        name = [escape(model), escape(train), escape(cell.scored) + within, str(cell.seed)]
        counted = [card.metrics.get(key) for key in ("video_auc", "frame_auc")]
        n = [str(metric.n) if metric else "-" for metric in counted]
        values = [_metric(card.metrics.get(key), key in WITH_INTERVAL) for key in SHOWN]
        body.append([*name, *n, *values, coverage_text(card), overlap_text(card)])
    return table_text(head, body)


def _metric(metric: Metric | None, with_interval: bool) -> str:
    if metric is None:
        return "-"
    if metric.value is None or not with_interval:
        return value_text(metric.value)
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f} [no interval]"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


def coverage_text(card: ResultCard) -> str:
    """Return how many clips of each class were scored, and why the others were not."""

    def one(name: str, covered: Coverage) -> str:
        reasons = ", ".join(f"{escape(k)}: {v}" for k, v in sorted(covered.reasons.items()))
        text = f"{name} {covered.clips_with_crops}/{covered.clips}"
        return f"{text} ({reasons})" if reasons else text

    parts = [one(name, card.coverage[name]) for name in sorted(card.coverage, reverse=True)]
    return "; ".join([*parts, *(f"**warning**: {escape(line)}" for line in card.warnings)])


def overlap_text(card: ResultCard) -> str:
    """Return what training and evaluated data share."""
    if card.audit is None:
        return "not checked"
    text = overlap_words(card.audit) or "none found"
    return f"{text} ({escape(card.audit.note)})" if card.audit.note else text
