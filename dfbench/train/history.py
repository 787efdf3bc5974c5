"""`metrics.jsonl`: one row a logged step, one row a validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dfbench.files import naming, write_text
from dfbench.processes import is_first


class History:
    """Rows of a run's `metrics.jsonl`, appended as they come; by the first process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, **row: Any) -> None:
        """Write one row.

        Raises:
            OSError: The disk refuses it.
        """
        if not is_first():
            return
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def keep_until(self, step: int) -> None:
        """Drop the rows after `step` (all of them if it is 0), and a torn last line."""
        if not (is_first() and self.path.is_file()):
            return
        rows = [row for row in read_history(self.path) if row["step"] <= step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows))


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read the rows; a last line cut off by a kill is left out."""
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows
