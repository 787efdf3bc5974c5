"""The leaderboard's page in markdown."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path

from dfbench.report import systems
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
    plain,
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
    METRICS,
    NOTICE,
    PublishedResult,
    PublishedTable,
    published_tables,
    value_notes,
)
from dfbench.report.ranking import explain, group_title, interval, rank_text, seeds_words
from dfbench.report.robustness import LEAD, SECTION, robustness_tables
from dfbench.results.card import Coverage, DatasetFingerprint, Metric, ResultCard
from dfbench.results.standings import Standing, StandingGroup
from dfbench.results.store import SUFFIX, StoredCard

SPECIAL = frozenset("\\`*[]<>|~$&")

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
        parts = ["# Cross-dataset leaderboard", EMPTY, *_published(published)]
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
        *_ranking(standings, table),
        *_robustness(stored.card for stored in cards),
        *_systems([stored.card for stored in cards], published),
        "## How to read it",
        _bullets(_how_to_read(table)),
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
        _data_table(data),
        _provenance_table(cards, out, data),
        *_published(published),
        "",
    ]
    return "\n\n".join(parts).rstrip("\n") + "\n"


def escape(text: str) -> str:
    """Return text that markdown shows as it is, on one line, also inside a table."""
    shown = "".join(f"\\{c}" if c in SPECIAL else c for c in plain(text).strip())
    # Inside a word it is no emphasis, and names are full of it.
    shown = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", shown)
    if re.match(r"[#+=-]|\d+[.)](\s|$)", shown):  # would begin a heading or a list
        shown = re.sub(r"^(\d*)", r"\1\\", shown)
    # Renderers of HTML inside markdown do not all honour a backslash.
    return shown.replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


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
    return _table([*head, "mean across"] if compared else head, body)


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
    return _table(head, body)


def _metric(metric: Metric | None, with_interval: bool) -> str:
    if metric is None:
        return "-"
    if metric.value is None or not with_interval:
        return value_text(metric.value)
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f} [no interval]"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


def _ranking(groups: Sequence[StandingGroup], table: Matrix) -> list[str]:
    if not groups:
        return []
    rows = {row.key: row for row in table.rows}
    columns = {column.key: column_label(column) for column in table.columns}
    parts = ["## Ranking across datasets", _bullets(escape(line) for line in explain(groups))]
    for group in groups:
        counted = ", ".join(columns[c] for c in group.columns)
        lines = [f"Mean over: {counted}." if counted else ""]
        if group.left_out:
            some = ", ".join(columns[c] for c in group.left_out)
            lines.append(f"Not counted, since only some have it: {some}.")
        lines.append(f"{group.note[0].upper()}{group.note[1:]}." if group.note else "")
        head = ["rank", "model", "mean video AUC", "ties", "seeds"]
        body = [
            [
                _rank(one),
                escape(f"{model_label(rows[one.row])} {rows[one.row].tag}".strip()),
                *_standing(one, [columns[c] for c in one.missing]),
            ]
            for one in group.standings
        ]
        parts += [
            f"### {escape(group_title(group))}",
            _table(head, body),
            escape(" ".join(line for line in lines if line)),
        ]
    return parts


def _robustness(cards: Iterable[ResultCard]) -> list[str]:
    tables = robustness_tables(cards)
    parts = [f"## {SECTION}", LEAD] if tables else []
    for one in tables:
        body = [[escape(text) for text in row] for row in one.rows]
        parts += [f"### {escape(one.title)}", _table([escape(text) for text in one.head], body)]
    return parts


def _rank(one: Standing) -> str:
    return "-" if one.rank is None else f"{one.rank} {rank_text(one)}".strip()


def _standing(one: Standing, missing: Sequence[str]) -> list[str]:
    if one.rank is None or one.mean is None:
        why = f"not ranked: lacks {', '.join(missing)}" if missing else "not ranked"
        return [escape(why), "-", "-"]
    return [f"{one.mean:.3f} {interval(one)}", one.letters or "-", seeds_words(one)]


def _systems(cards: Sequence[ResultCard], published: Sequence[PublishedResult]) -> list[str]:
    """Return the section on systems of published projects; none where no card is of one."""
    rows = systems.system_rows(cards, published)
    if not rows:
        return []
    body = [
        [
            escape(f"{row.protocol}: {row.system}"),
            *("<br>".join(map(escape, lines)) for lines in (row.published, row.here)),
        ]
        for row in rows
    ]
    return [f"## {systems.SECTION}", escape(systems.LEAD), _table(list(systems.HEAD), body)]


def _published(results: Sequence[PublishedResult]) -> list[str]:
    """Return the numbers of others; of a source with AUCs only those, for length."""
    tables = published_tables(results)
    if not tables:
        return []
    with_auc = {table.source for table in tables if table.metric == "auc"}
    parts = [
        "## Published numbers, not comparable",
        escape(NOTICE) + " `published.csv` has all of them, with other metrics. † is "
        "within-dataset, ? could not be checked.",
    ]
    for table in tables:
        if table.metric == "auc" or table.source not in with_auc:
            parts += _published_table(table)
    return parts


def _published_table(table: PublishedTable) -> list[str]:
    noted = any(note for *_, note in table.rows)
    body = []
    for i, (detector, train, note) in enumerate(table.rows):
        found = [table.values.get((i, j)) for j in range(len(table.columns))]
        cells = [
            "-" if v is None else f"{v.value:.3f}{'†' * v.within}{'' if v.checked else '?'}"
            for v in found
        ]
        body.append([escape(detector), escape(train), *cells, *([escape(note)] if noted else [])])
    head = ["detector", "trained on", *(escape(name) for name in table.columns)]
    lines = [f"**Mismatch**: {escape(table.warning)}.", *map(escape, value_notes(table))]
    return [
        f"### {escape(table.source)}: {METRICS[table.metric]}",
        _table([*head, "note"] if noted else head, body),
        _bullets(lines),
    ]


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


def unique_data(cards: Iterable[ResultCard]) -> list[DatasetFingerprint]:
    """Return every dataset that the cards speak of, each once, by name."""
    found = {str(d): d for c in cards for d in (*c.datasets.train, *c.datasets.eval)}
    return sorted(found.values(), key=lambda d: (d.name, d.version, d.variant, str(d)))


def _data_table(data: Sequence[DatasetFingerprint]) -> str:
    head = ["data", "dataset", "version", "variant", "clips", "clip list", "detector", "crops"]
    body = []
    for number, d in enumerate(data, start=1):
        used = d.recipe.get("detector", "?")
        recipe = ", ".join(f"{k} {v}" for k, v in sorted(d.recipe.items()) if k != "detector")
        body.append(
            [
                f"D{number}",
                *(escape(text) for text in (d.name, d.version, d.variant)),
                f"{sum(c.clips_with_crops for c in d.counts.values())} of "
                f"{sum(c.clips for c in d.counts.values())} with a face",
                f"`{_code(d.clips_sha256)[:8]}`",
                escape(f"{used} ({d.detector_note})" if d.detector_note else str(used)),
                escape(recipe),
            ]
        )
    return _table(head, body)


def _provenance_table(
    cards: Iterable[StoredCard], out: Path, data: Sequence[DatasetFingerprint]
) -> str:
    head = ["card", "trained on", "scored on", "configuration", "protocol"]
    head += ["software", "commit", "device", "date (UTC)"]

    def numbers(datasets: Iterable[DatasetFingerprint]) -> str:
        return ", ".join(f"D{data.index(d) + 1}" for d in datasets)

    body = []
    for stored in cards:
        card, ran, where = stored.card, stored.card.environment, relative(stored.path, out)
        versions = {"python": ran.python, **ran.packages}
        shown = [f"{k} {versions[k]}" for k in ("dfbench", "jax", "python") if k in versions]
        body.append(
            [
                f"[{escape(stored.path.name.removesuffix(SUFFIX))}]({urllib.parse.quote(where)})",
                numbers(card.datasets.train),
                numbers(card.datasets.eval),
                f"`{_code(card.config_hash)}`",
                escape(card.protocol) if card.protocol else "-",
                escape(", ".join(shown)),
                _commit(card),
                escape(f"{ran.device_count} x {ran.device_kind}"),
                escape(card.times.created[:16].replace("T", " ")),
            ]
        )
    return _table(head, body)


def relative(path: Path, folder: Path) -> str:
    """Return `path` as seen from `folder`, with forward slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _commit(card: ResultCard) -> str:
    commit, dirty = card.environment.git_commit, card.environment.git_dirty
    if commit is None:
        return "no checkout"
    return f"`{_code(commit)[:10]}`" + (" + uncommitted changes" if dirty else "")


def _code(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
