"""`scores.parquet`: one row a scored frame, one row a video without any detected face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int32, Shaped
from numpy.typing import ArrayLike

from dfbench.errors import UserError

UNDETECTED = -1  # `frame` of the row of a video without any detected face

SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("manipulation", pa.string(), nullable=False),
        pa.field("video", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("logit", pa.float32()),
        pa.field("p_fake", pa.float32()),
    ]
)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of one evaluation, columns of equal length.

    A video is named by (`dataset`, `video`). A video without any detected face has one row, with
    `frame` -1 and NaN for `logit` and `p_fake`.
    """

    dataset: Shaped[np.ndarray, " rows"]  # str
    split: Shaped[np.ndarray, " rows"]  # str
    manipulation: Shaped[np.ndarray, " rows"]  # str
    video: Shaped[np.ndarray, " rows"]  # str
    frame: Int32[np.ndarray, " rows"]
    label: Int32[np.ndarray, " rows"]  # 1 = fake
    logit: Float32[np.ndarray, " rows"]
    p_fake: Float32[np.ndarray, " rows"]

    def __len__(self) -> int:
        return len(self.label)


def score_table(
    *,
    dataset: Sequence[str] | np.ndarray,
    split: Sequence[str] | np.ndarray,
    manipulation: Sequence[str] | np.ndarray,
    video: Sequence[str] | np.ndarray,
    frame: ArrayLike,
    label: ArrayLike,
    logit: ArrayLike,
) -> ScoreTable:
    """Build a table from logits; `p_fake` is their sigmoid, taken in float64.

    Raises:
      ValueError: columns of different lengths.
    """
    logits = np.asarray(logit, dtype=np.float32)
    table = ScoreTable(
        dataset=np.asarray(dataset, dtype=np.str_),
        split=np.asarray(split, dtype=np.str_),
        manipulation=np.asarray(manipulation, dtype=np.str_),
        video=np.asarray(video, dtype=np.str_),
        frame=np.asarray(frame, dtype=np.int32),
        label=np.asarray(label, dtype=np.int32),
        logit=logits,
        p_fake=sigmoid(logits),
    )
    shapes = {name: getattr(table, name).shape for name in SCHEMA.names}
    if any(shape != (len(logits),) for shape in shapes.values()):
        raise ValueError(f"columns of different shapes: {shapes}")
    return table


