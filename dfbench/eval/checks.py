"""What can be wrong with scores by themselves: a file too large, a column and a row of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int, Num

from dfbench.errors import UserError
from dfbench.eval.table import UNDETECTED, ScoreTable, Text, sigmoid, video_codes

DISAGREE = 1e-3  # more than rounding does to a probability beside its logit
MOST_ROWS = 100_000_000
MOST_BYTES = 32 * 2**30  # of a CSV file; of a Parquet file, uncompressed


def require_size(path: Path, size: int, rows: int) -> None:
    """Refuse a file of scores that holds too much.

    Raises:
      UserError: more than `MOST_BYTES` bytes or `MOST_ROWS` rows.
    """
    if size > MOST_BYTES or rows > MOST_ROWS:
        raise UserError(
            f"{path}: {rows:,} rows and {size:,} bytes; at most {MOST_ROWS:,} and {MOST_BYTES:,} "
            "are read"
        )


def is_utf8(text: Text) -> bool:
    """Tell whether all names of a column can be read: Parquet may call any bytes text."""
    try:
        text.names.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A rule that rows break."""

    column: str
    row: int  # the first one that does; the first row of a table is 1
    text: str
    rows: int = 1  # how many do

    def __str__(self) -> str:
        more = f" (and {self.rows - 1} more rows)" if self.rows > 1 else ""
        return f"column '{self.column}', row {self.row}: {self.text}{more}"


def problems(table: ScoreTable) -> list[Problem]:
    """Return every rule that a table breaks; none: its metrics are defined.

    Labels are 0 or 1, and one for a video; probabilities lie in [0, 1] and belong to their logits;
    only the one row of a video without a detected face (frame -1) has no score; no frame comes
    twice.
    """
    found = list(_value_problems(table))
    if any(p.column in ("label", "frame") for p in found):
        return found  # the rules of videos build on them
    return [*found, *_video_problems(table)]


def _value_problems(table: ScoreTable) -> Iterator[Problem]:
    p_fake, logit, frame, label = table.p_fake, table.logit, table.frame, table.label
    missing = np.isnan(p_fake)
    undetected = missing & (frame == UNDETECTED)
    rules: list[tuple[str, Num[np.ndarray, " rows"], Bool[np.ndarray, " rows"], str]] = [
        ("label", label, (label != 0) & (label != 1), "must be 0 (real) or 1 (fake)"),
        ("p_fake", p_fake, (p_fake < 0) | (p_fake > 1), "must lie in [0, 1]"),
        (
            "p_fake",
            p_fake,
            missing & (frame != UNDETECTED),
            f"may be empty only in the row of an undetected video (frame {UNDETECTED})",
        ),
        (
            "frame",
            frame,
            (frame < 0) & ~undetected,
            f"must be 0 or more, or {UNDETECTED} with an empty p_fake for an undetected video",
        ),
        ("logit", logit, np.isinf(logit), "must be finite"),
    ]
    for column, values, wrong, rule in rules:
        if wrong.any():
            yield _problem(column, wrong, f"{values[int(np.argmax(wrong))]:g} {rule}")
    apart = np.abs(sigmoid(logit) - p_fake) > DISAGREE
    if apart.any():
        row = int(np.argmax(apart))
        text = (
            f"{p_fake[row]:g} is not the sigmoid of its logit {logit[row]:g}; a logit belongs to "
            "P(fake), and one of the two columns is enough"
        )
        yield _problem("p_fake", apart, text)


def _video_problems(table: ScoreTable) -> Iterator[Problem]:
    code, frame, label = video_codes(table), table.frame, table.label
    videos = int(code.max(initial=-1)) + 1
    key = code.astype(np.int64) * (int(frame.max(initial=0)) + 2) + frame + 1
    ordered = np.sort(key)
    if (ordered[1:] == ordered[:-1]).any():
        twice = np.ones(len(key), bool)
        twice[np.unique(key, return_index=True)[1]] = False  # the first time is right
        row = int(np.argmax(twice))
        text = f"frame {frame[row]} of video '{table.video[row]}' comes twice"
        yield _problem("frame", twice, text)
    first = np.full(videos, len(code), np.int64)
    np.minimum.at(first, code, np.arange(len(code)))
    differs = label != label[first][code]
    if differs.any():
        row = int(np.argmax(differs))
        text = (
            f"video '{table.video[row]}' has the label {label[row]} here and "
            f"{label[first[code[row]]]} in row {first[code[row]] + 1}"
        )
        yield _problem("label", differs, text)
    undetected = frame == UNDETECTED
    scored = np.zeros(videos, bool)
    scored[code[~undetected]] = True
    mixed = undetected & scored[code]
    if mixed.any():
        row = int(np.argmax(mixed))
        text = f"video '{table.video[row]}' is marked as undetected but has scored frames"
        yield _problem("frame", mixed, text)


def _problem(column: str, wrong: Bool[np.ndarray, " rows"], text: str) -> Problem:
    rows: Int[np.ndarray, " _"] = np.flatnonzero(wrong)
    return Problem(column=column, row=int(rows[0]) + 1, text=text, rows=len(rows))
