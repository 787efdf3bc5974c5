"""Frames of a video file, by OpenCV, or of a folder that holds a video's frames as images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from dfbench.faces.clip import FramePolicy
from dfbench.faces.images import MAX_PIXELS, RGB, UnreadableError, read_image
from dfbench.faces.worker import beat

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}
)
FOLDER_RATE = 25.0  # frames a second of a video that lies there as images
MAX_HELD = 4 * 2**30  # bytes of decoded frames: 32 of 8K, or 160 of 4K
# How far pixels may be from square: further off, a header is wrong; nearer, it is rounding.
LEAST_ASPECT, MOST_ASPECT = 1.02, 4.0


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int  # in the clip
    time_s: float
    image: RGB | None  # None: this frame cannot be decoded
    before: RGB | None = None  # the frame before; None: there is none, or nobody asked


def one_thread() -> None:
    """Let OpenCV compute in one thread: where files are decoded, they are the parallel part."""
    cv2.setNumThreads(1)


def neighbour(index: int) -> int:
    """Return the frame that one is compared with: the one before; of the first, the one after."""
    return index - 1 if index else 1


def read_frames(
    path: Path, count: int, policy: FramePolicy = "even", *, before: bool = False
) -> list[Frame]:
    """Decode at most `count` frames, chosen by `policy`; `before`: each with its neighbour.

    Every frame is grabbed in order and only the wanted are decoded to pictures: seeking is slower
    and lands on wrong frames in many containers. Where a file's own frame count is wrong, a second
    pass uses the true one. Videos are shown as players do: turned upright, and with square pixels,
    as their container says.

    Raises:
      UnreadableError: the file is empty, no video, too large or holds no frame.
      OSError: it cannot be read.
    """
    if path.is_dir():
        return _read_folder(path, count, policy, before)
    if path.stat().st_size == 0:
        raise UnreadableError("empty file (0 bytes)")
    with _opened(path) as capture:
        claimed = int(_number(capture, cv2.CAP_PROP_FRAME_COUNT))
        rate = _number(capture, cv2.CAP_PROP_FPS)
        # Some containers claim too few frames: the first ones are asked for all the same.
        total = max(claimed, count) if policy == "first" else claimed
        wanted = frame_indices(total, count, policy, rate)
        frames, end = _decode(capture, wanted, before, to_end=policy != "first")
    if policy != "first" and end not in (0, claimed):
        frames = []  # before there are others
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

    held = _Held()

    def read(index: int) -> RGB | None:
        beat()
        try:
            image = read_image(files[index]) if index < len(files) else None
        except UnreadableError:
            return None
        return None if image is None else held.add(image)

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
    # In several threads, what a damaged file decodes to is another thing each time.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, (cv2.CAP_PROP_N_THREADS, 1))
    try:
        if not capture.isOpened():
            with path.open("rb") as file:  # no permission, a lost disk: this says so
                file.read(1)
            raise UnreadableError("not a video that can be decoded")
        _check_size(*(_number(capture, side) for side in _SIDES))
        yield capture
    finally:
        capture.release()


_SIDES = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)


def _check_size(width: float, height: float) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"frames too large ({width:.0f}x{height:.0f})")


def _number(capture: cv2.VideoCapture, what: int) -> float:
    """Return what a header says; 0 where that is no number."""
    value = capture.get(what)
    return value if math.isfinite(value) else 0.0


class _Held:
    """Counts the bytes of frames that are held."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, image: RGB) -> RGB:
        """Count a frame, and return it.

        Raises:
          UnreadableError: there are too many.
        """
        self._bytes += image.nbytes
        if self._bytes > MAX_HELD:
            raise UnreadableError(f"its frames take more than {MAX_HELD >> 30} GiB of memory")
        return image


def _pixel_aspect(capture: cv2.VideoCapture) -> float:
    """Return width over height of a pixel of the upright picture; 1 where that is unknown."""
    over, under = (_number(capture, p) for p in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
    if (
        over <= 0
        or under <= 0
        or not LEAST_ASPECT <= max(over / under, under / over) <= MOST_ASPECT
    ):
        return 1.0
    turned = round(_number(capture, cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    return under / over if turned else over / under


def _square_pixels(image: RGB, aspect: float) -> RGB:
    """Stretch a frame to square pixels: its shorter-looking side grows, so that nothing is lost."""
    if aspect == 1:
        return image
    height, width = image.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    _check_size(*size)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _decode(
    capture: cv2.VideoCapture, wanted: Sequence[int], before: bool, *, to_end: bool
) -> tuple[list[Frame], int]:
    """Return the wanted frames and how many frames were gone through.

    A frame that is grabbed is decoded already: its neighbour costs no more than its conversion.
    """
    left = {*wanted, *(neighbour(index) for index in wanted if before)}
    found: dict[int, Frame] = {}
    aspect, held = _pixel_aspect(capture), _Held()
    index = 0
    while (to_end or left) and capture.grab():
        beat()
        if index in left:
            left.discard(index)
            image = _picture(capture, aspect, held)
            time_s = _number(capture, cv2.CAP_PROP_POS_MSEC) / 1000  # right for variable rates too
            found[index] = Frame(index, max(time_s, 0.0), image)
        index += 1
    frames = [found[index] for index in sorted(set(wanted)) if index in found]
    if before:
        others = (found.get(neighbour(frame.index)) for frame in frames)
        frames = [
            replace(frame, before=other.image if other else None)
            for frame, other in zip(frames, others, strict=True)
        ]
    return frames, index


def _picture(capture: cv2.VideoCapture, aspect: float, held: _Held) -> RGB | None:
    """Return the frame that was grabbed last; None where it cannot be decoded."""
    good, image = capture.retrieve()
    if not good:
        return None
    _check_size(*image.shape[1::-1])  # streams may change it
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return held.add(_square_pixels(rgb, aspect))
