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
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from dfbench import __version__
from dfbench.config import DataConfig
from dfbench.data.builder import FaceBuilder, FaceConfig
from dfbench.data.catalog import load_builder
from dfbench.data.packing import (
    Pack,
    count_misses,
    count_packs,
    frame_table,
    missed_clips,
    not_there,
    read_packs,
    split_crops,
)
from dfbench.data.prepared import (
    FORMAT,
    Manifest,
    Missed,
    Prepared,
    clips_sha256,
    column,
    is_finished,
    load_prepared,
    write_frames,
    write_manifest,
)
from dfbench.data.raw import Index
from dfbench.data.remote import fetched
from dfbench.data.shelf import dataset_root, latest, not_prepared_text
from dfbench.data.spec import PATH_DATASETS, Spec
from dfbench.errors import UserError
from dfbench.faces.clip import CropRecipe, recipe_values
from dfbench.faces.detect import DetectorChoice, resolve_detector
from dfbench.faces.extract import Extract, extract_clips
from dfbench.faces.images import is_image
from dfbench.faces.one_clip import check_recipe
from dfbench.locks import one_at_a_time
from dfbench.paths import model_files_dir, slug
from dfbench.progress import SILENT, Reporter
from dfbench.storage.mirror import Mirror


def prepare(
    spec: Spec,
    data: DataConfig,
    *,
    data_dir: Path,
    raw: Path | None = None,
    detector_model: Path | None = None,
    jobs: int = 0,
    extract: Extract = extract_clips,
    mirror: Mirror | None = None,
    reporter: Reporter = SILENT,
) -> Prepared:
    """Return the prepared dataset of a spec; make it first if it is not there.

    Args:
      spec: which dataset.
      data: the user's changes to the dataset's own crop recipe.
      data_dir: root of prepared data; each dataset and recipe has its own folder.
      raw: folder of the raw download, for datasets that have one; without it, what was prepared
        last by this recipe is used.
      detector_model: model file of the face detector.
      jobs: processes; 0: one a core.
      extract: what finds and crops the faces.
      mirror: the place in object storage that `data_dir` stands for: what is prepared there is
        fetched. What is made here is not sent by this function.
      reporter: where progress is told.

    Raises:
      UserError: raw data missing or unusable, or no face in any clip.
      OSError: something cannot be read or written.
    """
    cls = load_builder(spec.name)
    source = _find_source(cls, spec, data, data_dir, raw)
    recipe = _recipe(cls.RECIPE, data)
    if recipe.split_by == "crop" and spec.name in PATH_DATASETS:
        raise UserError(
            f"{spec.text}: data.split_by=crop is for datasets whose clips have names of their own, "
            "by which an audit finds the leak that it is; leave it out"
        )

    def finished(recipe: CropRecipe) -> Path | None:
        if source is None:
            folder = latest(cls, spec, recipe, data_dir, mirror)
        else:
            folder = source.folder(recipe)
        return folder if folder and fetched(folder, mirror) else None

    if folder := finished(recipe):
        return _reused(folder, spec, reporter)
    choice = resolve_detector(recipe.detector, detector_model, cache_dir=model_files_dir())
    if choice.note:
        reporter.say(f"warning: {choice.note}")
        recipe = dataclasses.replace(recipe, detector=choice.name)
        if folder := finished(recipe):
            return _reused(folder, spec, reporter)
    if source is None:
        raise UserError(not_prepared_text(cls, spec, data_dir, mirror))
    check_recipe(recipe)
    if mirror is not None:
        mirror.check()  # what will be sent there takes long to make
    index = source.index
    if index is None:
        with (
            one_at_a_time(source.raw / ".lock", f"{spec.text} is being rendered", reporter.say),
            reporter.bar(f"{spec.text}: rendering clips", "clip") as progress,
        ):
            cls.make_raw(source.raw, data.size, progress)
        index = cls.index(source.raw, source.variant)
    _require_unique(index, source.raw)
    if recipe.before:
        _require_videos(spec, index)
    reporter.say(f"preparing {spec.text}: {len(index.clips)} clips, detector {recipe.detector}")
    folder = source.folder(recipe)
    lock = folder.parent.parent / f".lock-{folder.parent.name}"
    with one_at_a_time(lock, f"{spec.text} is being prepared", reporter.say):
        if not is_finished(folder):
            _build(source, spec, index, recipe, choice, folder, extract, jobs, reporter)
    return load_prepared(folder, spec.manipulations)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """The raw clips of a spec, and where what is made of them lies."""

    cls: type[FaceBuilder]
    variant: str
    raw: Path
    index: Index | None  # None: of an embedded dataset, which is rendered only when it is needed
    key: str  # what the clips are
    root: Path  # of this dataset's prepared folders

    def folder(self, recipe: CropRecipe) -> Path:
        """Return the folder of a recipe: another one for each source and each recipe."""
        version = str(self.cls.VERSION)
        fields = [FORMAT, self.root.name, version, self.key, recipe_values(recipe)]
        key = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:12]
        return self.root / f"{self.variant or 'all'}-{key}" / version


