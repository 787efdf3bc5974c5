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
from collections.abc import Mapping, Sequence
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

from dfbench.errors import UserError
from dfbench.faces.clip import Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice, load_detector
from dfbench.faces.face import Detector
from dfbench.faces.one_clip import extract_clip
from dfbench.progress import Progress

CRASHED = "the decoder or the detector crashed on this file"

AHEAD = 2  # clips that wait or are in work for each process


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
