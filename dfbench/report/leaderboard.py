"""Cards to the leaderboard's files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from dfbench.errors import UserError
from dfbench.report.markdown import METRICS, leaderboard_markdown, relative
from dfbench.report.overlap import COUNTS
from dfbench.report.picture import write_matrix_png
from dfbench.results.card import Metric
from dfbench.results.store import StoredCard, sort_key


def write_leaderboard(cards: Sequence[StoredCard], out: Path) -> list[Path]:
    """Write README.md, leaderboard.csv and matrix.png into `out` and return their paths.

    They are a pure function of the cards and of where these lie relative to `out`: the same cards
    in any order give the same bytes.

    Raises:
      UserError: no card.
    """
    if not cards:
        raise UserError("the leaderboard needs at least one result card")
    ordered = sorted(cards, key=sort_key)
    out.mkdir(parents=True, exist_ok=True)
    picture = out / "matrix.png"
    write_matrix_png([stored.card for stored in ordered], picture)
    page = out / "README.md"
    _write(page, leaderboard_markdown(ordered, out, picture.name))
    rows = out / "leaderboard.csv"
    _write(rows, leaderboard_csv(ordered, out))
    return [page, rows, picture]


def leaderboard_csv(cards: Sequence[StoredCard], out: Path) -> str:
    """Return one row a cell, with every metric at full precision; empty where undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("", "_low", "_high", "_n", "_reason")
    writer.writerow(
        [
            *("model", "train", "eval", "seed", "role", "protocol"),
            *(f"{name}{part}" for name in METRICS for part in parts),
            *(f"{c}_{what}" for c in ("real", "fake") for what in ("clips", "clips_with_crops")),
            *(*COUNTS, "overlapping_clips", "leak_allowed", "config_hash", "training_hash"),
            *("created", "dfbench", "git_commit", "git_dirty", "card"),
        ]
    )
    for stored in cards:
        card, cell, ran = stored.card, stored.card.cell, stored.card.environment
        values: list[object] = [cell.model, cell.train, cell.eval, cell.seed, card.role]
        values.append(card.protocol)
        for name in METRICS:
            m = card.metrics.get(name, Metric(value=None, reason="not computed"))
            values += [m.value, m.low, m.high, m.n, m.reason]
        for label in ("real", "fake"):
            covered = card.coverage.get(label)
            values += [covered.clips, covered.clips_with_crops] if covered else [0, 0]
        values += [getattr(card.audit, name, None) for name in (*COUNTS, "clips", "allowed")]
        values += [card.config_hash, card.training_hash, card.times.created]
        values += [ran.packages.get("dfbench"), ran.git_commit, ran.git_dirty]
        writer.writerow([*values, relative(stored.path, out)])
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)
