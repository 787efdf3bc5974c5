"""Clips to face crops: in parallel, one shard file a clip, resumable, with a reason a miss."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import msgspec
import numpy as np

from dfbench.faces.clip import Clip, ClipResult, Crop, CropRecipe
from dfbench.faces.crop import Box, cut, encode, inner_square, resize, square_box
from dfbench.faces.detect import Detector, DetectorChoice, Face, load_detector
from dfbench.faces.images import IMAGE_SUFFIXES, RGB, UnreadableError, read_image
from dfbench.faces.self_blend import self_blend
from dfbench.faces.video import Frame, read_frames
from dfbench.progress import Progress

NO_FACE = "no face found"
UNDECODABLE = "cannot decode"
CRASHED = "the decoder or the detector crashed on this file"


def extract_clips(
    clips: Sequence[Clip],
    recipe: CropRecipe,
    shard_dir: Path,
    *,
    detector: DetectorChoice,
    jobs: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Find and crop the faces of all clips; return one shard file a clip, in their order.

    Shards are written whole or not at all, and those that are there are kept: a killed call goes on
    where it was. A file that takes its process down costs itself, not the others.

    Args:
      clips: what to decode.
      recipe: frames, margin, size and encoding.
      shard_dir: folder of the shards; it must belong to this recipe alone.
      detector: of `resolve_detector`.
      jobs: processes; 0: one a core.
      progress: called with the number of finished clips.
    """
    shard_dir.mkdir(parents=True, exist_ok=True)
    shards = [shard_dir / _shard_name(clip) for clip in clips]
    todo = [(c, s) for c, s in zip(clips, shards, strict=True) if not s.is_file()]
    counter = _Counter(len(clips) - len(todo), len(clips), progress)
    lost = _run(todo, recipe, detector, jobs or os.cpu_count() or 1, counter)
    # The pool died: one of these was the cause. Each gets a process of its own.
    for clip, shard in lost:
        if _run([(clip, shard)], recipe, detector, 1, counter):
            write_shard(shard, ClipResult(video=clip.video, wanted=1, crops=(), reason=CRASHED))
            counter.add()
    return shards


class _Counter:
    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = done, total, progress

    def add(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


Task = tuple[Clip, Path]


def _run(
    tasks: Sequence[Task],
    recipe: CropRecipe,
    detector: DetectorChoice,
    jobs: int,
    counter: _Counter,
) -> list[Task]:
    """Work off the tasks in a pool; return those that were unfinished when a process died."""
    if not tasks:
        return []
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),  # a fork of a threaded process may hang
        initializer=_start_worker,
        initargs=(recipe, detector),
    )
    with pool:
        futures = {pool.submit(_work, clip, shard): (clip, shard) for clip, shard in tasks}
        try:
            return _collect(futures, counter)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collect(futures: dict[Future[None], Task], counter: _Counter) -> list[Task]:
    lost = []
    for future in as_completed(futures):
        try:
            future.result()
        except BrokenProcessPool:
            if not futures[future][1].is_file():
                lost.append(futures[future])
                continue
        counter.add()
    order = {shard: place for place, (_, shard) in enumerate(futures.values())}
    return sorted(lost, key=lambda task: order[task[1]])


# --- in the worker --------------------------------------------------------------------------------

_state: tuple[CropRecipe, Detector] | None = None


def _start_worker(recipe: CropRecipe, detector: DetectorChoice) -> None:
    global _state
    if os.environ.get("DFBENCH_VERBOSE") != "1":
        # MediaPipe's and FFmpeg's C++ lines go to the file descriptor, past every setting.
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        os.close(silent)
    cv2.setNumThreads(1)  # the clips are the parallel part
    _state = (recipe, load_detector(detector))


def _work(clip: Clip, shard: Path) -> None:
    assert _state is not None
    write_shard(shard, extract_clip(clip, *_state))


def extract_clip(clip: Clip, recipe: CropRecipe, detector: Detector) -> ClipResult:
    """Find and crop the faces of one clip; a file that cannot be read gives a reason instead."""
    is_image = clip.path.suffix.lower() in IMAGE_SUFFIXES
    wanted = 1 if is_image else recipe.frames
    try:
        frames = (
            [Frame(0, 0.0, read_image(clip.path))]
            if is_image
            else read_frames(clip.path, recipe.frames, recipe.policy)
        )
    except (UnreadableError, OSError) as error:
        return ClipResult(video=clip.video, wanted=wanted, crops=(), reason=str(error))
    crops, misses = [], []
    for frame in frames:
        if frame.image is None:
            misses.append((frame.index, UNDECODABLE))
            continue
        face = max(detector(frame.image), key=lambda f: f.area, default=None)
        if face is None:
            misses.append((frame.index, NO_FACE))
            continue
        image, box = _crop(frame.image, face, recipe, clip, frame.index)
        encoded = encode(resize(image, recipe.size), recipe)
        crops.append(
            Crop(frame=frame.index, time_s=frame.time_s, box=box, score=face.score, image=encoded)
        )
    reason = "" if crops else f"{NO_FACE} in {len(frames)} frame{'s' if len(frames) > 1 else ''}"
    return ClipResult(
        video=clip.video,
        wanted=len(frames),
        crops=tuple(crops),
        misses=tuple(misses),
        reason=reason,
    )


def _crop(image: RGB, face: Face, recipe: CropRecipe, clip: Clip, frame: int) -> tuple[RGB, Box]:
    if recipe.detector == "none":
        box = inner_square(*image.shape[:2])
    else:
        box = square_box(face.box, recipe.margin)
    cropped = cut(image, box)
    return (_blended(cropped, face, box, clip, frame) if clip.self_blend else cropped), box


def _blended(image: RGB, face: Face, box: Box, clip: Clip, frame: int) -> RGB:
    """Blend in the crop, before it is scaled; the result depends on the clip's name and frame."""
    left, top = round(box[0]), round(box[1])

    def moved(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x - left, y - top) for x, y in points]

    (x0, y0), (x1, y1) = moved([face.box[:2], face.box[2:]])
    local = Face((x0, y0, x1, y1), face.score, tuple(moved(face.keypoints)))
    digest = hashlib.sha256(f"{clip.video}#{frame}".encode()).digest()
    return self_blend(image, local, np.random.default_rng(list(digest)))


# --- shards ---------------------------------------------------------------------------------------


def _shard_name(clip: Clip) -> str:
    return hashlib.sha256(clip.video.encode()).hexdigest()[:24] + ".msgpack"


def write_shard(path: Path, result: ClipResult) -> None:
    """Write a clip's result, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.msgpack.encode(result))
    temporary.replace(path)


def read_shard(path: Path) -> ClipResult:
    """Read a clip's result."""
    return msgspec.msgpack.decode(path.read_bytes(), type=ClipResult)
