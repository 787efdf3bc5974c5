"""Score files as CSV: comma-separated, with a header row, UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from dfbench.errors import UserError, one_line

_NAME = pa.dictionary(pa.int32(), pa.string())
TYPES = {
    **dict.fromkeys(("dataset", "split", "manipulation", "video", "identity"), _NAME),
    **dict.fromkeys(("frame", "label"), pa.int32()),
    **dict.fromkeys(("logit", "p_fake"), pa.float64()),
}
WORDS = {pa.int32(): "an integer", pa.float64(): "a number"}
MISSING = ["", "nan", "NaN", "NAN", "null", "NULL", "None", "NA"]  # as other tools write it
SHOWN = 60  # letters of a wrong value
_PIECE = 1 << 20  # bytes


def read_csv(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read those of `columns` that a file has; text is dictionary-encoded, an empty number null.

    Raises:
      UserError: no such file, no CSV, or a value that is no number, with its column and row.
    """
    try:
        with csv.open_csv(path, convert_options=_options(())) as reader:
            names = [name for name in reader.schema.names if name in columns]
        return csv.read_csv(path, convert_options=_options(names)) if names else pa.table({})
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"{path}: cannot read scores: {reason}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        why = no_text(path) or _where(path) or str(error).splitlines()[0]
        raise UserError(f"{path}: {why}") from error


def no_text(path: Path) -> str:
    """Say in which line a file, which may be packed, is no UTF-8; nothing where it is.

    Arrow prints what goes wrong with such rows, and goes on.
    """
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    try:
        with pa.input_stream(path) as file:
            while piece := file.read(_PIECE):
                decoder.decode(piece)
                line += piece.count(b"\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        return f"line {line} is not UTF-8; save the file as UTF-8"
    return ""


def _options(names: Sequence[str], **others: Any) -> csv.ConvertOptions:
    return csv.ConvertOptions(
        include_columns=list(names),
        column_types={name: TYPES[name] for name in names},
        null_values=MISSING,
        strings_can_be_null=False,
        **others,
    )


def _where(path: Path) -> str:
    """Find the first row that cannot be read: slowly, as text, row by row."""
    ragged: list[csv.InvalidRow] = []

    def note(row: csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    text = csv.ConvertOptions(column_types=dict.fromkeys(TYPES, pa.string()))
    rows = 0
    try:
        reader = csv.open_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(invalid_row_handler=note),
            convert_options=text,
        )
        for batch in reader:
            columns = zip(batch.schema.names, batch.columns, strict=True)  # a name may come twice
            if found := [one for name, values in columns if (one := _wrong(values, name, rows))]:
                return min(found)[1]
            rows += len(batch)
    except pa.ArrowException as error:
        if not ragged:
            return str(error).splitlines()[0]
        row = ragged[0]
        number = "" if row.number is None else f"row {row.number - 1}: "
        return f"{number}{row.actual_columns} values where the header has {row.expected_columns}"
    return ""


def _wrong(values: pa.Array, name: str, before: int) -> tuple[int, str] | None:
    wanted = TYPES.get(name)
    if wanted not in WORDS:
        return None
    for row, value in enumerate(values.to_pylist()):
        if value in MISSING:
            continue
        try:
            pa.array([value]).cast(wanted)
        except pa.ArrowException:
            shown = one_line(value if len(value) <= SHOWN else f"{value[:SHOWN]}...")
            number = before + row + 1
            return number, f"column '{name}', row {number}: '{shown}' is not {WORDS[wanted]}"
    return None
