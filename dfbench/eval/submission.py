"""Scores as they are handed in: a CSV or Parquet file with few columns, read without trust.

Values that cannot be read are collected with their rows; nothing stops at the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64
from pyarrow import csv

from dfbench.errors import UserError, nearest, one_line
from dfbench.eval.checks import is_utf8, require_size
from dfbench.eval.csv_scores import MISSING, no_text
from dfbench.eval.parquet_scores import DAMAGED, read_parquet
from dfbench.eval.table import Text

Kind = Literal["probability", "logit"]
TEXTS = ("video", "dataset", "manipulation")
SCORES: dict[str, Kind | None] = {"p_fake": "probability", "logit": "logit", "score": None}
NUMBERS = (*SCORES, "frame", "label")
SHOWN = 3  # rows named of each kind
LETTERS = 80  # of a value that is shown
_NUMBER = (
    r"^[ \t]*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[iI][nN][fF]([iI][nN][iI][tT][yY])?)[ \t]*$"
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A rule that rows, or videos, break."""

    rule: str  # with the number of those that break it
    examples: tuple[str, ...] = ()  # of the first of them
    count: int = 1
    advice: str = ""

    def __str__(self) -> str:
        text = self.rule
        if self.examples:
            more = self.count - len(self.examples)
            text += f": {', '.join(self.examples)}{f' and {more:,} more' if more else ''}"
        return one_line(f"{text}; {self.advice}" if self.advice else text)


