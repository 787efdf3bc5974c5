"""A worker whose decoder crashes on some files; importable, so that a spawned process finds it."""

from __future__ import annotations

import os

from dfbench.faces import extract
from dfbench.faces.clip import Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice
from dfbench.faces.face import Detector

_start_worker = extract._start_worker
_extract_clip = extract.extract_clip


def _crash_on_bad(
    clip: Clip, recipe: CropRecipe, detector: Detector, *, original: ClipResult | None = None
) -> ClipResult:
    if "bad" in clip.path.name:
        os.abort()
    return _extract_clip(clip, recipe, detector, original=original)


def start_crashing_worker(recipe: CropRecipe, detector: DetectorChoice) -> None:
    """Initialise like the real worker, but abort on files named bad."""
    _start_worker(recipe, detector)
    extract.extract_clip = _crash_on_bad
