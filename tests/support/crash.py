"""A worker that bad files take down or hang; importable, so that a spawned process finds it.

What it does depends on the file's name.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dfbench.faces import extract
from dfbench.faces.clip import Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice
from dfbench.faces.face import Detector
from dfbench.faces.images import RGB, read_image
from dfbench.faces.worker import beat

_start_worker = extract._start_worker
_extract_clip = extract.extract_clip


def _crash_on_bad(
    clip: Clip, recipe: CropRecipe, detector: Detector, *, original: ClipResult | None = None
) -> ClipResult:
    name = clip.path.stem
    if name.startswith("bad"):
        os.abort()
    if name.startswith("once"):
        again = clip.path.with_suffix(".again")
        if not again.exists():
            again.touch()
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does that has no memory left
    if name.startswith("hang"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1e6)
    while name.startswith("endless"):
        beat()
        time.sleep(0.01)
    return _extract_clip(clip, recipe, detector, original=original)


def start_crashing_worker(recipe: CropRecipe, detector: DetectorChoice) -> None:
    """Initialise like the real worker, but fail on files by their names."""
    _start_worker(recipe, detector)
    extract.extract_clip = _crash_on_bad


def start_crashing_drawing() -> None:
    """Abort where boxes would be drawn on files named undrawn."""
    from dfbench.workflow import predict_drawing  # which takes a second

    def abort_on_undrawn(path: Path) -> RGB:
        if path.stem == "undrawn":
            os.abort()
        return read_image(path)

    predict_drawing.read_image = abort_on_undrawn
