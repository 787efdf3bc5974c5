"""What a search found, as the table of the report of the UADFV lab and as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from dfbench.classical.search import Candidate
from dfbench.files import write_json

HEAD = ("Model", "PCA", "Parameters", "AUC (CV)")


def best_rows(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the best of each classifier without PCA, and with it; of equal ones the first."""
    best: dict[tuple[str, bool], Candidate] = {}
    for one in candidates:
        key = (one.family, one.pca is not None)
        if key not in best or one.mean > best[key].mean:
            best[key] = one
    return list(best.values())


def markdown(candidates: Sequence[Candidate], title: str) -> str:
    """Return a page with the table of `best_rows`: the mean over the folds, and their spread."""
    rows = [HEAD, tuple("---" for _ in HEAD), *map(_row, best_rows(candidates))]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    note = "Mean over the folds, and their standard deviation."
    return "\n".join([f"# {title}", "", *lines, "", note, ""])


def text(candidates: Sequence[Candidate]) -> str:
    """Return the same table for a terminal."""
    rows = [HEAD, *map(_row, best_rows(candidates))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(one: Candidate) -> tuple[str, str, str, str]:
    values = ", ".join(f"{name} = {_short(value)}" for name, value in one.parameters.items())
    share = "no" if one.pca is None else f"{one.pca:.2f}"
    return one.family, share, values, f"{one.mean:.4f} ± {one.spread:.4f}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_search(candidates: Sequence[Candidate], path: Path) -> None:
    """Write every candidate with its AUC on each fold, as JSON."""
    rows = [
        {**msgspec.to_builtins(one), "mean": one.mean, "spread": one.spread} for one in candidates
    ]
    write_json(path, rows)
