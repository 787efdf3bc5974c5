"""`dfbench audit`: what two datasets share, as a table, a file and a sheet of crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfbench.config import DataConfig
from dfbench.data.alike import ALIKE, NEAR
from dfbench.data.audit import TITLES, Features, Finding, Overlap, Place, find_overlap
from dfbench.data.clips import clip_table, middle_crops
from dfbench.data.nearest import Vectors
from dfbench.data.prepared import Prepared
from dfbench.data.records import EncodedFaces
from dfbench.data.view import SplitView
from dfbench.errors import UserError, system_errors
from dfbench.faces.clip import Split
from dfbench.faces.crop import decode
from dfbench.faces.images import RGB
from dfbench.files import write_json
from dfbench.progress import SILENT, Reporter
from dfbench.report.sheet import Group, Strip, Tile, write_sheet
from dfbench.workflow.describe import Describer, run_describer
from dfbench.workflow.leaks import SPLIT
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.training import TRAINED_ON

TABLE, SHEET = "audit.json", "audit.png"


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What `audit.json` holds."""

    train: str  # spec; of it the train and val splits
    eval: str  # spec; of it the test split
    near_bits: int  # differing bits of two near duplicates, at most
    alike_cosine: float | None  # of clips that are alike to the network, at least
    model: str | None  # that network
    overlap: Overlap


def audit(
    train: str,
    evaluated: str,
    data: DataConfig,
    places: Places,
    out: Path,
    *,
    run_dir: Path | None = None,
    reporter: Reporter = SILENT,
) -> AuditReport:
    """Compare what a training on `train` sees with the test split of `evaluated`.

    Writes `audit.json` and `audit.png` into `out`.

    Args:
      train: spec.
      evaluated: spec.
      data: how both are prepared.
      places: where data lie.
      out: folder.
      run_dir: a finished training, whose network looks for clips that are alike to it.
      reporter: where progress is told.

    Raises:
      UserError: unusable data, no finished training, or a file that cannot be written.
    """
    network = run_describer(run_dir) if run_dir else None
    before = prepare_spec(train, data, places, reporter)
    now = prepare_spec(evaluated, data, places, reporter)
    found = None
    if network:
        found = Features(
            train=_features(network, before, TRAINED_ON, places, reporter),
            eval=_features(network, now, (SPLIT,), places, reporter),
        )
    overlap = find_overlap(
        clip_table(before, TRAINED_ON), clip_table(now, (SPLIT,)), features=found
    )
    report = AuditReport(
        train=train,
        eval=evaluated,
        near_bits=NEAR,
        alike_cosine=ALIKE if network else None,
        model=network.name if network else None,
        overlap=overlap,
    )
    with system_errors(out):
        write_json(out / TABLE, report)
        title = f"Trained on {train}, evaluated on {evaluated}"
        legend = "left: training data, right: evaluated"
        write_sheet(title, legend, _strips(overlap, before, now), out / SHEET)
    return report


def audit_text(report: AuditReport) -> str:
    """Return a table with a line a kind, and what to make of it."""
    overlap = report.overlap
    rows = [("", "shared", "test clips", "for example")]
    rows += [
        (TITLES[f.kind], str(f.shared), str(f.clips), _example(f) if f.shared else "-")
        for f in overlap.findings
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [
        f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
    return "\n".join(
        [
            f"trained on {report.train}, train and val: {overlap.train_clips} clips; "
            f"evaluated on {report.eval}, test: {overlap.eval_clips} clips",
            *lines,
            f"{overlap.concerned} of {overlap.eval_clips} test clips share something with the "
            f"training data; {overlap.leaked} are in it",
        ]
    )


def _example(finding: Finding) -> str:
    first = finding.examples[0]
    return f"{first.shared}: {first.train.video}, {first.eval.video}"


# --- the network ----------------------------------------------------------------------------------


def _features(
    describer: Describer,
    datasets: Sequence[Prepared],
    splits: Sequence[Split],
    places: Places,
    reporter: Reporter,
) -> Vectors:
    """Return a network's features of the middle crops, in the order of the clip table."""
    found = []
    for split in splits:
        tables = tuple(middle_crops(dataset, split) for dataset in datasets)
        view = SplitView(tuple(datasets), split, tables)
        if len(view):
            with system_errors(places.data_dir):
                found.append(describer.of_view(view, places.data_dir, reporter))
    if not found:
        names = ", ".join(dataset.name for dataset in datasets)
        raise UserError(f"{names}: no face crop in {' and '.join(splits)}")
    return np.concatenate(found)


# --- the sheet ------------------------------------------------------------------------------------


def _strips(
    overlap: Overlap, train: Sequence[Prepared], evaluated: Sequence[Prepared]
) -> list[Strip]:
    return [
        Strip(
            f"{TITLES[finding.kind]}: {finding.clips} test clip{'s' if finding.clips > 1 else ''}",
            tuple(
                Group(
                    example.shared,
                    (
                        Tile(_crop(train, example.train), example.train.video),
                        Tile(_crop(evaluated, example.eval), example.eval.video),
                    ),
                )
                for example in finding.examples
            ),
        )
        for finding in overlap.findings
        if finding.examples
    ]


def _crop(datasets: Sequence[Prepared], place: Place) -> RGB:
    (folder,) = [d.folder for d in datasets if d.name == place.dataset]
    return decode(EncodedFaces(folder, place.split).face(place.position))
