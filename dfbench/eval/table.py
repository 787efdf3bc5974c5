"""The table of scores in memory: one row a scored frame, or a video without a detected face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32, Int, Int32, Shaped
from numpy.typing import ArrayLike

UNDETECTED = -1  # `frame` of the row of a video without any detected face

Rows = Shaped[np.ndarray, " _"]  # positions, or a mask


@dataclass(frozen=True, eq=False)
class Text:
    """A column of text in which names repeat: a number a row, and each name once.

    Ten million rows take 40 MB; as NumPy text of 30 letters they would take 1.2 GB.
    """

    codes: Int32[np.ndarray, " rows"]  # position in `names`
    names: pa.LargeStringArray  # sorted, so that codes sort as their names do

    @classmethod
    def of(cls, values: Sequence[str] | np.ndarray | pa.Array | pa.ChunkedArray) -> Text:
        """Encode values."""
        if not isinstance(values, pa.Array | pa.ChunkedArray):
            values = pa.array(np.asarray(values, np.str_).astype(object), pa.large_string())
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()  # before chunks are joined: names fit into one
        if isinstance(values, pa.ChunkedArray):
            values = values.unify_dictionaries().combine_chunks()
        names, codes = values.dictionary.cast(pa.large_string()), values.indices
        # A writer may list a name twice, or one that no row has.
        order = pc.sort_indices(names)
        names, first = _distinct(names.take(order))
        rank = np.empty(len(first), np.int32)
        rank[order.to_numpy()] = first
        return cls(rank[codes.to_numpy()] if len(rank) else np.zeros(0, np.int32), names)

    @classmethod
    def constant(cls, value: str, rows: int) -> Text:
        """Return a column that says the same in each row."""
        return cls(np.zeros(rows, np.int32), pa.array([value], pa.large_string()))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, rows: int | np.integer[Any]) -> str: ...
    @overload
    def __getitem__(self, rows: slice | Rows) -> Text: ...
    def __getitem__(self, rows: int | np.integer[Any] | slice | Rows) -> str | Text:
        if isinstance(rows, int | np.integer):
            return str(self.names[int(self.codes[rows])].as_py())
        return Text(self.codes[rows], self.names)

    def tolist(self) -> list[str]:
        """Return the text of each row."""
        values: list[str] = self.names.take(pa.array(self.codes)).to_pylist()
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.tolist(), dtype=dtype or np.str_)

    def equal_to(self, value: str) -> Bool[np.ndarray, " rows"]:
        """Return where the column says `value`."""
        found = pc.index(self.names, pa.scalar(value, self.names.type)).as_py()
        mask: np.ndarray = self.codes == found
        return mask

    def used(self) -> list[str]:
        """Return the names that rows have, sorted."""
        there = np.zeros(len(self.names), bool)
        there[self.codes] = True
        names: list[str] = self.names.filter(pa.array(there)).to_pylist()
        return names

    def to_arrow(self) -> pa.DictionaryArray:
        """Return the column as pyarrow has it."""
        return pa.DictionaryArray.from_arrays(pa.array(self.codes), self.names)


def _distinct(names: pa.Array) -> tuple[pa.Array, Int32[np.ndarray, " n"]]:
    """Return sorted names once each, and the position of each of `names` among them."""
    if len(names) < 2:
        return names, np.zeros(len(names), np.int32)
    new = np.r_[True, pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)]
    return names.filter(pa.array(new)), np.cumsum(new, dtype=np.int32) - np.int32(1)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of one evaluation, columns of equal length.

    A video is named by (`dataset`, `video`). A video without any detected face has one row, with
    `frame` -1 and NaN for `logit` and `p_fake`.
    """

    dataset: Text
    split: Text
    manipulation: Text
    video: Text
    frame: Int32[np.ndarray, " rows"]
    label: Int32[np.ndarray, " rows"]  # 1 = fake
    logit: Float32[np.ndarray, " rows"]  # NaN as well where only a probability was handed in
    p_fake: Float32[np.ndarray, " rows"]
    identity: Text | None = None  # who is seen; an empty name, and None for all: not known

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Rows) -> ScoreTable:
        """Return some rows, by position or by a mask."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v[rows] for k, v in columns.items() if v is not None})


def score_table(
    *,
    dataset: Sequence[str] | np.ndarray | Text,
    split: Sequence[str] | np.ndarray | Text,
    manipulation: Sequence[str] | np.ndarray | Text,
    video: Sequence[str] | np.ndarray | Text,
    frame: ArrayLike,
    label: ArrayLike,
    logit: ArrayLike,
    identity: Sequence[str] | np.ndarray | Text | None = None,
) -> ScoreTable:
    """Build a table from logits; `p_fake` is their sigmoid, taken in float64.

    Raises:
      ValueError: columns of different lengths.
    """
    logits = np.asarray(logit, dtype=np.float32)
    table = ScoreTable(
        dataset=_text(dataset),
        split=_text(split),
        manipulation=_text(manipulation),
        video=_text(video),
        frame=np.asarray(frame, dtype=np.int32),
        label=np.asarray(label, dtype=np.int32),
        logit=logits,
        p_fake=sigmoid(logits),
        identity=None if identity is None else _text(identity),
    )
    columns = {f.name: getattr(table, f.name) for f in fields(table)}
    sizes = {name: len(column) for name, column in columns.items() if column is not None}
    if set(sizes.values()) != {logits.size}:
        raise ValueError(f"columns of different lengths: {sizes}")
    return table


def _text(values: Sequence[str] | np.ndarray | Text) -> Text:
    return values if isinstance(values, Text) else Text.of(values)


def sigmoid(logit: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Return 1 / (1 + exp(-logit)) without overflow; NaN stays NaN."""
    wide = logit.astype(np.float64)
    small = np.exp(-np.abs(wide))
    p: np.ndarray = np.where(wide >= 0, 1.0, small) / (1.0 + small)
    return p.astype(np.float32)


def dense_codes(*columns: Int[np.ndarray, " rows"]) -> Int32[np.ndarray, " rows"]:
    """Number the combinations of columns of codes: 0 to n - 1, in their order."""
    key = np.zeros(len(columns[0]), np.int64)
    size = 1
    for column in columns:
        width = int(column.max(initial=0)) + 1
        key = key * width + column
        size *= width
    if size > 4 * len(key) + 1_000_000:  # mostly gaps
        return np.unique(key, return_inverse=True)[1].astype(np.int32)
    there = np.zeros(size, bool)
    there[key] = True
    return np.cumsum(there, dtype=np.int32)[key] - np.int32(1)


def video_codes(table: ScoreTable) -> Int32[np.ndarray, " rows"]:
    """Return the number of each row's video, 0 to videos - 1, in the order of (dataset, video)."""
    return dense_codes(table.dataset.codes, table.video.codes)


def in_order(table: ScoreTable) -> ScoreTable:
    """Return the rows by video and frame, so that sums over them are the same for any order."""
    key = video_codes(table).astype(np.int64) * (int(table.frame.max(initial=0)) + 2)
    key += table.frame + 1
    if (key[1:] >= key[:-1]).all():
        return table
    return table.take(np.argsort(key, kind="stable"))
