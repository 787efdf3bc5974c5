"""Crops without media: an extraction that plans as the real one does, and a process's memory."""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from dfbench.faces.clip import Clip, ClipResult, Crop, CropRecipe
from dfbench.faces.detect import DetectorChoice
from dfbench.faces.extract import Extract, plan, write_shard
from dfbench.faces.hashing import BYTES
from dfbench.progress import Progress


def made_up(crops: int, note: Callable[[str], None] = lambda name: None) -> Extract:
    """Return an extraction that plans as the real one does and then makes crops up.

    Args:
      crops: of each clip.
      note: told when it has "planned", and when it has "extracted".
    """

    def extract(
        clips: Sequence[Clip],
        recipe: CropRecipe,
        shard_dir: Path,
        *,
        detector: DetectorChoice,
        jobs: int = 0,
        progress: Progress | None = None,
    ) -> list[Path]:
        shards, *waves = plan(clips, recipe, shard_dir)
        note("planned")
        for task in (task for wave in waves for task in wave):
            write_shard(task.shard, _result(task.clip, recipe, crops))
        note("extracted")
        return shards

    return extract


def _result(clip: Clip, recipe: CropRecipe, crops: int) -> ClipResult:
    """Return crops of noise, which no encoder makes smaller."""
    found, side = [], recipe.size
    for frame in range(crops):
        name = f"{clip.video}#{frame}".encode()
        seed = hashlib.sha256(name).digest()
        pixels = np.frombuffer(hashlib.shake_128(name).digest(side * side * 3), np.uint8)
        suffix = ".jpg" if recipe.format == "jpeg" else ".png"
        found.append(
            Crop(
                frame=frame,
                time_s=float(frame),
                box=(0.0, 0.0, 9.0, 9.0),
                score=1.0,
                image=cv2.imencode(suffix, pixels.reshape(side, side, 3))[1].tobytes(),
                content=int.from_bytes(seed[:8]),
                phash=(seed * 2)[:BYTES],
            )
        )
    return ClipResult(video=clip.video, wanted=crops, crops=tuple(found))


def peak_mib() -> float:
    """Return the most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
