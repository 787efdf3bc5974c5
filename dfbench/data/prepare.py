"""Raw clips to a prepared dataset: index, detect and crop, pack, and write down what happened."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import io
import json
import logging
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from dfbench import __version__
from dfbench.config import DataConfig
from dfbench.data.builder import FaceBuilder, FaceConfig
from dfbench.data.catalog import load_builder
from dfbench.data.prepared import (
    CLASS_NAMES,
    Manifest,
    Missed,
    Prepared,
    clips_sha256,
    is_finished,
    load_prepared,
    write_frames,
    write_manifest,
)
from dfbench.data.spec import Spec
from dfbench.errors import UserError
from dfbench.faces.clip import SPLITS, Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice, resolve_detector
from dfbench.faces.extract import extract_clips, read_shard
from dfbench.paths import model_files_dir, slug
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import Counts

Digest = Any  # hashlib has no name for it


def prepare(
    spec: Spec,
    data: DataConfig,
    *,
    data_dir: Path,
    raw: Path | None = None,
    detector_model: Path | None = None,
    jobs: int = 0,
    reporter: Reporter = SILENT,
) -> Prepared:
    """Return the prepared dataset of a spec; make it first if it is not there.

    Args:
      spec: which dataset.
      data: the user's changes to the dataset's own crop recipe.
      data_dir: root of prepared data; each dataset and recipe has its own folder.
      raw: folder of the raw download, for datasets that have one.
      detector_model: model file of the face detector.
      jobs: processes; 0: one a core.
      reporter: where progress is told.

    Raises:
      UserError: raw data missing or unusable, or no face in any clip.
    """
    cls = load_builder(spec.name)
    recipe = _recipe(cls.RECIPE, data)
    raw_dir = cls.raw_dir(spec, raw, data.size, data_dir)
    if raw_dir is None:
        raise UserError(f"{spec.name} needs its raw download: --raw DIR")
    embedded = cls.raw_key(data.size)
    clips = [] if embedded else cls.index(raw_dir)
    variant = data.size if embedded else slug(raw_dir.resolve().name)
    source = embedded or _files_key(clips)

    def folder_of(recipe: CropRecipe) -> Path:
        fields = [spec.name, str(cls.VERSION), source, dataclasses.asdict(recipe)]
        key = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:12]
        return data_dir / "tfds" / spec.name / f"{variant}-{key}" / str(cls.VERSION)

    if is_finished(folder := folder_of(recipe)):
        return _reused(folder, spec, reporter)
    choice = resolve_detector(recipe.detector, detector_model, cache_dir=model_files_dir())
    if choice.note:
        reporter.say(f"warning: {choice.note}")
        recipe = dataclasses.replace(recipe, detector=choice.name)
        if is_finished(folder := folder_of(recipe)):
            return _reused(folder, spec, reporter)
    if embedded:
        with reporter.bar(f"{spec.text}: rendering clips", "clip") as progress:
            cls.make_raw(raw_dir, data.size, progress)
        clips = cls.index(raw_dir)
    reporter.say(f"preparing {spec.text}: {len(clips)} clips, detector {recipe.detector}")
    _build(cls, spec, variant, clips, recipe, choice, folder, jobs, reporter)
    return load_prepared(folder, spec.manipulations)


def _reused(folder: Path, spec: Spec, reporter: Reporter) -> Prepared:
    reporter.say(f"reusing prepared {spec.text} ({folder})")
    return load_prepared(folder, spec.manipulations)


def _recipe(own: CropRecipe, data: DataConfig) -> CropRecipe:
    return dataclasses.replace(
        own,
        detector=data.detector or own.detector,
        frames=data.frames or own.frames,
        margin=data.margin or own.margin,
        size=data.crop_size or own.size,
    )


def _files_key(clips: Sequence[Clip]) -> str:
    """Hash clips and their files' sizes and times: a changed file is prepared anew."""
    stats = [(c.path, c.path.stat()) for c in clips]
    files = [[str(p), s.st_size, s.st_mtime_ns] for p, s in stats]
    return hashlib.sha256(json.dumps([clips_sha256(clips), files]).encode()).hexdigest()


