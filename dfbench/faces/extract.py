"""Clips to face crops: in parallel, one shard file a clip, resumable, with a reason a miss."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from dfbench.errors import UserError
from dfbench.faces.clip import Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice, load_detector
from dfbench.faces.face import Detector, Face
from dfbench.faces.images import RGB
from dfbench.faces.one_clip import extract_clip
from dfbench.faces.video import one_thread
from dfbench.faces.worker import DEFAULT, Limits, Lost, StartError, Worker, beat, work_off
from dfbench.files import write_bytes
from dfbench.progress import Progress

CRASHED = "the decoder or the detector crashed on this file"


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
    limits: Limits = DEFAULT,
) -> list[Path]:
    """Find and crop the faces of all clips; return one shard file a clip, in their order.

    Shards are written whole or not at all, and those that are there are kept: a killed call goes on
    where it was. A file that takes its process down, or on which nothing happens any more, costs
    itself, not the others.

    Args:
      clips: what to decode.
      recipe: frames, margin, size and encoding.
      shard_dir: folder of the shards; it must belong to this recipe alone.
      detector: of `resolve_detector`.
      jobs: processes; 0: one a core.
      progress: called with the number of finished clips.
      limits: when a clip is given up, and how much memory each process may fill.

    Raises:
      UserError: the detector cannot be loaded.
      OSError: a shard cannot be written.
    """
    shards, *waves = plan(clips, recipe, shard_dir)
    counter = _Counter(len(clips) - sum(len(wave) for wave in waves), len(clips), progress)
    run = functools.partial(_run, recipe=recipe, detector=detector, limits=limits)
    for wave in waves:
        suspects = []
        with contextlib.closing(run(wave, jobs or os.cpu_count() or 1)) as done:
            for task, lost in done:
                if lost is not None and lost.again:
                    suspects.append(task)
                else:
                    _end(task, lost, counter)
        # The first death may not be the file's fault: no memory. Now nothing else runs.
        with contextlib.closing(run(suspects, 1)) as done:
            for task, lost in done:
                _end(task, lost, counter)
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


def given_up(clip: Clip, lost: Lost) -> ClipResult:
    """Return the result of a clip of which nothing came."""
    reason = f"{CRASHED} ({lost.reason})" if lost.again else f"given up: {lost.reason}"
    return ClipResult(video=clip.video, wanted=1, crops=(), reason=reason)


class _Counter:
    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = done, total, progress

    def add(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _end(task: Task, lost: Lost | None, counter: _Counter) -> None:
    """Count a task; where nothing came of it, write that down."""
    if lost is not None:
        write_shard(task.shard, given_up(task.clip, lost))
    counter.add()


def _run(
    tasks: Sequence[Task],
    jobs: int,
    *,
    recipe: CropRecipe,
    detector: DetectorChoice,
    limits: Limits,
) -> Generator[tuple[Task, Lost | None], None, None]:
    """Work off tasks; yield each as it comes to its end, with what was lost if there is no shard.

    Raises:
      UserError: a process dies without a clip: then no clip is to blame.
    """
    done = work_off(
        tasks, work, start=_start_worker, arguments=(recipe, detector), jobs=jobs, limits=limits
    )
    with contextlib.closing(done), starting(detector):
        for task, found in done:
            lost = found if isinstance(found, Lost) and not task.shard.is_file() else None
            yield task, lost


@contextlib.contextmanager
def starting(detector: DetectorChoice) -> Iterator[None]:
    """Raise UserError where a process dies before its first clip."""
    try:
        yield
    except StartError as error:
        raise UserError(
            f"the detector {detector.name} takes its process down while it is loaded, before "
            f"any clip ({error.how}); --verbose shows what its libraries say, --detector takes "
            "another one"
        ) from None


def open_worker(recipe: CropRecipe, detector: DetectorChoice, limits: Limits) -> Worker[Task, None]:
    """Return a process that loads the detector and does `work`."""
    return Worker(work, _start_worker, (recipe, detector), limits)


# --- in the worker --------------------------------------------------------------------------------

_state: tuple[CropRecipe, Detector] | None = None


def _start_worker(recipe: CropRecipe, detector: DetectorChoice) -> None:
    global _state
    one_thread()
    find = load_detector(detector)

    def find_and_beat(image: RGB) -> list[Face]:
        beat()
        return find(image)

    _state = (recipe, find_and_beat)


def work(task: Task) -> None:
    """Write the shard of a clip, in a process that `_start_worker` has made ready."""
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
    write_bytes(path, msgspec.msgpack.encode(result))


def read_shard(path: Path) -> ClipResult:
    """Read a clip's result."""
    return msgspec.msgpack.decode(path.read_bytes(), type=ClipResult)
