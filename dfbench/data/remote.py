"""Prepared datasets in object storage."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from dfbench.data.prepared import MARKER, Manifest, Prepared, is_finished
from dfbench.errors import UserError
from dfbench.files import decode_json
from dfbench.storage.kinds import Kind
from dfbench.storage.mirror import Mirror

DATASET = Kind(marker=MARKER)


def fetched(folder: Path, mirror: Mirror | None) -> bool:
    """Return whether a finished dataset is in `folder`, fetched there first if it can be.

    Raises:
      UserError: the place cannot be read.
    """
    if mirror is not None and not is_finished(folder):
        mirror.pull(mirror.stage.unit(folder), DATASET)
    return is_finished(folder)


def prepared_there(mirror: Mirror, below: Path, pattern: str) -> list[Prepared]:
    """Return the finished datasets of a place without fetching them: only their manifests are.

    Args:
      mirror: The place.
      below: Folder that they would be in.
      pattern: Of the folder of one, below that.

    Raises:
      UserError: the place cannot be read.
    """
    root = mirror.stage.unit(below)
    found = []
    for unit in mirror.units(root):
        if not fnmatch.fnmatchcase(unit, f"{root}/{pattern}"):
            continue
        there = mirror.listing(unit)
        if there is None or not there.finished:
            continue
        try:
            manifest = decode_json(mirror.read(unit, MARKER), Manifest)
        except ValueError as error:
            where = mirror.url / unit / MARKER
            raise UserError(
                f"{where}: {error}; delete {mirror.url / unit}, and prepare it again"
            ) from (error)
        found.append(Prepared(mirror.stage.path(unit), manifest))
    return found


def keep(prepared: Prepared, mirror: Mirror | None) -> None:
    """Send a dataset to the place, where it is not there yet.

    Raises:
      UserError: the place cannot be written.
    """
    if mirror is None:
        return
    unit = mirror.stage.unit(prepared.folder)
    there = mirror.listing(unit)
    if there is None or not there.finished:
        mirror.push(unit, DATASET)