def _build(
    cls: type[FaceBuilder],
    spec: Spec,
    variant: str,
    clips: Sequence[Clip],
    recipe: CropRecipe,
    choice: DetectorChoice,
    folder: Path,
    jobs: int,
    reporter: Reporter,
) -> None:
    # Not below `folder`: TFDS makes that one itself, whole, by a rename.
    work = folder.parent.parent / f".work-{folder.parent.name}"
    with reporter.bar(f"{spec.text}: finding and cropping faces", "clip") as progress:
        shards = extract_clips(clips, recipe, work, detector=choice, jobs=jobs, progress=progress)
    digest = hashlib.sha256()
    results = [_without_images(read_shard(shard), digest) for shard in shards]
    missed = _missed(clips, results)
    _require_crops(spec, results, missed)
    shutil.rmtree(folder, ignore_errors=True)  # an unfinished earlier one
    config = FaceConfig(
        name=folder.parent.name,
        version=str(cls.VERSION),
        description=f"{spec.name} {variant}",
        recipe=recipe,
        shards=tuple(  # TFDS cannot write a split without a record
            (clip, shard)
            for clip, shard, result in zip(clips, shards, results, strict=True)
            if result.crops
        ),
    )
    reporter.say(f"packing {sum(len(r.crops) for r in results)} crops of {spec.text}")
    with _quiet_tfds():
        builder = cls(data_dir=str(folder.parents[2]), config=config, file_format="array_record")
        builder.download_and_prepare()
    write_frames(folder, _frame_rows(clips, results))
    write_manifest(
        folder,
        Manifest(
            name=spec.name,
            version=str(cls.VERSION),
            variant=variant,
            recipe=recipe,
            detector_note=choice.note,
            clips_sha256=clips_sha256(clips),
            crops_sha256=digest.hexdigest(),
            counts=_counts(clips, results),
            missed=missed,
            package_version=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        ),
    )
    shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Keep back that TFDS downloads (it does not) and that a config is new."""
    tfds.disable_progress_bar()
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _without_images(result: ClipResult, digest: Digest) -> ClipResult:
    """Forget the images, which may not fit in memory together, after they went into `digest`."""
    for crop in result.crops:
        digest.update(f"{result.video}#{crop.frame}:{len(crop.image)}:".encode() + crop.image)
    crops = tuple(dataclasses.replace(c, image=b"") for c in result.crops)
    return dataclasses.replace(result, crops=crops)


def _missed(clips: Sequence[Clip], results: Sequence[ClipResult]) -> tuple[Missed, ...]:
    return tuple(
        Missed(
            video=clip.video,
            split=clip.split,
            label=clip.label,
            manipulation=clip.manipulation,
            reason=result.reason,
        )
        for clip, result in zip(clips, results, strict=True)
        if not result.crops
    )


def _require_crops(spec: Spec, results: Sequence[ClipResult], missed: Sequence[Missed]) -> None:
    if not any(result.crops for result in results):
        reasons = ", ".join(
            f"{n} x {r}" for r, n in Counter(m.reason for m in missed).most_common()
        )
        raise UserError(f"{spec.text}: no clip of {len(results)} gave a face crop ({reasons})")


def _counts(clips: Sequence[Clip], results: Sequence[ClipResult]) -> dict[str, Counts]:
    counts: dict[str, Counts] = {}
    none = Counts(clips=0, clips_with_crops=0, frames_wanted=0, frames=0)
    for clip, result in zip(clips, results, strict=True):
        key = f"{clip.split}/{CLASS_NAMES[clip.label]}/{clip.manipulation}"
        old = counts.get(key, none)
        counts[key] = Counts(
            clips=old.clips + 1,
            clips_with_crops=old.clips_with_crops + bool(result.crops),
            frames_wanted=old.frames_wanted + result.wanted,
            frames=old.frames + len(result.crops),
        )
    return dict(sorted(counts.items()))


def _frame_rows(clips: Sequence[Clip], results: Sequence[ClipResult]) -> dict[str, list[object]]:
    """Rows in the order in which the builder wrote the records."""
    rows: dict[str, list[object]] = defaultdict(list)
    for split in SPLITS:
        position = 0
        for clip, result in zip(clips, results, strict=True):
            if clip.split != split:
                continue
            for crop in result.crops:
                values = {
                    "split": split,
                    "position": position,
                    "video": clip.video,
                    "frame": crop.frame,
                    "time_s": crop.time_s,
                    "label": clip.label,
                    "manipulation": clip.manipulation,
                    "identity": clip.identity,
                    "source_identity": clip.source_identity,
                }
                for name, value in values.items():
                    rows[name].append(value)
                position += 1
    return rows