class SubmissionError(UserError):
    """A file of scores that breaks rules: all that it breaks."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        total = sum(fault.count for fault in faults)
        super().__init__(f"{path}: {total:,} problem{'s' * (total > 1)}; nothing was written")
        self.faults = tuple(faults)


def row_fault(
    wrong: Bool[np.ndarray, " rows"],
    rule: str,
    say: Callable[[int], str],
    *,
    advice: str = "",
) -> Iterator[Fault]:
    """Yield the fault of the rows that are wrong, if there are any.

    Args:
      wrong: of each row.
      rule: `{n}` stands for the number of rows.
      say: what is wrong with one row, by its position.
      advice: what to do.
    """
    rows = np.flatnonzero(wrong)
    if len(rows):
        yield Fault(
            rule=rule.replace("{n}", f"{len(rows):,} row{'s' * (len(rows) > 1)}"),
            examples=tuple(f"row {row + 1} {say(int(row))}" for row in rows[:SHOWN]),
            count=len(rows),
            advice=advice,
        )


def quoted(value: object) -> str:
    """Return a value as a message shows it, cut where it is long."""
    text = str(value)
    return f"'{text if len(text) <= LETTERS else text[:LETTERS] + '...'}'"


@dataclass(frozen=True, eq=False)
class Submission:
    """The columns of a file; rows in its order."""

    video: Text
    score: Float64[np.ndarray, " rows"]  # NaN: empty, or no number
    kind: Kind
    logit: Float64[np.ndarray, " rows"] | None  # beside probabilities
    frame: Float64[np.ndarray, " rows"] | None  # NaN: empty, or no number
    label: Float64[np.ndarray, " rows"] | None  # NaN: empty, or no number
    dataset: Text | None
    manipulation: Text | None
    unread: Bool[np.ndarray, " rows"]  # holds a value that is no number ...
    faults: tuple[Fault, ...]  # ... as these say

    def __len__(self) -> int:
        return len(self.score)


def read_submission(path: Path, kind: Kind | None = None) -> Submission:
    """Read the file of a detector's scores.

    Columns: `video`; one of `p_fake` (a probability of fake), `logit` (of fake) and `score`, of
    which `kind` says what it is; where they are there, `frame`, `label`, `dataset` and
    `manipulation`. Others are left.

    Raises:
      UserError: no such file, no CSV (with commas and a header row) and no Parquet, no row.
      SubmissionError: columns are missing, of the wrong type, or unclear.
    """
    is_csv = path.name.lower().endswith(".csv")  # packed ones may unpack to anything
    try:
        table, names = _read_csv(path) if is_csv else read_parquet(path, (*TEXTS, *NUMBERS))
    except DAMAGED as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(
            f"{path}: cannot read scores: {why.splitlines()[0]}; it must be CSV (named .csv) or "
            "Parquet"
        ) from error
    if faults := list(_column_faults(table, names, kind)):
        raise SubmissionError(path, faults)
    if not len(table):
        raise UserError(f"{path}: holds no row; score at least one video")
    texts = {name: _text(table[name]) for name in TEXTS if name in table.column_names}
    for name, text in texts.items():
        if not is_utf8(text):
            raise UserError(f"{path}: column '{name}' holds text that is not UTF-8")
    numbers: dict[str, np.ndarray] = {}
    unread = np.zeros(len(table), bool)
    for name in (name for name in NUMBERS if name in table.column_names):
        numbers[name], wrong = _numbers(table[name])
        faults += row_fault(wrong, f"column '{name}': no number in {{n}}", _sayer(table[name]))
        unread |= wrong
    score = next(name for name in SCORES if name in numbers)
    return Submission(
        video=texts["video"],
        score=numbers[score],
        kind=SCORES[score] or kind or "probability",
        logit=numbers.get("logit") if score == "p_fake" else None,
        frame=numbers.get("frame"),
        label=numbers.get("label"),
        dataset=texts.get("dataset"),
        manipulation=texts.get("manipulation"),
        unread=unread,
        faults=tuple(faults),
    )


def _sayer(column: pa.ChunkedArray) -> Callable[[int], str]:
    return lambda row: quoted(column[row].as_py())


def _read_csv(path: Path) -> tuple[pa.Table, list[str]]:
    """Return the columns that are known, and the names of all; wrong numbers stay text."""
    require_size(path, path.stat().st_size, 0)
    if why := no_text(path):
        raise UserError(f"{path}: {why}")
    passed = csv.ParseOptions(invalid_row_handler=lambda row: "skip")
    with csv.open_csv(path, parse_options=passed, convert_options=_options({}, [])) as reader:
        names = reader.schema.names
    text = pa.dictionary(pa.int32(), pa.string())
    types = {name: text if name in TEXTS else pa.float64() for name in (*TEXTS, *NUMBERS)}
    known = [name for name in dict.fromkeys(names) if name in types]
    if not known:
        return pa.table({}), names
    try:
        return csv.read_csv(path, convert_options=_options(types, known)), names
    except pa.ArrowInvalid:
        pass
    ragged: list[csv.InvalidRow] = []

    def note(row: csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    types = dict.fromkeys(types, pa.string())
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False),  # or rows have no number
        parse_options=csv.ParseOptions(invalid_row_handler=note),
        convert_options=_options(types, known),
    )
    if ragged:
        shown = [f"row {row.number - 1} {row.actual_columns}" for row in ragged[:SHOWN]]
        rule = f"not as many values as the {ragged[0].expected_columns} of the header"
        raise SubmissionError(path, [Fault(rule=rule, examples=tuple(shown), count=len(ragged))])
    return table, names


def _options(types: dict[str, pa.DataType], names: list[str]) -> csv.ConvertOptions:
    return csv.ConvertOptions(
        column_types=types, include_columns=names, null_values=MISSING, strings_can_be_null=False
    )


def _column_faults(table: pa.Table, names: Sequence[str], kind: Kind | None) -> Iterator[Fault]:
    """Yield what is wrong with the columns as such."""
    there = f"the file has {', '.join(map(quoted, names[:20]))}"
    if len(names) == 1 and any(c in names[0] for c in ";\t|"):
        there += ", one column: separate them by commas"
    if "video" not in names:
        hint = nearest("video", names)
        yield Fault(rule=f"column 'video' is missing; {there}{hint}")
    scores = [name for name in SCORES if name in names]
    if not scores:
        hint = nearest("p_fake", names) or nearest("logit", names)
        yield Fault(
            rule="no column 'p_fake' (probability of fake), 'logit' or 'score'; " + there + hint
        )
    elif scores == ["score"] and kind is None:
        yield Fault(
            rule="column 'score' may hold probabilities of fake or logits",
            advice="say --probabilities or --logits, or call it 'p_fake' or 'logit'",
        )
    elif scores != ["score"] and kind is not None and kind != SCORES[scores[0]]:
        yield Fault(
            rule=f"column '{scores[0]}' holds {SCORES[scores[0]]} values by its name",
            advice="rename it, or leave out --probabilities and --logits",
        )
    counts = Counter(names)
    for name in (*TEXTS, *NUMBERS):
        if counts[name] > 1:
            yield Fault(rule=f"column '{name}' comes {counts[name]} times")
        elif name in table.column_names and not _right_type(name, table[name].type):
            wanted = "text" if name in TEXTS else "numbers"
            yield Fault(rule=f"column '{name}' holds {table[name].type}, not {wanted}")


def _right_type(name: str, kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if name in TEXTS:
        return bool(text or pa.types.is_null(kind))
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    # Text is what _read_csv leaves where it found no number.
    return bool(number or text or pa.types.is_null(kind))


def _text(column: pa.ChunkedArray) -> Text:
    """Return text; what is missing is empty. Names stay encoded: many rows may have a long one."""
    if pa.types.is_null(column.type):
        return Text.constant("", len(column))
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.unify_dictionaries().combine_chunks()
    if values.null_count:
        names = pa.concat_arrays([values.dictionary.cast(pa.string()), pa.array([""])])
        codes = values.indices.cast(pa.int64()).fill_null(len(names) - 1)
        values = pa.DictionaryArray.from_arrays(codes, names)
    return Text.of(values)


def _numbers(
    column: pa.ChunkedArray,
) -> tuple[Float64[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
    """Return numbers, NaN where there is none, and the rows that hold something else."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    wrong = np.zeros(len(column), bool)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        empty = pc.is_in(column, pa.array(MISSING, column.type))
        number = pc.match_substring_regex(column, _NUMBER)
        wrong = ~_bools(pc.or_kleene(empty, number), True)
        kept = pc.if_else(pc.fill_null(number, False), pc.utf8_trim_whitespace(column), None)
        column = kept
    # Not safe: of whole numbers above 2**53 it would refuse all.
    values: Any = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values, wrong


def _bools(column: pa.ChunkedArray, null: bool) -> Bool[np.ndarray, " rows"]:
    values: np.ndarray = pc.fill_null(column, null).to_numpy()
    return values.astype(bool)
