"""Clips to face crops: in parallel, one shard file a clip, resumable, with a reason a miss."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import socket
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import msgspec
import numpy as np

from dfbench.errors import UserError
from dfbench.faces.clip import Clip, ClipResult, Crop, CropRecipe
from dfbench.faces.crop import (
    Affine,
    Box,
    cut,
    encode,
    inner_square,
    middle,
    recipe_box,
    resize,
    turned,
)
from dfbench.faces.detect import DetectorChoice, has_eyes, load_detector
from dfbench.faces.face import Detector, Face
from dfbench.faces.hashing import content_hash, difference_hash
from dfbench.faces.images import RGB, UnreadableError, is_image, read_image
from dfbench.faces.self_blend import self_blend
from dfbench.faces.video import Frame, read_frames
from dfbench.progress import Progress

NO_FACE = "no face found"
UNDECODABLE = "cannot decode"
ALONE = "no other frame beside it"
CRASHED = "the decoder or the detector crashed on this file"

AHEAD = 2  # clips that wait or are in work for each process
NEAR_S = 0.5  # how far a frame of the original may be for its box to be used


@dataclass(frozen=True)
class Task:
    """A clip, and where its shard goes."""

    clip: Clip
    shard: Path
    original: Path | None = None  # shard of the clip whose boxes are used


class Extract(Protocol):
    """Something that does what `extract_clips` does: that function, or the same on a cluster."""

    def __call__(
        self,
        clips: Sequence[Clip],
        recipe: CropRecipe,
        shard_dir: Path,
        *,
        detector: DetectorChoice,
        jobs: int = 0,
        progress: Progress | None = None,
    ) -> list[Path]:
        """Find and crop the faces of all clips; return one shard file a clip, in their order."""


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

    Raises:
      UserError: the detector cannot be loaded.
      OSError: a shard cannot be written.
    """
    shards, *waves = plan(clips, recipe, shard_dir)
    counter = _Counter(len(clips) - sum(len(wave) for wave in waves), len(clips), progress)
    jobs = jobs or os.cpu_count() or 1
    for wave in waves:
        todo = deque(wave)
        while todo:
            # The pool died: one of these was the cause. Each gets a process of its own.
            suspects = _run(todo, recipe, detector, jobs, counter)
            with ThreadPoolExecutor(jobs) as threads:
                alone = functools.partial(_dies_alone, recipe=recipe, detector=detector)
                dead = list(threads.map(alone, suspects))
            if any(dead):
                _require_start(recipe, detector)
            for task, died in zip(suspects, dead, strict=True):
                if died:
                    write_shard(task.shard, crashed(task.clip))
                counter.add()
    return shards


def plan(
    clips: Sequence[Clip], recipe: CropRecipe, shard_dir: Path
) -> tuple[list[Path], list[Task], list[Task]]:
    """Make the folder; return the shards of all clips, and the tasks whose shard is not there.

    The second tasks need the shards of the first: they are cut where their originals were.
    """
    shard_dir.mkdir(parents=True, exist_ok=True)
    shards = [shard_dir / _shard_name(clip.video) for clip in clips]
    there = set(shard_dir.iterdir())  # one look, not one a clip: the folder may be far away
    names = {clip.video for clip in clips} if recipe.boxes == "original" else set()
    first, second = [], []
    for clip, shard in zip(clips, shards, strict=True):
        if shard in there:
            continue
        if clip.original in names:
            second.append(Task(clip, shard, shard_dir / _shard_name(clip.original)))
        else:
            first.append(Task(clip, shard))
    return shards, first, second


def crashed(clip: Clip) -> ClipResult:
    """Return the result of a clip on which a process of its own died."""
    return ClipResult(video=clip.video, wanted=1, crops=(), reason=CRASHED)


