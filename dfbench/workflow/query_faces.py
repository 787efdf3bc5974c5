"""Pictures that a person asks about, to face crops: cut as those of the searched dataset."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbench.errors import UserError, one_line
from dfbench.faces.clip import CropRecipe
from dfbench.faces.crop import decode
from dfbench.faces.detect import DetectorChoice, resolve_detector
from dfbench.faces.images import RGB, UnreadableError, is_image, read_image, reason
from dfbench.faces.video import one_thread, read_frames
from dfbench.faces.worker import Lost, work_off
from dfbench.paths import model_files_dir
from dfbench.progress import SILENT, Reporter
from dfbench.workflow.input_faces import extract_inputs
from dfbench.workflow.input_files import Input
from dfbench.workflow.places import Places

TRIED = 9  # frames of a video; of those with a face the one nearest to the middle is taken


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """A face that is looked for."""

    file: str  # as named
    frame: int  # index in the clip
    face: RGB


def check_readable(inputs: Sequence[Input], places: Places) -> None:
    """Raise UserError for a file that cannot be decoded, before anything that takes long."""
    paths = [one.path for one in inputs]
    jobs = places.jobs or os.cpu_count() or 1
    tried = work_off(paths, _unreadable, start=one_thread, jobs=jobs, limits=places.limits)
    with contextlib.closing(tried):
        for path, found in tried:
            if why := found.reason if isinstance(found, Lost) else found.value:
                raise UserError(f"{path}: {why}; name an image or a video")


def _unreadable(path: Path) -> str:
    """Return why a file cannot be decoded; in a process of its own, since it is a stranger's."""
    try:
        if is_image(path):
            read_image(path)
        else:
            read_frames(path, 1, "first")
    except (UnreadableError, OSError) as error:
        return reason(error)
    return ""


def query_faces(
    inputs: Sequence[Input],
    recipe: CropRecipe,
    places: Places,
    *,
    cropped: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[list[Query], dict[str, str]]:
    """Return the biggest face of each file, and why others gave none.

    Args:
      inputs: images and videos; of a video the face is taken that is nearest to its middle.
      recipe: how the searched crops were cut and encoded; these are as they.
      places: the face detector's model file, and processes.
      cropped: the pictures are crops already: their middle squares are taken.
      reporter: where progress is told.

    Raises:
      UserError: no file gave a face.
    """
    choice = (
        DetectorChoice("none")
        if cropped
        else resolve_detector(recipe.detector, places.detector_model, cache_dir=model_files_dir())
    )
    recipe = dataclasses.replace(
        recipe,
        detector=choice.name,
        frames=TRIED,
        policy="even",
        real_oversample=1,
        boxes="own",
        align=recipe.align and not cropped,
        before=False,
        format="png" if cropped else recipe.format,  # encoded once, as the others were
    )
    queries, without = [], dict[str, str]()
    for one, result in zip(
        inputs, extract_inputs(inputs, recipe, choice, places, reporter), strict=True
    ):
        file = str(one.path)
        if result.crops:
            crop = result.crops[len(result.crops) // 2]
            queries.append(Query(file=file, frame=crop.frame, face=decode(crop.image)))
        else:
            without[file] = result.reason
    if not queries:
        file, reason = next(iter(without.items()))
        hint = "" if cropped else "; with --cropped pictures are taken as they are"
        others = f" (and {len(without) - 1} more)" if len(without) > 1 else ""
        raise UserError(f"{file}: {reason}{others}{hint}")
    for file, reason in without.items():
        reporter.say(one_line(f"{file}: {reason}; left out"))
    return queries, without
