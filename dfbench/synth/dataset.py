"""The embedded datasets `synth_swap` and `synth_blend`: which clips there are, and rendering them.

Real clip `012` shows identity 12; fake clip `012_013` is that clip with the face of identity 13,
as FaceForensics++ names them. Identities come in pairs that donate to each other, and no identity
is in two splits or two datasets.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from dfbench.errors import UserError, nearest
from dfbench.faces.clip import FAKE, REAL, SPLITS, Clip, Split
from dfbench.files import write_text
from dfbench.progress import Progress
from dfbench.synth.face import Head, build_head, render_head
from dfbench.synth.forge import Forgery, blend_marks, forge_frame, swap_marks
from dfbench.synth.identity import make_identity
from dfbench.synth.scene import Camera, expose, film, make_scene, render_moment, sensor_noise
from dfbench.synth.video import Encoding, h264, mpeg4, write_video

SYNTH_VERSION = "3"
NAMES = ("synth_swap", "synth_blend")
FRAMES = 8  # of a clip

Size = Literal["tiny", "default"]

_MANIFEST = "clips.json"
_FAKES = {"synth_swap": "swap", "synth_blend": "blend"}  # manipulation of the fakes
# Clips a split, half of them real; and the first identity of a split, the same in each size.
_CLIPS: dict[Size, dict[Split, int]] = {
    "tiny": {"train": 48, "val": 12, "test": 20},
    "default": {"train": 160, "val": 40, "test": 80},
}
_FIRST: dict[Split, int] = {"train": 0, "val": 400, "test": 600}
# Parts of the seeds, so that streams of random numbers are apart.
_IDENTITY, _SCENE, _CAMERA, _MARKS, _GRAIN = range(5)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip to render; `donor` is None for a real one."""

    dataset: str
    split: Split
    target: int
    donor: int | None

    @property
    def video(self) -> str:
        """The clip's `video`: dataset, manipulation, name."""
        folder = "real" if self.donor is None else _FAKES[self.dataset]
        return f"{self.dataset}/{folder}/{self.stem}"

    @property
    def stem(self) -> str:
        """The file name without its ending."""
        return f"{self.target:03d}" + ("" if self.donor is None else f"_{self.donor:03d}")

    @property
    def file(self) -> str:
        """The file under the raw folder."""
        return f"{'real' if self.donor is None else 'fake'}/{self.stem}.mp4"


def list_jobs(name: str, size: Size) -> list[Job]:
    """Return the clips of a dataset; those of `tiny` are among those of `default`."""
    jobs: list[Job] = []
    for split in SPLITS:
        for k in range(_CLIPS[size][split] // 2):
            target = _FIRST[split] + k
            jobs.extend(
                Job(dataset=name, split=split, target=target, donor=donor)
                for donor in (None, target ^ 1)
            )
    return jobs


def render_dataset(
    name: str, size: Size, raw_dir: Path, *, jobs: int = 0, progress: Progress | None = None
) -> bool:
    """Render the clips that are missing under `raw_dir`, then write the manifest `clips.json`.

    The bytes depend on neither `jobs` nor on what was there before.

    Args:
        name: One of `NAMES`.
        size: How many clips.
        raw_dir: Gets `real/*.mp4`, `fake/*.mp4` and the manifest.
        jobs: Processes; 0 for one per core.
        progress: Called with clips.

    Returns:
        False if everything was there already.

    Raises:
        UserError: The dataset or size is unknown.
    """
    if name not in NAMES:
        raise UserError(f"unknown embedded dataset '{name}'{nearest(name, NAMES)}")
    if size not in _CLIPS:
        raise UserError(f"unknown size '{size}' of {name}: use one of {', '.join(_CLIPS)}")
    manifest = raw_dir / _MANIFEST
    header = {"dataset": name, "version": SYNTH_VERSION, "size": size}
    if manifest.is_file() and _header(manifest) == header:
        return False
    todo = list_jobs(name, size)
    stamp = raw_dir / ".version"
    same = stamp.is_file() and stamp.read_text() == f"{name} {SYNTH_VERSION}"
    missing = [job for job in todo if not (same and (raw_dir / job.file).is_file())]
    raw_dir.mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)
    if not same:  # clips of another renderer must not be taken for this one's
        for folder in ("real", "fake"):
            for old in (raw_dir / folder).glob("*.mp4"):
                old.unlink()
        write_text(stamp, f"{name} {SYNTH_VERSION}")
    done = len(todo) - len(missing)
    for finished in _render_all(missing, raw_dir, jobs or os.cpu_count() or 1):
        done += finished
        if progress is not None:
            progress(done, len(todo))
    rows = [asdict(job) | {"file": job.file} for job in todo]
    write_text(manifest, json.dumps(header | {"clips": rows}, indent=1) + "\n")
    return True


def _header(manifest: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("dataset", "version", "size")}
    except (ValueError, KeyError, TypeError):
        return None


def index_rendered(raw_dir: Path, name: str) -> list[Clip]:
    """Return the clips listed in the manifest under `raw_dir`.

    Raises:
        UserError: There is no manifest, or it is not one of this dataset.
    """
    manifest = raw_dir / _MANIFEST
    if not manifest.is_file():
        raise UserError(f"{manifest} is missing: render the clips with `dfbench prepare {name}`")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if content["dataset"] != name:
            raise ValueError(f"it belongs to '{content['dataset']}'")
        jobs = [
            Job(dataset=name, split=row["split"], target=int(row["target"]), donor=row["donor"])
            for row in content["clips"]
        ]
        if not jobs or any(job.split not in SPLITS for job in jobs):
            raise ValueError("no clips, or an unknown split")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{manifest} cannot be read ({type(error).__name__}: {error}); "
            f"delete it and run `dfbench prepare {name}` again"
        ) from error
    return [_clip(job, raw_dir) for job in jobs]


def _clip(job: Job, raw_dir: Path) -> Clip:
    prefix = job.dataset.removeprefix("synth_")
    real = Job(dataset=job.dataset, split=job.split, target=job.target, donor=None)
    fake = job.donor is not None
    return Clip(
        path=raw_dir / job.file,
        label=FAKE if fake else REAL,
        split=job.split,
        video=job.video,
        manipulation=_FAKES[job.dataset] if fake else "real",
        identity=f"{prefix}{job.target:03d}",
        source_identity=f"{prefix}{job.donor:03d}" if fake else "",
        original=real.video if fake else "",
    )


def _render_all(jobs: list[Job], raw_dir: Path, processes: int) -> Iterator[int]:
    """Yield the number of clips finished since the last time."""
    tasks = [tuple(group) for _, group in groupby(jobs, key=lambda job: job.target)]
    processes = min(processes, len(tasks))
    if processes <= 1:
        with _one_thread():
            yield from (render_clips(task, raw_dir) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # safe beside JAX's threads
    with ProcessPoolExecutor(
        processes, context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        futures = [pool.submit(render_clips, task, raw_dir) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _rng(job: Job, part: int, *more: int) -> np.random.Generator:
    return np.random.default_rng([NAMES.index(job.dataset), part, job.target, *more])


def _head(job: Job, number: int) -> Head:
    return build_head(make_identity(NAMES.index(job.dataset), _IDENTITY, number))


def render_clips(jobs: Sequence[Job], raw_dir: Path) -> int:
    """Render clips of one target, which share scene and camera; return how many."""
    first = jobs[0]
    scene = make_scene(_rng(first, _SCENE), FRAMES)
    camera, finish, encoding = _equipment(first, _rng(first, _CAMERA))
    target = _head(first, first.target)
    shots = [render_moment(scene, target, moment) for moment in scene.moments]
    exposed = [expose(frame, camera) for frame, _ in shots]
    for job in jobs:
        # Sensor noise differs between a fake and its original, as in another take.
        rng = _rng(job, _GRAIN, int(job.donor is not None))
        noise = sensor_noise(rng, scene.size, camera.grain)
        frames = [film(frame, camera, noise, rng) for frame in exposed]
        if job.donor is not None:
            donor, marks = _head(job, job.donor), _marks(job, _rng(job, _MARKS))
            for k, moment in enumerate(scene.moments):
                other = render_head(donor, moment.expression, moment.pose, moment.light, scene.size)
                frames[k] = forge_frame(frames[k], shots[k][1], other, camera, noise, marks, rng)
        frames = [film(frame, finish, noise, rng) for frame in frames]
        write_video(raw_dir / job.file, [np.rint(f).astype(np.uint8) for f in frames], encoding)
    return len(jobs)


def _marks(job: Job, rng: np.random.Generator) -> Forgery:
    return swap_marks(rng) if job.dataset == "synth_swap" else blend_marks(rng)


def _equipment(job: Job, rng: np.random.Generator) -> tuple[Camera, Camera, Encoding]:
    """Return camera, finishing and codec of a clip: alike for reals and fakes.

    Finishing comes after the forgery: what an editor or a site does to every video.
    """
    swap = job.dataset == "synth_swap"
    gains = rng.normal(1, 0.03, 3)
    camera = Camera(
        blur=float(rng.uniform(0.2, 0.7)),
        noise=float(rng.uniform(3.0, 7.0)),
        grain=float(rng.uniform(0.3, 0.5) if swap else rng.uniform(0.4, 0.7)),
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
        gamma=1.0 if swap else float(rng.uniform(0.85, 1.1)),
        sharpen=0.0 if swap else float(rng.uniform(0.2, 0.6)),
    )
    finish = Camera(
        blur=float(rng.uniform(0.0, 0.4)),
        noise=float(rng.uniform(0.5, 2.0)),
        grain=0.0,
        gains=(1.0, 1.0, 1.0),
        gamma=1.0,
        sharpen=0.0,
    )
    encoding = h264(int(rng.integers(18, 27))) if swap else mpeg4(int(rng.integers(2, 6)))
    return camera, finish, encoding
