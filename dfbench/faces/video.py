"""Frames of a video file, by OpenCV, or of a folder that holds a video's frames as images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from dfbench.faces.clip import FramePolicy
from dfbench.faces.images import RGB, UnreadableError, read_image

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}
)
FOLDER_RATE = 25.0  # frames a second of a video that lies there as images


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int  # in the clip
    time_s: float
    image: RGB | None  # None: this frame cannot be decoded
    before: RGB | None = None  # the frame before; None: there is none, or nobody asked


def neighbour(index: int) -> int:
    """Return the frame that one is compared with: the one before; of the first, the one after."""
    return index - 1 if index else 1


def read_frames(
    path: Path, count: int, policy: FramePolicy = "even", *, before: bool = False
) -> list[Frame]:
    """Decode at most `count` frames, chosen by `policy`; `before`: each with its neighbour.

    Every frame is grabbed in order and only the wanted are decoded to pictures: seeking is slower
    and lands on wrong frames in many containers. Where a file's own frame count is wrong, a second
    pass uses the true one. Videos are turned upright as their container says.

    Raises:
      UnreadableError: the file is empty, no video, or holds no frame.
    """
    if path.is_dir():
        return _read_folder(path, count, policy, before)
    if path.stat().st_size == 0:
        raise UnreadableError("empty file (0 bytes)")
    with _opened(path) as capture:
        claimed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS)
        # Some containers claim too few frames: the first ones are asked for all the same.
        total = max(claimed, count) if policy == "first" else claimed
        wanted = frame_indices(total, count, policy, rate)
        frames, end = _decode(capture, wanted, before, to_end=policy != "first")
    if policy != "first" and end not in (0, claimed):
        with _opened(path) as capture:
            wanted = frame_indices(end, count, policy, rate)
            frames, _ = _decode(capture, wanted, before, to_end=False)
    if all(frame.image is None for frame in frames):
        raise UnreadableError("the video holds no frame that can be decoded")
    return frames


def _read_folder(path: Path, count: int, policy: FramePolicy, before: bool) -> list[Frame]:
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] != ".")
    if not files:
        raise UnreadableError("an empty folder instead of a video's frames")

    def read(index: int) -> RGB | None:
        try:
            return read_image(files[index]) if index < len(files) else None
        except UnreadableError:
            return None

    frames = []
    for index in frame_indices(len(files), count, policy, FOLDER_RATE):
        other = read(neighbour(index)) if before else None
        frames.append(Frame(index, index / FOLDER_RATE, read(index), other))
    if all(frame.image is None for frame in frames):
        raise UnreadableError("the folder holds no image that can be decoded")
    return frames


def frame_indices(total: int, count: int, policy: FramePolicy, rate: float) -> list[int]:
    """Choose at most `count` of `total` frames; all frames of a short clip.

    "even": the middles of `count` equal parts; "first": the first ones; "second": the first frame
    of each second, at `rate` frames a second; "centre": the ones around the middle.
    """
    if policy == "second":
        step = max(rate, 1.0)
        return [index for n in range(count) if (index := round(n * step)) < total]
    if total <= count or policy == "first":
        return list(range(min(max(total, 0), count)))
    if policy == "centre":
        first = (total - count) // 2
        return list(range(first, first + count))
    return [int((part + 0.5) * total / count) for part in range(count)]


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            path.open("rb").close()  # no permission: this says so
            raise UnreadableError("not a video that can be decoded")
        yield capture
    finally:
        capture.release()


def _decode(
    capture: cv2.VideoCapture, wanted: Sequence[int], before: bool, *, to_end: bool
) -> tuple[list[Frame], int]:
    """Return the wanted frames and how many frames were gone through.

    A frame that is grabbed is decoded already: its neighbour costs no more than its conversion.
    """
    left = {*wanted, *(neighbour(index) for index in wanted if before)}
    found: dict[int, Frame] = {}
    index = 0
    while (to_end or left) and capture.grab():
        if index in left:
            left.discard(index)
            good, image = capture.retrieve()
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8) if good else None
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000  # right for variable rates too
            found[index] = Frame(index, max(time_s, 0.0), rgb)
        index += 1
    frames = [found[index] for index in sorted(set(wanted)) if index in found]
    if before:
        others = (found.get(neighbour(frame.index)) for frame in frames)
        frames = [
            replace(frame, before=other.image if other else None)
            for frame, other in zip(frames, others, strict=True)
        ]
    return frames, index
