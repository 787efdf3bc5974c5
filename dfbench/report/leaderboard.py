"""Cards to the leaderboard's files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path

from dfbench.files import write_text
from dfbench.report.markdown import leaderboard_markdown
from dfbench.report.markdown_text import relative
from dfbench.report.measures import MEASURES
from dfbench.report.overlap import COUNTS
from dfbench.report.page.build import leaderboard_html
from dfbench.report.picture import write_matrix_png
from dfbench.report.published import COLUMNS, PublishedResult
from dfbench.results.card import Metric
from dfbench.results.standings import StandingGroup
from dfbench.results.store import StoredCard, sort_key

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet would compute or swallow


def write_leaderboard(
    cards: Sequence[StoredCard],
    out: Path,
    standings: Sequence[StandingGroup] = (),
    published: Sequence[PublishedResult] = (),
) -> list[Path]:
    """Write README.md, index.html, leaderboard.csv, published.csv and matrix.png into `out`.

    They are a pure function of what is given and of where the cards lie relative to `out`: the
    same cards in any order give the same bytes. Without cards the pages say how to get results.

    Returns:
      The paths, in this order.
    """
    ordered = sorted(cards, key=sort_key)
    plain_cards = [stored.card for stored in ordered]
    clean = [card for card in plain_cards if not card.cell.degrade]
    out.mkdir(parents=True, exist_ok=True)
    picture = out / "matrix.png"
    if clean:
        write_matrix_png(clean, picture)
    else:
        picture.unlink(missing_ok=True)
    texts = {
        "README.md": leaderboard_markdown(
            ordered, out, picture.name if clean else None, standings, published
        ),
        "index.html": leaderboard_html(plain_cards, standings, published),
        "leaderboard.csv": leaderboard_csv(ordered, out),
        "published.csv": published_csv(published),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [*(out / name for name in texts), *([picture] if clean else [])]


def leaderboard_csv(cards: Sequence[StoredCard], out: Path) -> str:
    """Return one row a cell, with every metric at full precision; empty where undefined."""
    parts = ("", "_low", "_high", "_n", "_reason")
    metrics = _metrics(cards)
    head = [
        *("model", "train", "eval", "seed", "role", "origin", "protocol"),
        *(f"{name}{part}" for name in metrics for part in parts),
        *("threshold", "temperature", "oracle_epoch", "oracle_video_auc", "oracle_gain"),
        *(f"{c}_{what}" for c in ("real", "fake") for what in ("clips", "clips_with_crops")),
        *(*COUNTS, "overlapping_clips", "leak_allowed", "config_hash", "training_hash"),
        *("created", "dfbench", "git_commit", "git_dirty", "card"),
    ]
    return csv_text([head, *(_row(stored, metrics, out) for stored in cards)])


def _metrics(cards: Iterable[StoredCard]) -> list[str]:
    """Return the metrics that cards have: those of the pages first, then the others by name."""
    there = {name for stored in cards for name in stored.card.metrics}
    return [*(name for name in MEASURES if name in there), *sorted(there - set(MEASURES))]


def _row(stored: StoredCard, metrics: Sequence[str], out: Path) -> list[object]:
    card, cell, ran = stored.card, stored.card.cell, stored.card.environment
    values: list[object] = [cell.model, cell.train, cell.scored, cell.seed, card.role]
    values += [card.origin, card.protocol]
    for name in metrics:
        m = card.metrics.get(name, Metric(value=None, reason="not computed"))
        values += [m.value, m.low, m.high, m.n, m.reason]
    values += [getattr(card.calibration, name, None) for name in ("threshold", "temperature")]
    values += [getattr(card.oracle, name, None) for name in ("epoch", "video_auc", "gain")]
    for label in ("real", "fake"):
        covered = card.coverage.get(label)
        values += [covered.clips, covered.clips_with_crops] if covered else [0, 0]
    values += [getattr(card.audit, name, None) for name in (*COUNTS, "clips", "allowed")]
    values += [card.config_hash, card.training_hash, card.times.created]
    values += [ran.packages.get("dfbench"), ran.git_commit, ran.git_dirty]
    return [*values, relative(stored.path, out)]


def published_csv(published: Sequence[PublishedResult]) -> str:
    """Return the numbers of others in the columns of their files."""
    checked = {True: "yes", False: "no"}
    return csv_text(
        [COLUMNS, *((*astuple(one)[:-2], checked[one.checked], one.system) for one in published)]
    )


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV that is safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_harmless(value) for value in row] for row in rows)
    return text.getvalue()


def _harmless(value: object) -> object:
    """Return text that no spreadsheet takes for a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = f"'{value}" if value.startswith(FORMULA) else value
    return text.replace("\r", " ")  # which Python 3.11 and 3.12 would not quote
