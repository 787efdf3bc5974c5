"""Frames of a video file, by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from dfbench.faces.images import RGB, UnreadableError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}
)


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int  # in the clip
    time_s: float
    image: RGB | None  # None: this frame cannot be decoded


def read_frames(path: Path, count: int, policy: Literal["even", "first"] = "even") -> list[Frame]:
    """Decode at most `count` frames, evenly spaced over the whole clip, or the first ones.

    Every frame is grabbed in order and only the wanted are decoded to pictures: seeking is slower
    and lands on wrong frames in many containers. Where a file's own frame count is wrong, a second
    pass uses the true one.

    Raises:
      UnreadableError: the file is empty, no video, or holds no frame.
    """
    if path.stat().st_size == 0:
        raise UnreadableError("empty file (0 bytes)")
    with _opened(path) as capture:
        claimed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        wanted = list(range(count)) if policy == "first" else even_indices(claimed, count)
        frames, end = _decode(capture, wanted, to_end=policy == "even")
    if policy == "even" and end not in (0, claimed):
        with _opened(path) as capture:
            frames, _ = _decode(capture, even_indices(end, count), to_end=False)
    if all(frame.image is None for frame in frames):
        raise UnreadableError("the video holds no frame that can be decoded")
    return frames


def even_indices(total: int, count: int) -> list[int]:
    """Return the middles of `count` equal parts of `total` frames; all frames of a short clip."""
    if total <= count:
        return list(range(max(total, 0)))
    return [int((part + 0.5) * total / count) for part in range(count)]


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise UnreadableError("not a video that can be decoded")
        yield capture
    finally:
        capture.release()


def _decode(
    capture: cv2.VideoCapture, wanted: Sequence[int], *, to_end: bool
) -> tuple[list[Frame], int]:
    """Return the wanted frames and how many frames were gone through."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    left = set(wanted)
    frames: list[Frame] = []
    index = 0
    while (to_end or left) and capture.grab():
        if index in left:
            left.discard(index)
            good, image = capture.retrieve()
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8) if good else None
            frames.append(Frame(index, index / rate if rate > 0 else 0.0, rgb))
        index += 1
    return frames, index
