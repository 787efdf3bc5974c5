"""Score files, Parquet or CSV: one row a scored frame, one row a video without a detected face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfbench.errors import UserError
from dfbench.eval.checks import is_utf8, problems
from dfbench.eval.csv_scores import read_csv
from dfbench.eval.parquet_scores import DAMAGED, read_parquet
from dfbench.eval.table import UNDETECTED, ScoreTable, Text, score_table, sigmoid
from dfbench.files import whole

__all__ = [
    "SCHEMA",
    "UNDETECTED",
    "ScoreTable",
    "Text",
    "read_scores",
    "read_unchecked",
    "score_table",
    "sigmoid",
    "write_scores",
]

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
IDENTITY = pa.field("identity", pa.string(), nullable=False)  # only where it is known
COLUMNS = (*SCHEMA.names, IDENTITY.name)
CSV = (".csv", ".csv.gz")


def write_scores(table: ScoreTable, path: Path) -> None:
    """Write a table that `read_scores` reads back; the file appears whole or not at all."""
    schema = SCHEMA if table.identity is None else SCHEMA.append(IDENTITY)
    columns = []
    for field in schema:
        values = getattr(table, field.name)
        if isinstance(values, Text):
            columns.append(values.to_arrow().cast(pa.string()))
        else:
            columns.append(pa.array(values, type=field.type, from_pandas=True))  # NaN -> null
    with whole(path) as unfinished:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), unfinished)


def read_scores(path: Path) -> ScoreTable:
    """Read and check a table of scores, from this project or from anywhere.

    Columns: those of `SCHEMA`, and `identity`; others are left. `p_fake` or `logit` suffices;
    `dataset`, `split`, `manipulation` and `identity` may be missing, and `frame` where each video
    has a single score. The suffix tells CSV (with a header row) from Parquet.

    Raises:
      UserError: no such file, or what `dfbench.eval.checks` finds; the message names file, column
        and row (the first row below a header is 1).
    """
    table = read_unchecked(path)
    found = problems(table)
    if found:
        raise UserError(f"{path}: {found[0]}")
    return table


def read_unchecked(path: Path) -> ScoreTable:
    """Read a table of scores whose values may be wrong (`dfbench.eval.checks.problems`).

    Raises:
      UserError: no such file, no CSV and no Parquet, no row; a column is missing or of the wrong
        type.
    """
    csv = path.name.lower().endswith(CSV)
    file = read_csv(path, COLUMNS) if csv else _read_parquet(path)
    _check_names(file.column_names, path)
    if not len(file):
        raise UserError(f"{path}: holds no row; score at least one video")
    table = _table(file, path)
    del file
    pa.default_memory_pool().release_unused()  # of ten million rows 1 GB
    return table


def _table(file: pa.Table, path: Path) -> ScoreTable:
    rows = len(file)
    text = {
        name: _text(file, name, path) if name in file.column_names else Text.constant("", rows)
        for name in ("dataset", "split", "manipulation", "video")
    }
    logit, p_fake = _floats(file, "logit", path), _floats(file, "p_fake", path)
    missing = np.full(rows, np.nan, np.float32)
    if p_fake is None:
        p_fake = missing if logit is None else sigmoid(logit)
    return ScoreTable(
        **text,
        frame=_integers(file, "frame", path) if "frame" in file.column_names else _frames(p_fake),
        label=_integers(file, "label", path),
        logit=missing if logit is None else logit,
        p_fake=p_fake,
        identity=_text(file, "identity", path) if "identity" in file.column_names else None,
    )


def _read_parquet(path: Path) -> pa.Table:
    try:
        return read_parquet(path, COLUMNS)[0]
    except DAMAGED as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"{path}: cannot read scores: {reason.splitlines()[0]}") from error


def _check_names(names: list[str], path: Path) -> None:
    for name in ("video", "label"):
        if name not in names:
            raise UserError(
                f"{path}: column '{name}' is missing; the columns are {', '.join(SCHEMA.names)}"
            )
    if "p_fake" not in names and "logit" not in names:
        raise UserError(f"{path}: column 'p_fake' is missing, and 'logit' too; one is needed")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: column '{name}' comes twice")


def _frames(p_fake: np.ndarray) -> np.ndarray:
    """Number the only score of each video; one without a score is undetected."""
    return np.where(np.isnan(p_fake), UNDETECTED, 0).astype(np.int32)


def _column(file: pa.Table, name: str, path: Path, kind: str) -> pa.ChunkedArray:
    """Return a column after its type was looked at."""
    column = file[name]
    values = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    right = {
        "text": pa.types.is_string(values) or pa.types.is_large_string(values),
        "integers": pa.types.is_integer(values),
        "floats": pa.types.is_floating(values) or pa.types.is_null(values),
    }[kind]
    if not right:
        raise UserError(f"{path}: column '{name}' holds {values}, not {kind}")
    if kind != "floats" and column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"{path}: column '{name}', row {row + 1}: a value is missing")
    if values is not column.type and kind != "text":
        column = column.cast(values)
    return column


def _text(file: pa.Table, name: str, path: Path) -> Text:
    text = Text.of(_column(file, name, path, "text"))
    if not is_utf8(text):
        raise UserError(f"{path}: column '{name}' holds text that is not UTF-8")
    return text


def _integers(file: pa.Table, name: str, path: Path) -> np.ndarray:
    column = _column(file, name, path, "integers")
    try:
        values: np.ndarray = column.cast(pa.int32()).to_numpy()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: column '{name}': {error}") from error
    return values


def _floats(file: pa.Table, name: str, path: Path) -> np.ndarray | None:
    if name not in file.column_names:
        return None
    column = _column(file, name, path, "floats")
    values: np.ndarray = column.cast(pa.float64()).to_numpy()  # null -> NaN
    with np.errstate(over="ignore"):  # to infinity, which the checks name
        return values.astype(np.float32)
