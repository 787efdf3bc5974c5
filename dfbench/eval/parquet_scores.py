"""Score files as Parquet, read without trust: what they say of themselves may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dfbench.eval.checks import require_size

# What PyArrow raises of a file; names of columns that are no UTF-8 come as Python's own error.
DAMAGED = (OSError, UnicodeDecodeError, pa.ArrowException)


def read_parquet(path: Path, known: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Return the columns that are known, and the names of all.

    Raises:
      DAMAGED: it cannot be read, or contradicts itself.
      UserError: it says that it holds too much: a few bytes may stand for any number of rows.
    """
    with pq.ParquetFile(path) as file:  # not read_table: a path's `a=b` adds no column
        _require_parquet_size(path, file.metadata)
        schema = file.schema_arrow
    columns = [name for name in schema.names if name in known]
    once = [name for name in columns if columns.count(name) == 1]
    # Of text, each value once.
    text = [name for name in once if pa.types.is_string(schema.field(name).type)]
    with pq.ParquetFile(path, read_dictionary=text) as file:
        table = file.read(columns=columns)
    table.validate(full=True)  # which of those values a row has, nobody has checked yet
    return table, schema.names


def _require_parquet_size(path: Path, metadata: pq.FileMetaData) -> None:
    # Not of its columns: PyArrow ends the process where what a file says of one is damaged.
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    require_size(path, sum(group.total_byte_size for group in groups), metadata.num_rows)