class _Counter:
    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = done, total, progress

    def add(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _run(
    todo: deque[Task],
    recipe: CropRecipe,
    detector: DetectorChoice,
    jobs: int,
    counter: _Counter,
) -> list[Task]:
    """Work off the tasks in a pool, until none is left or a process dies.

    Then return those that may have been the cause. Few wait in the pool at a time, so these are
    few too, whatever is still to do.
    """
    if not todo:
        return []
    with open_pool(min(jobs, len(todo)), recipe, detector) as pool:
        futures: dict[Future[None], Task] = {}
        try:
            while todo or futures:
                while todo and len(futures) < AHEAD * jobs:
                    futures[pool.submit(work, todo[0])] = todo[0]
                    todo.popleft()
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    future.result()
                    del futures[future]
                    counter.add()
        except BrokenProcessPool:
            return _lost(futures, counter)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # waits for the clips in work alone
            raise
    return []


def _lost(futures: Mapping[Future[None], Task], counter: _Counter) -> list[Task]:
    """Return the tasks of a pool that died that left no shard."""
    wait(futures)
    lost = [task for task in futures.values() if not task.shard.is_file()]
    for _ in range(len(futures) - len(lost)):
        counter.add()
    return lost


def _dies_alone(task: Task, recipe: CropRecipe, detector: DetectorChoice) -> bool:
    """Work on a clip in a process of its own; return whether that died."""
    return bool(_run(deque([task]), recipe, detector, 1, _Counter(0, 1, None)))


def _require_start(recipe: CropRecipe, detector: DetectorChoice) -> None:
    """Raise UserError where a process dies without a clip: then no clip is to blame."""
    with open_pool(1, recipe, detector) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool:
            raise UserError(
                f"the detector {detector.name} takes its process down while it is loaded, before "
                "any clip; --verbose shows what its libraries say, --detector takes another one"
            ) from None


def open_pool(processes: int, recipe: CropRecipe, detector: DetectorChoice) -> ProcessPoolExecutor:
    """Return a pool whose processes have loaded the detector and take `work`."""
    return ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),  # a fork of a threaded process may hang
        initializer=_start_worker,
        initargs=(recipe, detector),
    )


# --- in the worker --------------------------------------------------------------------------------

_state: tuple[CropRecipe, Detector] | None = None


def _start_worker(recipe: CropRecipe, detector: DetectorChoice) -> None:
    global _state
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if os.environ.get("DFBENCH_VERBOSE") != "1":
        # MediaPipe's and FFmpeg's C++ lines go to the file descriptor, past every setting.
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        os.close(silent)
    cv2.setNumThreads(1)  # the clips are the parallel part
    _state = (recipe, load_detector(detector))


