"""The faces of files that a person names, cut as those of datasets are."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from dfbench.faces.clip import FAKE, Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice
from dfbench.faces.extract import extract_clips, read_shard
from dfbench.progress import Reporter
from dfbench.workflow.input_files import Input
from dfbench.workflow.places import Places


def extract_inputs(
    inputs: Sequence[Input],
    recipe: CropRecipe,
    choice: DetectorChoice,
    places: Places,
    reporter: Reporter,
    *,
    every_face: bool = False,
) -> list[ClipResult]:
    """Return what extraction makes of each file; of a frame the biggest face, or every one."""
    clips = [
        Clip(
            path=one.path,
            label=FAKE,  # nobody knows; reals might have more frames
            split="test",
            video=str(number),
            manipulation="",
            every_face=every_face,
        )
        for number, one in enumerate(inputs)
    ]
    with (
        tempfile.TemporaryDirectory(prefix="dfbench-") as folder,
        reporter.bar("finding faces", "file") as progress,
    ):
        shards = extract_clips(
            clips,
            recipe,
            Path(folder),
            detector=choice,
            jobs=places.jobs,
            progress=progress,
            limits=places.limits,
        )
        return [read_shard(shard) for shard in shards]
