"""The leaderboard's page."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path

from dfbench.report.matrix import (
    Entry,
    Matrix,
    legend,
    marks,
    matrix,
    n_text,
    plain,
    spread_text,
    undefined,
    value_text,
)
from dfbench.results.card import Coverage, DatasetFingerprint, Metric, ResultCard
from dfbench.results.store import StoredCard

SPECIAL = frozenset("\\`*_[]<>|~$&")

# Of the second table, in this order.
METRICS = {
    "video_auc": "video AUC",
    "video_auc_all": "video AUC, all videos",
    "frame_auc": "frame AUC",
    "video_ap": "video AP",
    "frame_ap": "frame AP",
    "video_eer": "video EER",
    "video_accuracy": "video accuracy",
    "frame_accuracy": "frame accuracy",
}


def leaderboard_markdown(cards: Sequence[StoredCard], out: Path, picture: str | None) -> str:
    """Return the text of the page.

    Args:
      cards: In the order in which the tables list them.
      out: The page's folder; the paths of cards are written relative to it.
      picture: File name of the heat map beside the page; None: without it.
    """
    table = matrix(stored.card for stored in cards)
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
        "## How to read it",
        _bullets(_how_to_read(table)),
        "## All metrics",
        "One row a cell and seed, with the interval and the number of videos or frames counted. "
        "*All videos*: a video without any detected face is scored 0.5. Accuracy is taken at the "
        "threshold 0.5. *Coverage*: clips with a detected face, of all clips of the evaluated "
        "split. *Overlap*: what training and evaluated data share.",
        _metrics_table(cards),
        "## Provenance",
        _provenance_table(cards, out),
        "",
    ]
    return "\n\n".join(parts).rstrip("\n") + "\n"


def escape(text: str) -> str:
    """Return text that markdown shows as it is, on one line, also inside a table."""
    shown = "".join(f"\\{c}" if c in SPECIAL else c for c in plain(text).strip())
    if re.match(r"[#+=-]|\d+[.)]", shown):  # would begin a heading or a list
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
            "**Bold**: highest of its column among cross-dataset entries, to three digits. "
            "Within-dataset entries do not compete. Overlapping intervals mean that the order may "
            "be chance."
        )
    return lines + [escape(line) for line in undefined(table)]


def _matrix_table(table: Matrix) -> str:
    head = ["model", "trained on", *(escape(f"{c.eval} {c.tag}".strip()) for c in table.columns)]
    body = []
    for i, row in enumerate(table.rows):
        entries = [table.entries.get((i, j)) for j in range(len(table.columns))]
        name = [escape(row.model), escape(f"{row.train} {row.tag}".strip())]
        body.append([*name, *(_entry(entry) for entry in entries)])
    return _table(head, body)


def _entry(entry: Entry | None) -> str:
    if entry is None:
        return ""
    value = value_text(entry.value)
    parts = [f"**{value}**" if entry.best else value]
    parts[0] += marks(entry)
    parts += [spread_text(entry), n_text(entry.n)]
    return " ".join(part for part in parts if part)


def _metrics_table(cards: Iterable[StoredCard]) -> str:
    head = ["model", "trained on", "scored on", "seed", *METRICS.values(), "coverage", "overlap"]
    body = []
    for stored in cards:
        card, cell = stored.card, stored.card.cell
        within = "†" if card.role == "within" else ""
        name = [escape(cell.model), escape(cell.train), escape(cell.eval) + within, str(cell.seed)]
        values = [_metric(card.metrics.get(key)) for key in METRICS]
        body.append([*name, *values, coverage_text(card), overlap_text(card)])
    return _table(head, body)


def _metric(metric: Metric | None) -> str:
    if metric is None:
        return ""
    if metric.value is None:
        return f"undefined: {escape(metric.reason)}"
    interval = "[no interval]"
    if metric.low is not None and metric.high is not None:
        interval = f"[{metric.low:.3f}, {metric.high:.3f}]"
    return f"{metric.value:.3f} {interval} n={metric.n}"


def coverage_text(card: ResultCard) -> str:
    """Return how many clips of each class were scored, and why the others were not."""

    def one(name: str, covered: Coverage) -> str:
        reasons = ", ".join(f"{escape(k)}: {v}" for k, v in sorted(covered.reasons.items()))
        text = f"{name} {covered.clips_with_crops}/{covered.clips}"
        return f"{text} ({reasons})" if reasons else text

    return "; ".join(one(name, card.coverage[name]) for name in sorted(card.coverage, reverse=True))


def overlap_text(card: ResultCard) -> str:
    """Return what training and evaluated data share."""
    audit = card.audit
    text = f"{audit.shared_videos} videos, {audit.shared_identities} identities"
    if not audit.shared_videos and not audit.shared_identities:
        text = "none found"
    return f"{text} ({escape(audit.note)})" if audit.note else text


def _provenance_table(cards: Iterable[StoredCard], out: Path) -> str:
    head = [
        "card",
        "configuration",
        "protocol",
        "training data",
        "evaluated data",
        "detector",
        "dfbench",
        "commit",
        "device",
        "date (UTC)",
    ]
    body = []
    for stored in cards:
        card, where = stored.card, relative(stored.path, out)
        body.append(
            [
                f"[{escape(stored.path.name)}]({urllib.parse.quote(where)})",
                f"`{_code(card.config_hash)}`",
                escape(card.protocol or ""),
                "; ".join(fingerprint_text(d) for d in card.datasets.train),
                "; ".join(fingerprint_text(d) for d in card.datasets.eval),
                _detectors(card),
                escape(card.environment.packages.get("dfbench", "")),
                _commit(card),
                escape(f"{card.environment.device_count} x {card.environment.device_kind}"),
                escape(card.times.created[:16].replace("T", " ")),
            ]
        )
    return _table(head, body)


def relative(path: Path, folder: Path) -> str:
    """Return `path` as seen from `folder`, with forward slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()


def fingerprint_text(data: DatasetFingerprint) -> str:
    """Return a dataset's name, version, variant and the start of its clip list's hash."""
    variant = f", {escape(data.variant)}" if data.variant else ""
    clips = _code(data.clips_sha256)[:8]
    return f"{escape(data.name)} {escape(data.version)}{variant}, clips `{clips}`"


def _detectors(card: ResultCard) -> str:
    def used(datasets: Iterable[DatasetFingerprint]) -> str:
        found = {
            escape(str(d.recipe.get("detector", "?")))
            + (f" ({escape(d.detector_note)})" if d.detector_note else "")
            for d in datasets
        }
        return ", ".join(sorted(found))

    train, evaluated = used(card.datasets.train), used(card.datasets.eval)
    return train if train == evaluated else f"train: {train}; evaluated: {evaluated}"


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
