"""The matrix for a terminal."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from dfbench.report.matrix import (
    Matrix,
    column_label,
    legend,
    marks,
    matrix,
    n_text,
    row_label,
    shared,
    short,
    spread_text,
    undefined,
    value_text,
)
from dfbench.results.card import ResultCard


def matrix_text(cards: Sequence[ResultCard], width: int = 100) -> str:
    """Return the matrix as aligned lines, with its legend.

    Columns that do not fit into `width` characters go into further blocks below.
    """
    if not cards:
        return "no results"
    table = matrix(cards)
    first = ["", "model, trained on", *(short(row_label(row), 44) for row in table.rows)]
    columns = [_column(table, j) for j in range(len(table.columns))]
    blocks = [
        "\n".join(aligned([first, *(columns[j] for j in block)]))
        for block in _blocks(_width(first), [_width(c) for c in columns], width)
    ]
    notes = [
        textwrap.fill(note, width, subsequent_indent="  ", break_on_hyphens=False)
        for note in (*legend(table), *shared(table), *undefined(table))
    ]
    return "\n\n".join([*blocks, "\n".join(notes)])


def _column(table: Matrix, j: int) -> list[str]:
    here = [e for (_, column), e in table.entries.items() if column == j]
    n = n_text((min(e.n[0] for e in here), max(e.n[1] for e in here)))
    covered = f"{n} of {max(e.clips for e in here)}"
    lines = [short(column_label(table.columns[j]), 32), covered]
    for i in range(len(table.rows)):
        entry = table.entries.get((i, j))
        if entry is None:
            lines.append("-")
        else:
            parts = (value_text(entry.value), spread_text(entry), marks(entry))
            lines.append(" ".join(part for part in parts if part))
    return lines


def _blocks(first: int, widths: Sequence[int], width: int) -> list[list[int]]:
    """Split the columns into blocks that fit; a block has at least one column."""
    blocks: list[list[int]] = []
    used = 0
    for j, own in enumerate(widths):
        if not blocks or used + 2 + own > width:
            blocks.append([])
            used = first
        blocks[-1].append(j)
        used += 2 + own
    return blocks


def aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, of whatever script."""
    widths = [_width(column) for column in columns]
    return [
        "  ".join(_pad(text, size) for text, size in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    ]


def _width(column: Sequence[str]) -> int:
    return max(_cells(text) for text in column)


def _pad(text: str, size: int) -> str:
    return text + " " * (size - _cells(text))


def _cells(text: str) -> int:
    """Return how many places of a terminal's line the text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
