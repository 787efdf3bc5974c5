"""Vectors of a dataset's crops, kept in files that are named by what decides them.

A file holds those of one split of one dataset. Its name carries a hash of how they were made and of
the crops' bytes: whatever changes gives another file, and what is there is never out of date. One
that is damaged is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dfbench.data.nearest import Vectors
from dfbench.data.npz import read_npz, write_npz
from dfbench.data.prepared import column
from dfbench.data.view import SplitView
from dfbench.paths import slug
from dfbench.progress import SILENT, Reporter

FORMAT = 1  # of the files


def indexed_vectors(
    view: SplitView,
    name: str,
    recipe: Mapping[str, Any],
    make: Callable[[SplitView, str], Vectors],
    *,
    data_dir: Path,
    reporter: Reporter = SILENT,
) -> Vectors:
    """Return the vectors of a split's crops, made first where they are not there.

    Args:
      view: the split; each of its datasets has a file of its own.
      name: of what makes them, for the files' names.
      recipe: all that decides them, beside the crops: plain values.
      make: makes those of a view; also gets a title for its bar.
      data_dir: prepared data; files are in `features` below it.
      reporter: where progress is told.

    Raises:
      OSError: a file cannot be written.
    """
    found = []
    for dataset, table in zip(view.datasets, view.tables, strict=True):
        if not len(table):
            continue
        key = _key(recipe, table)
        folder = data_dir / "features" / slug(dataset.name)
        path = folder / f"{view.split}-{slug(name)}-{key[:16]}.npz"
        title = f"{name} of {dataset.name}, {view.split}"
        vectors = _read(path, key, len(table)) if path.is_file() else None
        if vectors is None:
            if path.is_file():
                reporter.say(f"{path}: damaged, it is made again")
            vectors = make(SplitView((dataset,), view.split, (table,)), title)
            write_npz(path, {"vectors": vectors, "key": np.array(key)})
        else:
            reporter.say(f"reusing {title} ({path})")
        found.append(vectors)
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


def _key(recipe: Mapping[str, Any], table: pa.Table) -> str:
    """Hash a recipe and the crops, by their bytes' hashes."""
    digest = hashlib.sha256(json.dumps([FORMAT, dict(recipe)], sort_keys=True).encode())
    digest.update(np.ascontiguousarray(column(table, "content")).tobytes())
    return digest.hexdigest()


def _read(path: Path, key: str, rows: int) -> Vectors | None:
    """Read a file; None where it is damaged, or is another one that was renamed."""
    file = read_npz(path, ("vectors", "key"))
    if file is None:
        return None
    vectors = file["vectors"]
    sound = str(file["key"]) == key and vectors.dtype == np.float32 and vectors.shape[:1] == (rows,)
    return vectors if sound and vectors.ndim == 2 and np.isfinite(vectors).all() else None
