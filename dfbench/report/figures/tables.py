"""A card as tables and lines of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dfbench.report.measures import MEASURES
from dfbench.report.overlap import overlap_words
from dfbench.results.card import ResultCard

NONE = "-"


@dataclass(frozen=True)
class Table:
    """Plain text in rows; the first column names the row."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    folded: bool = False  # shown when asked for


def warnings(card: ResultCard) -> list[str]:
    """Return what a reader has to know before the numbers, the gravest first."""
    found = []
    if shared := overlap_words(card.audit):
        note = f" ({card.audit.note})" if card.audit and card.audit.note else ""
        found.append(
            f"Training and evaluated data share {shared}{note}: this does not measure how well the "
            "detector works on new data."
        )
    if card.role == "unknown" or card.audit is None:
        found.append(
            "What this detector was trained on is not known or not here, so nobody could look "
            "whether it has seen these videos."
        )
    found += card.warnings
    found += [
        f"Faces of {d.name} were found by another detector: {d.detector_note}"
        for d in card.datasets.eval
        if d.detector_note
    ]
    missing = {k: c.clips - c.clips_with_crops for k, c in card.coverage.items()}
    if any(missing.values()):
        said = " and ".join(f"{n} {name}" for name, n in missing.items() if n)
        found.append(
            f"No face was found in {said} videos; they are left out of all metrics but those that "
            "say all videos."
        )
    return found


ROLES = {
    "within": "within-dataset",
    "across": "cross-dataset",
    "unknown": "training data unknown",
}


def role_words(card: ResultCard) -> str:
    """Say what this evaluation is a test of."""
    more = {
        "within": ": the test split of the training dataset",
        "across": ": trained on other data",
    }
    crops = f"; crops degraded by {card.cell.degrade}" if card.cell.degrade else ""
    return f"{ROLES[card.role]}{more.get(card.role, '')}{crops}"


def metrics_table(card: ResultCard, confidence: float) -> Table:
    """Return the main metrics with their intervals."""
    names = [name for name in MEASURES if name in card.metrics]
    note = (
        "Intervals resample whole videos, also those of frames. n: videos or frames counted. "
        "A metric that cannot be had is undefined, and says why."
    )
    return _metrics("Metrics", card, names, confidence, note)


def other_metrics_table(card: ResultCard, confidence: float) -> Table | None:
    """Return the other metrics with their intervals; None where there are none."""
    names = [name for name in card.metrics if name not in MEASURES]
    table = _metrics(f"{len(names)} more metrics", card, names, confidence, "")
    return replace(table, folded=True) if names else None


def _metrics(
    title: str, card: ResultCard, names: Sequence[str], confidence: float, note: str
) -> Table:
    rows = []
    for name in names:
        m = card.metrics[name]
        low_high = NONE if m.low is None or m.high is None else f"[{m.low:.3f}, {m.high:.3f}]"
        value = "undefined" if m.value is None else f"{m.value:.3f}"
        rows.append((metric_label(name), value, low_high, f"{m.n:,}", m.reason))
    head = ("metric", "value", f"{100 * confidence:g} % interval", "n", "reason")
    return _table(title, head, rows, note)


def meanings_table(cards: Sequence[ResultCard]) -> Table:
    """Return what the main metrics mean."""
    rows = [
        (measure.label, measure.about)
        for name, measure in MEASURES.items()
        if any(name in card.metrics for card in cards)
    ]
    return Table("What the metrics mean", ("", ""), tuple(rows), folded=True)


def metric_label(name: str) -> str:
    """Return what a metric is called."""
    return MEASURES[name].label if name in MEASURES else name.replace("_", " ")


def coverage_table(card: ResultCard) -> Table:
    """Return how much of the evaluated split could be scored."""
    rows = []
    for name, c in card.coverage.items():
        reasons = "; ".join(f"{why}: {n}" for why, n in c.reasons.items())
        videos = _of(c.clips_with_crops, c.clips)
        rows.append((name, videos, _of(c.frames, c.frames_wanted), reasons))
    return _table(
        "Coverage",
        ("class", "videos with a face", "frames with a face", "why videos have none"),
        rows,
        "Faces that were not found are counted, not dropped.",
    )


def _of(part: int, whole: int) -> str:
    share = f" ({100 * part / whole:.1f} %)" if whole else ""
    return f"{part:,} of {whole:,}{share}"


def breakdown_table(card: ResultCard) -> Table | None:
    """Return every metric of every part, or None where the card has no parts."""
    names = list(dict.fromkeys(name for metrics in card.breakdown.values() for name in metrics))
    rows = []
    for part, metrics in card.breakdown.items():
        cells = []
        for name in names:
            m = metrics.get(name)
            if m is None:
                cells.append(NONE)
            elif m.value is None:
                cells.append(f"undefined: {m.reason}")
            else:
                spread = "" if m.low is None or m.high is None else f" [{m.low:.3f}, {m.high:.3f}]"
                cells.append(f"{m.value:.3f}{spread}, n = {m.n:,}")
        rows.append((part, *cells))
    if not rows:
        return None
    head = ("part", *map(metric_label, names))
    note = "Fakes of each part against all reals."
    return Table("All metrics of all parts", head, tuple(rows), note, folded=True)


def chosen_table(card: ResultCard) -> Table | None:
    """Return what was chosen for this evaluation without looking at it; None for nothing."""
    c = card.calibration
    if c is None:
        return None
    rows = [
        ("threshold", NONE if c.threshold is None else f"{c.threshold:.4g}"),
        ("temperature", NONE if c.temperature is None else f"{c.temperature:.4g}"),
        ("videos", f"{c.videos:,}"),
    ]
    return Table("Chosen on source val", ("", ""), tuple(rows), c.reason)


def oracle_table(card: ResultCard) -> Table | None:
    """Return the oracle gap; None where nobody asked for it."""
    o = card.oracle
    if o is None:
        return None
    rows = [
        ("best epoch here", f"{o.epoch} of {o.epochs} compared"),
        ("its video AUC", NONE if o.video_auc is None else f"{o.video_auc:.3f}"),
        ("gain", NONE if o.gain is None else f"{o.gain:+.3f}"),
    ]
    note = (
        "What choosing the checkpoint on these very videos would have gained. It is no result: "
        "nobody has such labels when it matters."
    )
    return Table("Oracle gap", ("", ""), tuple(rows), note)


def facts_table(card: ResultCard) -> Table:
    """Return where the numbers come from."""
    rows = [
        ("detector", card.cell.model),
        ("trained on", card.cell.train or "not known"),
        ("seed", str(card.cell.seed)),
        ("protocol", card.protocol or "none"),
        ("scores", "of a run" if card.origin == "run" else "handed in"),
    ]
    if t := card.training:
        epoch = f"epoch {t.best_epoch} of {t.epochs}, " if t.epochs else ""  # none: classical
        rows += [
            ("checkpoint", f"{epoch}chosen by {t.selected_by}"),
            (
                "training",
                f"{t.steps:,} {'steps' if t.epochs else 'fits'} in {t.wall_seconds:,.0f} s",
            ),
        ]
    e = card.environment
    commit = "" if e.git_commit is None else f", commit {e.git_commit[:10]}"
    dirty = " with changes" if e.git_dirty else ""
    devices = e.device_count and e.device_kind  # none: scored elsewhere
    rows += [
        ("software", f"dfbench {e.packages.get('dfbench', '?')}{commit}{dirty}"),
        ("machine", f"{e.device_count} x {e.device_kind}, {e.platform}" if devices else e.platform),
        ("configuration", card.config_hash),
    ]
    return Table("Where the numbers come from", ("", ""), tuple(rows))


def overview_table(cards: Sequence[ResultCard], percent: str) -> Table:
    """Return one row for each evaluated dataset; `percent` is the level of their intervals."""
    rows = []
    for card in cards:
        m = card.metrics.get("video_auc")
        value = "undefined" if m is None or m.value is None else f"{m.value:.3f}"
        spread = (
            NONE if m is None or m.low is None or m.high is None else f"[{m.low:.3f}, {m.high:.3f}]"
        )
        clips = sum(c.clips for c in card.coverage.values())
        found = sum(c.clips_with_crops for c in card.coverage.values())
        said = str(len(warnings(card)) or "")
        rows.append((card.cell.scored, ROLES[card.role], value, spread, _of(found, clips), said))
    head = ("dataset", "kind", "video AUC", f"{percent} interval", "videos with a face", "warnings")
    return _table("Evaluated datasets", head, rows)


def _table(
    title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], note: str = ""
) -> Table:
    """Return a table without its last column where that is empty."""
    wide = len(head) if any(row[-1] for row in rows) else len(head) - 1
    return Table(title, head[:wide], tuple(row[:wide] for row in rows), note)