def _find_source(
    cls: type[FaceBuilder], spec: Spec, data: DataConfig, data_dir: Path, raw: Path | None
) -> _Source | None:
    """Find the raw clips; None where the dataset has a download and nobody said where it is."""
    raw_dir = cls.raw_dir(spec, raw, data.size, data_dir)
    embedded = cls.raw_key(data.size)
    variant = data.size if embedded else cls.variant_of(spec)
    if raw_dir is None:
        return None
    index = None if embedded else cls.index(raw_dir, variant)
    return _Source(
        cls=cls,
        variant=variant if spec.path is None else slug(raw_dir.resolve().name),
        raw=raw_dir,
        index=index,
        key=embedded or _files_key(index),
        root=dataset_root(data_dir, spec),
    )


def _reused(folder: Path, spec: Spec, reporter: Reporter) -> Prepared:
    reporter.say(f"reusing prepared {spec.text} ({folder})")
    shutil.rmtree(_work_dir(folder), ignore_errors=True)  # of a call that was killed at its end
    return load_prepared(folder, spec.manipulations)


def _recipe(own: CropRecipe, data: DataConfig) -> CropRecipe:
    given = {
        field.name: value
        for field in dataclasses.fields(CropRecipe)
        if (value := getattr(data, "crop_size" if field.name == "size" else field.name)) is not None
    }
    return dataclasses.replace(own, **given)


def _files_key(index: Index | None) -> str:
    """Hash clips and their files' sizes and times: a changed file is prepared anew."""
    if index is None:
        raise ValueError("an embedded dataset has a key of its own")
    files = [[str(c.path), *_size_and_time(c.path)] for c in index.clips]
    clips = clips_sha256((*index.clips, *index.absent))
    return hashlib.sha256(json.dumps([clips, files]).encode()).hexdigest()


def _size_and_time(path: Path) -> tuple[int, int]:
    """Return zeros for a file that cannot be opened: extraction says why."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _require_unique(index: Index, raw: Path) -> None:
    names = Counter(clip.video for clip in (*index.clips, *index.absent))
    for name, count in names.items():
        if count > 1:
            raise UserError(f"{raw}: {count} clips are called '{name}'; remove all but one")


def _require_videos(spec: Spec, index: Index) -> None:
    images = [clip.path for clip in index.clips if is_image(clip.path)]
    if images:
        raise UserError(
            f"{spec.text}: data.before needs videos, since an image has no frame before it, and "
            f"{len(images)} of {len(index.clips)} clips are images ({images[0]}, ..): take a "
            "model.input without diff"
        )


def _build(
    source: _Source,
    spec: Spec,
    index: Index,
    recipe: CropRecipe,
    choice: DetectorChoice,
    folder: Path,
    extract: Extract,
    jobs: int,
    reporter: Reporter,
) -> None:
    work = _work_dir(folder)
    with reporter.bar(f"{spec.text}: finding and cropping faces", "clip") as progress:
        shards = extract(index.clips, recipe, work, detector=choice, jobs=jobs, progress=progress)
    packs, crops, crops_sha256 = read_packs(index.clips, shards)
    packs += map(not_there, index.absent)  # these count as clips without a crop
    if recipe.split_by == "crop":
        packs = split_crops(packs, column(crops, "frame"), recipe.split_shares)
    missed = missed_clips(packs)
    _require_crops(spec, packs, missed)
    for unfinished in (folder, *folder.parent.glob("incomplete.*")):  # the latter are TFDS's
        shutil.rmtree(unfinished, ignore_errors=True)
    version = str(source.cls.VERSION)
    config = FaceConfig(
        name=folder.parent.name,
        version=version,
        description=f"{spec.name} {source.variant}",
        recipe=recipe,
        # TFDS cannot write a split without a record.
        packs=tuple(pack for pack in packs if pack.crops),
    )
    reporter.say(f"packing {sum(len(p.crops) for p in packs)} crops of {spec.text}")
    with _quiet_tfds():
        builder = source.cls(
            data_dir=str(folder.parents[2]), config=config, file_format="array_record"
        )
        builder.download_and_prepare()
    write_frames(folder, frame_table(packs, crops))
    write_manifest(
        folder,
        Manifest(
            name=spec.name,
            version=version,
            variant=source.variant,
            recipe=recipe,
            detector_note=choice.note,
            clips_sha256=clips_sha256([pack.clip for pack in packs]),
            crops_sha256=crops_sha256,
            counts=count_packs(packs),
            frame_misses=count_misses(packs),
            missed=missed,
            excluded=dict(sorted(Counter(index.excluded.values()).items())),
            package_version=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(),
        ),
    )
    shutil.rmtree(work, ignore_errors=True)


def _work_dir(folder: Path) -> Path:
    """Return where the shards lie until they are packed."""
    # Not below `folder`: TFDS makes that one itself, whole, by a rename.
    return folder.parent.parent / f".work-{folder.parent.name}"


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


def _require_crops(spec: Spec, packs: Sequence[Pack], missed: Sequence[Missed]) -> None:
    if not any(pack.crops for pack in packs):
        reasons = ", ".join(
            f"{n} x {r}" for r, n in Counter(m.reason for m in missed).most_common()
        )
        raise UserError(f"{spec.text}: no clip of {len(packs)} gave a face crop ({reasons})")
