"""Small media files for tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_video(path: Path, frames: int, *, width: int = 64, height: int = 48) -> None:
    """Write an MPEG-4 video whose frame `i` is a grey picture of brightness 4 * i + 8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (width, height))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((height, width, 3), 4 * index + 8, np.uint8))
    writer.release()


def write_image(path: Path, seed: int = 0, *, side: int = 64) -> None:
    """Write a picture of smooth colour noise, in which no detector sees a face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(small, (side, side)))