def sigmoid(logit: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Return 1 / (1 + exp(-logit)) without overflow; NaN stays NaN."""
    wide = logit.astype(np.float64)
    small = np.exp(-np.abs(wide))
    p: np.ndarray = np.where(wide >= 0, 1.0, small) / (1.0 + small)
    return np.where(np.isnan(wide), np.nan, p).astype(np.float32)


def write_scores(table: ScoreTable, path: Path) -> None:
    """Write a table that `read_scores` reads back; the file appears whole or not at all."""
    columns = [
        pa.array(getattr(table, f.name), type=f.type, from_pandas=True)  # NaN -> null
        for f in SCHEMA
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), temporary)
    temporary.replace(path)


def read_scores(path: Path) -> ScoreTable:
    """Read and check a table of scores, from this project or from anywhere; other columns are left.

    Raises:
      UserError: no Parquet file; a column is missing or of the wrong type; labels other than 0 and
        1; a video with two labels; `p_fake` outside [0, 1]; a row twice; no row. The message names
        file, column and row (the first row is 1).
    """
    try:
        file = pq.ParquetFile(path).read()  # not read_table: a path's `a=b` adds no column
    except (OSError, pa.ArrowException) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"{path}: cannot read scores: {reason.splitlines()[0]}") from error
    columns = {name: _column(file, name, path) for name in SCHEMA.names}
    if not len(file):
        raise UserError(f"{path}: holds no row; score at least one video")
    _check_values(columns, path)
    _check_videos(columns, path)
    for name in ("logit", "p_fake"):
        columns[name] = columns[name].astype(np.float32)
    return ScoreTable(**columns)


def _column(file: pa.Table, name: str, path: Path) -> np.ndarray:
    if name not in file.column_names:
        raise UserError(
            f"{path}: column '{name}' is missing; the columns are {', '.join(SCHEMA.names)}"
        )
    column = file[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    wanted = SCHEMA.field(name)
    right, word = {
        pa.string(): (
            pa.types.is_string(column.type) or pa.types.is_large_string(column.type),
            "text",
        ),
        pa.int32(): (pa.types.is_integer(column.type), "integers"),
        pa.float32(): (
            pa.types.is_floating(column.type) or pa.types.is_null(column.type),
            "floats",
        ),
    }[wanted.type]
    if not right:
        raise UserError(f"{path}: column '{name}' holds {column.type}, not {word}")
    if not wanted.nullable and column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"{path}: column '{name}', row {row + 1}: a value is missing")
    values: np.ndarray
    if wanted.type == pa.string():
        values = column.to_numpy().astype(np.str_)
    elif wanted.type == pa.int32():
        try:
            values = column.cast(pa.int32()).to_numpy()
        except pa.ArrowInvalid as error:
            raise UserError(f"{path}: column '{name}': {error}") from error
    else:
        values = column.cast(pa.float64()).to_numpy().astype(np.float64)  # null -> NaN
    return values


def _check_values(columns: dict[str, np.ndarray], path: Path) -> None:
    label, p_fake, frame = columns["label"], columns["p_fake"], columns["frame"]
    missing = np.isnan(p_fake)
    checks = [
        ("label", (label != 0) & (label != 1), "must be 0 (real) or 1 (fake)"),
        ("p_fake", ~missing & ~((p_fake >= 0) & (p_fake <= 1)), "must lie in [0, 1]"),
        (
            "p_fake",
            missing & (frame != UNDETECTED),
            f"may be empty only in the row of an undetected video (frame {UNDETECTED})",
        ),
        (
            "frame",
            (frame < 0) & ~(missing & (frame == UNDETECTED)),
            f"must be 0 or more, or {UNDETECTED} with an empty p_fake for an undetected video",
        ),
        ("logit", np.isinf(columns["logit"]), "must be finite"),
    ]
    for name, wrong, rule in checks:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise UserError(f"{path}: column '{name}', row {row + 1}: {columns[name][row]} {rule}")


def _check_videos(columns: dict[str, np.ndarray], path: Path) -> None:
    group = video_codes(columns["dataset"], columns["video"])
    names, label, frame = columns["video"], columns["label"], columns["frame"]
    # Sorted by video, then frame, then row: what conflicts with its neighbour conflicts at all.
    order = np.lexsort((np.arange(len(group)), frame, group))
    same = group[order][1:] == group[order][:-1]
    twice = same & (frame[order][1:] == frame[order][:-1])
    if twice.any():
        row = int(order[1:][twice].min())
        raise UserError(
            f"{path}: column 'frame', row {row + 1}: frame {frame[row]} of video '{names[row]}' "
            "comes twice"
        )
    first = np.full(group.max() + 1, len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    differs = label != label[first[group]]
    if differs.any():
        row = int(np.flatnonzero(differs)[0])
        raise UserError(
            f"{path}: column 'label', row {row + 1}: video '{names[row]}' has the label "
            f"{label[row]} here and {label[first[group[row]]]} in row {first[group[row]] + 1}"
        )
    mixed = same & (frame[order][:-1] == UNDETECTED)
    if mixed.any():
        row = int(order[:-1][mixed].min())
        raise UserError(
            f"{path}: column 'frame', row {row + 1}: video '{names[row]}' is marked as undetected "
            "but has scored frames"
        )


def video_codes(
    dataset: Shaped[np.ndarray, " rows"], video: Shaped[np.ndarray, " rows"]
) -> Shaped[np.ndarray, " rows"]:
    """Return the number of each row's video, 0 to videos - 1, in the order of (dataset, video)."""
    _, datasets = np.unique(dataset, return_inverse=True)
    names, videos = np.unique(video, return_inverse=True)
    codes: np.ndarray = np.unique(datasets * len(names) + videos, return_inverse=True)[1]
    return codes
