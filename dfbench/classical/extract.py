"""Features of many crops, by all cores, kept in files that are named by their content.

A file holds the features of one split of one dataset by one recipe. Until it is whole its parts lie
beside it, so that a killed job goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
from jaxtyping import Int, Shaped

from dfbench.classical.features import FeatureRecipe, Features, Models, crop_features
from dfbench.classical.landmarks import face_box
from dfbench.data.crop_reader import CropReader
from dfbench.data.npz import read_npz, write_npz
from dfbench.data.prepared import column
from dfbench.data.view import SplitView
from dfbench.degradations import Degradation
from dfbench.faces.clip import CropRecipe
from dfbench.locks import one_at_a_time
from dfbench.paths import slug
from dfbench.progress import SILENT, Reporter

FORMAT = 1  # of the files
PART = 128  # crops

Rows = Int[np.ndarray, " n"]  # of a split view


def extract_features(
    view: SplitView,
    rows: Rows,
    recipe: FeatureRecipe,
    models: Models,
    *,
    data_dir: Path,
    degradation: Degradation | None = None,
    jobs: int = 0,
    reporter: Reporter = SILENT,
) -> Features:
    """Return the features of some crops of a split, in the order of `rows`, which rise.

    Args:
      view: The split.
      rows: Of it.
      recipe: What is taken from a crop.
      models: Files that this needs.
      data_dir: Prepared data; features are kept in `features` below it.
      degradation: Of the crops, before anything is taken from them.
      jobs: Processes; 0: one a core.
      reporter: Where progress is told.
    """
    starts = np.cumsum([0, *(len(table) for table in view.tables)])
    found = []
    for number, dataset in enumerate(view.datasets):
        own = rows[(rows >= starts[number]) & (rows < starts[number + 1])] - starts[number]
        if not len(own):
            continue
        one = SplitView((dataset,), view.split, (view.tables[number],))
        content = column(view.tables[number], "content")[own]
        folder = data_dir / "features" / slug(dataset.name)
        degraded = _degraded(one, own, degradation)
        key = _key(recipe, dataset.manifest.recipe, content, degraded)
        path = folder / f"{view.split}-{recipe.name}-{key}.npz"
        reader = CropReader(one, degradation)
        work = _Work(reader, own, content, recipe, models, dataset.manifest.recipe)
        title = f"{recipe.name.replace('_', ' and ')} of {dataset.name}, {view.split}"
        title += f", {degradation.text}" if degradation else ""
        found.append(_cached(path, work, jobs, title, reporter))
    return Features.joined(found)


def _degraded(view: SplitView, rows: Rows, degradation: Degradation | None) -> list[Any]:
    """Return what decides how crops are degraded: noise is that of a clip's frame."""
    if degradation is None:
        return []
    names = [view.datasets[0].name, *view.text("video")[rows].tolist()]
    return [degradation.text, names, view.numbers("frame")[rows].tolist()]


def _key(
    recipe: FeatureRecipe,
    crop: CropRecipe,
    content: Shaped[np.ndarray, " n"],
    degraded: list[Any],
) -> str:
    fields = dataclasses.asdict(recipe)
    if recipe.augment is not None:
        names = ("blur", "blur_sigma", "noise", "noise_std")
        fields["augment"] = {name: getattr(recipe.augment, name) for name in names}
    fields |= {"format": FORMAT, "opencv": cv2.__version__}
    fields |= {"box": face_box(crop, 1)}
    if degraded:
        fields["degraded"] = degraded
    if recipe.name != "sift":
        import dlib

        fields["dlib"] = dlib.__version__
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(content).tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class _Work:
    """What a process needs to make features."""

    reader: CropReader
    rows: Rows
    content: Shaped[np.ndarray, " n"]
    recipe: FeatureRecipe
    models: Models
    crop: CropRecipe

    def part(self, start: int, stop: int, path: Path) -> int:
        """Make the features of some crops, if they are not there, and return how many."""
        rows = self.rows[start:stop]
        if not path.is_file() or _read(path) is None:
            features = [
                crop_features(
                    self.reader.image(int(row)),
                    self.recipe,
                    self.models,
                    self.crop,
                    int(self.content[start + i]),
                )
                for i, row in enumerate(rows)
            ]
            _write(Features.joined(features), path)
        return len(rows)


def _cached(path: Path, work: _Work, jobs: int, title: str, reporter: Reporter) -> Features:
    if path.is_file() and (found := _read(path)) is not None:
        reporter.say(f"reusing {title} ({path})")
        return found
    what = f"{path.name} is being made"
    with one_at_a_time(path.with_suffix(".lock"), what, reporter.say):
        if (found := _read(path)) is None:  # or another process has made them meanwhile
            found = _make(path, work, jobs, title, reporter)
    return found


def _make(path: Path, work: _Work, jobs: int, title: str, reporter: Reporter) -> Features:
    folder = path.with_suffix(".parts")
    folder.mkdir(parents=True, exist_ok=True)
    edges = [*range(0, len(work.rows), PART), len(work.rows)]
    paths = [folder / f"{start:08d}.npz" for start in edges[:-1]]
    processes = min(jobs or joblib.cpu_count(), len(paths))
    call = joblib.delayed(_part)
    parts = zip(edges[:-1], edges[1:], paths, strict=True)
    calls = [call(work, *part, one_thread=processes > 1) for part in parts]
    done = 0
    with reporter.bar(title, "crop") as progress:
        run = joblib.Parallel(n_jobs=processes, return_as="generator_unordered")
        for count in run(calls):
            done += count
            progress(done, len(work.rows))
    features = Features.joined([_must_read(part) for part in paths])
    _write(features, path)
    shutil.rmtree(folder)
    return features


def _part(work: _Work, start: int, stop: int, path: Path, *, one_thread: bool) -> int:
    if one_thread:
        cv2.setNumThreads(1)  # the other cores have processes of their own
    return work.part(start, stop, path)


def _write(features: Features, path: Path) -> None:
    arrays = {f.name: getattr(features, f.name) for f in dataclasses.fields(features)}
    write_npz(path, arrays)


def _read(path: Path) -> Features | None:
    """Read a file of features; None where it is damaged."""
    file = read_npz(path, [f.name for f in dataclasses.fields(Features)])
    return None if file is None else Features(**file)


def _must_read(path: Path) -> Features:
    features = _read(path)
    if features is None:
        raise OSError(f"{path}: cannot be read")
    return features
