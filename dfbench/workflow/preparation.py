"""Specs to prepared datasets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dfbench.config import DataConfig
from dfbench.data.prepare import prepare
from dfbench.data.prepared import CLASS_NAMES, Prepared
from dfbench.data.remote import keep
from dfbench.data.spec import Spec, parse_spec
from dfbench.data.summary import PAGE, summarise, write_summary
from dfbench.errors import UserError, one_line, system_errors
from dfbench.faces.clip import SPLITS
from dfbench.faces.extract import Extract, extract_clips
from dfbench.processes import first_before_others, is_first
from dfbench.progress import SILENT, Reporter
from dfbench.workflow.places import Places

SHOWN = 5  # clips named for each reason why there is no crop


def prepare_one(
    spec: Spec,
    data: DataConfig,
    places: Places,
    reporter: Reporter = SILENT,
    *,
    raw: Path | None = None,
    extract: Extract | None = None,
) -> Prepared:
    """Return the prepared dataset of one spec, made first where it is not there.

    A report of the preparation lies beside the data. Where they belong into object storage they are
    fetched from there, or made and sent. Faces are found by `extract`; without it, by
    processes of this machine.

    Raises:
      UserError: raw data missing or unusable, no face in any clip, or something cannot be read or
        written.
    """
    mirror = places.data_mirror.tell(reporter) if places.data_mirror else None
    with system_errors(places.data_dir):
        prepared = prepare(
            spec,
            data,
            data_dir=places.data_dir,
            raw=raw,
            detector_model=places.detector_model,
            jobs=places.jobs,
            extract=extract or partial(extract_clips, limits=places.limits),
            mirror=mirror,
            reporter=reporter,
        )
        write_summary(prepared)
        if is_first():
            keep(prepared, mirror)
    return prepared


def prepare_spec(
    text: str, data: DataConfig, places: Places, reporter: Reporter = SILENT
) -> tuple[Prepared, ...]:
    """Return the prepared datasets of a spec that may be a union.

    Raises:
      UserError: two datasets of the union have one name, so that their videos could be confused.
    """
    union = tuple(
        first_before_others(partial(prepare_one, spec, data, places, reporter))
        for spec in parse_spec(text)
    )
    names = [prepared.name for prepared in union]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{text}: two of its datasets are called '{name}'; rename a folder")
    return union


def prepared_text(prepared: Prepared) -> str:
    """Say what is there: clips and crops by split and class, and a reason for each miss."""
    lines = [f"{prepared.name}: {prepared.folder}"]
    if prepared.manifest.detector_note:
        lines.append(f"  note: {prepared.manifest.detector_note}")
    for split in SPLITS:
        for name in CLASS_NAMES:
            c = prepared.coverage(split)[name]
            if c.clips:
                lines.append(
                    f"  {split:5} {name}: {c.clips_with_crops} of {c.clips} clips, "
                    f"{c.frames} of {c.frames_wanted} frames"
                )
    lines += [f"  warning: {line}" for line in summarise(prepared).warnings]
    lines += [f"  in no split: {n} clips: {why}" for why, n in prepared.manifest.excluded.items()]
    by_reason: dict[str, list[str]] = {}
    for split in SPLITS:
        for missed in prepared.missed(split):
            by_reason.setdefault(missed.reason, []).append(missed.video)
    for reason, videos in by_reason.items():
        lines += [f"  no crop: {video}: {reason}" for video in videos[:SHOWN]]
        if len(videos) > SHOWN:
            lines.append(f"  no crop: {len(videos) - SHOWN} more: {reason}")
    lines.append(f"  look at the crops: {prepared.folder / PAGE}")
    return "\n".join(map(one_line, lines))
