"""Data and results of this machine brought into object storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dfbench.data.prepared import MARKER
from dfbench.data.remote import DATASET
from dfbench.errors import UserError
from dfbench.progress import SILENT, Reporter
from dfbench.results.store import SUFFIX
from dfbench.storage.kinds import Kind
from dfbench.storage.mirror import Mirror
from dfbench.storage.stage import Stage, stage_of
from dfbench.storage.url import Url
from dfbench.workflow.mirrored import EVALUATION, RUN
from dfbench.workflow.record import RECORD


def upload(folder: Path, url: Url, reporter: Reporter = SILENT) -> tuple[int, int]:
    """Send all that is finished below a folder: prepared datasets, runs, cards with their scores.

    Returns:
      How many folders there are, and how many of them had something new.

    Raises:
      UserError: nothing is finished there, or the place cannot be written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one with prepared data or results")
    units = sorted(_units(folder), key=lambda unit: unit[0])
    if not units:
        raise UserError(
            f"{folder}: no prepared dataset ({MARKER}), run ({RECORD}) or card (*{SUFFIX}) below it"
        )
    # What is there is only compared with what is here: nothing is kept of it.
    mirror = Mirror(url, Stage(stage_of(url, "upload").home, folder), reporter)
    mirror.check()
    new = [mirror.push(mirror.stage.unit(path), kind) for path, kind in units]
    return len(units), sum(new)


def _units(folder: Path) -> Iterator[tuple[Path, Kind]]:
    for kind in (DATASET, RUN, EVALUATION):
        found = {path.parent for path in folder.rglob(kind.marker) if path.name[0] != "."}
        for path in found:
            yield path, kind