def _end_with_parent() -> None:
    """End this process when the one that started it is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def work(task: Task) -> None:
    """Write the shard of a clip, in a process of a pool of `open_pool`."""
    assert _state is not None
    original = read_shard(task.original) if task.original else None
    write_shard(task.shard, extract_clip(task.clip, *_state, original=original))


def extract_clip(
    clip: Clip, recipe: CropRecipe, detector: Detector, *, original: ClipResult | None = None
) -> ClipResult:
    """Find and crop the faces of one clip; a file that cannot be read gives a reason instead.

    With `original`, frames are cut where those of that clip were, if they are of the same size.
    Where the recipe wants the frame before, what is done to a frame is done to both.
    """
    still = is_image(clip.path)
    wanted = 1 if still else recipe.frames * (recipe.real_oversample if not clip.label else 1)
    try:
        frames = (
            [Frame(0, 0.0, read_image(clip.path))]
            if still
            else read_frames(clip.path, wanted, recipe.policy, before=recipe.before)
        )
    except (UnreadableError, OSError) as error:
        return ClipResult(video=clip.video, wanted=wanted, crops=(), reason=str(error))
    crops, misses = [], []
    for frame in frames:
        if frame.image is None:
            misses.append((frame.index, UNDECODABLE))
            continue
        if recipe.before and frame.before is None:
            misses.append((frame.index, ALONE))
            continue
        pair = (frame.image,) if frame.before is None else (frame.image, frame.before)
        same = _same_place(original, frame)
        if same:
            found = [([cut(image, same.box) for image in pair], same.box, same.score)]
        else:
            found = [
                _cut_face(pair, face, clip, recipe, frame.index)
                for face in _chosen(detector(frame.image), clip)
            ]
        if not found:
            misses.append((frame.index, NO_FACE))
        crops += [_stored(images, box, score, frame, recipe) for images, box, score in found]
    alone = {reason for _, reason in misses} == {ALONE}
    reason = f"{ALONE if alone else NO_FACE} in {len(frames)} frame{'s' if len(frames) > 1 else ''}"
    return ClipResult(
        video=clip.video,
        wanted=len(frames),
        crops=tuple(crops),
        misses=tuple(misses),
        reason="" if crops else reason,
        frame_shape=next((f.image.shape[:2] for f in frames if f.image is not None), (0, 0)),
    )


def _chosen(faces: Sequence[Face], clip: Clip) -> Sequence[Face]:
    return faces if clip.every_face else sorted(faces, key=lambda f: -f.area)[:1]


def _cut_face(
    pair: Sequence[RGB], face: Face, clip: Clip, recipe: CropRecipe, frame: int
) -> tuple[list[RGB], Box, float]:
    """Cut a face out of a frame and the one before; also return the square and the score."""
    images, box, into = _crop(pair, face, recipe)
    if clip.self_blend:
        images = [_blended(image, face, into, clip, frame) for image in images]
    return images, box, face.score


def _stored(
    images: Sequence[RGB], box: Box, score: float, frame: Frame, recipe: CropRecipe
) -> Crop:
    pixels, *before = (resize(image, recipe.size) for image in images)
    encoded = encode(pixels, recipe)
    return Crop(
        frame=frame.index,
        time_s=frame.time_s,
        box=box,
        score=score,
        image=encoded,
        content=content_hash(encoded),
        phash=difference_hash(pixels),
        before=encode(before[0], recipe) if before else b"",
    )


def _same_place(original: ClipResult | None, frame: Frame) -> Crop | None:
    """Return the crop of the original that is nearest in time, if there is one near enough."""
    if original is None or frame.image is None or original.frame_shape != frame.image.shape[:2]:
        return None
    crop = min(original.crops, key=lambda crop: abs(crop.time_s - frame.time_s), default=None)
    return crop if crop and abs(crop.time_s - frame.time_s) <= NEAR_S else None


def check_recipe(recipe: CropRecipe) -> None:
    """Raise UserError where the recipe contradicts itself, or asks for more than is found."""
    if recipe.align and recipe.boxes == "original":
        raise UserError(
            "data.align and data.boxes=original exclude each other: a turned crop is of one frame"
        )
    if recipe.align and not has_eyes(recipe.detector):
        raise UserError(
            f"data.align needs a detector that finds eyes, and {recipe.detector} does not"
        )


def _crop(images: Sequence[RGB], face: Face, recipe: CropRecipe) -> tuple[list[RGB], Box, Affine]:
    """Cut the face out of frames, at one place.

    Also return the square in the frame and the map of points into the crop.
    """
    if recipe.detector == "none":
        box = inner_square(*images[0].shape[:2])
    else:
        box = recipe_box(face.box, recipe)
    if recipe.align:
        right, left, *_ = face.keypoints  # of the person: the right one is left in the frame
        squares = [turned(image, box, middle(face.box), (right, left)) for image in images]
        return [square for square, _ in squares], box, squares[0][1]
    into = np.array([[1.0, 0.0, -round(box[0])], [0.0, 1.0, -round(box[1])]])
    return [cut(image, box) for image in images], box, into


def _blended(image: RGB, face: Face, into: Affine, clip: Clip, frame: int) -> RGB:
    """Blend in the crop, before it is scaled; the result depends on the clip's name and frame."""

    def moved(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in (into @ (*point, 1.0) for point in points)]

    # A turned box would be another one; its centre turns, and its size is that of the face.
    ((x, y),) = moved([middle(face.box)])
    width, height = face.box[2] - face.box[0], face.box[3] - face.box[1]
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    local = Face(box, face.score, tuple(moved(face.keypoints)))
    digest = hashlib.sha256(f"{clip.video}#{frame}".encode()).digest()
    return self_blend(image, local, np.random.default_rng(list(digest)))


# --- shards ---------------------------------------------------------------------------------------


def _shard_name(video: str) -> str:
    return hashlib.sha256(video.encode()).hexdigest()[:24] + ".msgpack"


def write_shard(path: Path, result: ClipResult) -> None:
    """Write a clip's result, whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    write_whole(path, msgspec.msgpack.encode(result))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, whoever else writes it.

    Raises:
      OSError: it cannot be written; the error names the file.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk's error names none
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def read_shard(path: Path) -> ClipResult:
    """Read a clip's result."""
    return msgspec.msgpack.decode(path.read_bytes(), type=ClipResult)
