"""Face extraction as an Apache Beam pipeline, for clusters: the same shards as of one machine.

The pipeline carries numbers alone. Clips, the detector's model file and the folder of shards lie
where every worker finds them by the same path; what there is to do is a file in that folder.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.errors import UserError
from dfbench.faces.clip import Clip, CropRecipe
from dfbench.faces.detect import DetectorChoice
from dfbench.faces.extract import (
    Extract,
    Task,
    given_up,
    open_worker,
    plan,
    starting,
    write_shard,
)
from dfbench.faces.worker import DEFAULT, END_S, Limits, Lost, Worker
from dfbench.files import write_bytes
from dfbench.progress import Progress


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Say where Beam is missing, and keep its log lines from users who did not ask for them."""
    verbose = os.environ.get("DFBENCH_VERBOSE") == "1"
    handlers = logging.root.handlers[:]
    logging.disable(logging.NOTSET if verbose else logging.ERROR)
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError("--runner beam needs Apache Beam: pip install 'dfbench[beam]'") from error
    finally:
        logging.disable(logging.NOTSET)
        logging.root.handlers[:] = handlers  # it logs while it is imported, which adds one
    if not verbose:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)


with _importing():
    import apache_beam as beam
    from apache_beam.metrics import Metrics, MetricsFilter
    from apache_beam.options.pipeline_options import PipelineOptions

LOOK_S = 2.0  # between two looks at how many shards there are
REFUSED = "dfbench-refused"  # namespace of counters: how often the system refused a write, by errno


def beam_extraction(options: Sequence[str], limits: Limits = DEFAULT) -> Extract:
    """Return `extract_clips` as a pipeline.

    Args:
      options: Beam's own, as `KEY=VALUE`, or `KEY` for those without a value; without `runner`
        the pipeline runs on this machine.
      limits: when a clip is given up.

    Raises:
      UserError: Beam has no such option.
    """
    flags = [f"--{option}" for option in options]
    parsed = PipelineOptions(flags)
    given, known = (parsed.get_all_options(retain_unknown_options=u) for u in (True, False))
    if unknown := sorted(given.keys() - known.keys()):
        raise UserError(f"--beam-option: Beam has no option '{unknown[0]}'")
    return functools.partial(_extract, flags, limits)


def _extract(
    flags: Sequence[str],
    limits: Limits,
    clips: Sequence[Clip],
    recipe: CropRecipe,
    shard_dir: Path,
    *,
    detector: DetectorChoice,
    jobs: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Do what `extract_clips` does.

    Raises:
      UserError: the pipeline failed, or its workers write to another folder.
      OSError: a worker cannot write a shard.
    """
    shard_dir = shard_dir.absolute()  # workers run elsewhere
    shards, *waves = plan(clips, recipe, shard_dir)
    todo = [task for wave in waves for task in wave]
    plan_file = shard_dir / f".tasks.{os.getpid()}"
    if detector.model is not None:
        detector = replace(detector, model=detector.model.absolute())
    try:
        with _progress(todo, shard_dir, len(clips), progress):
            for wave in waves:
                write_plan(plan_file, [_absolute(task) for task in wave])
                if wave:
                    function = _ExtractFn(plan_file, recipe, detector, limits)
                    _run(plan_file, len(wave), function, _with_defaults(flags, jobs))
    finally:
        plan_file.unlink(missing_ok=True)
    if missing := [task.clip for task in todo if not task.shard.is_file()]:
        raise UserError(
            f"{shard_dir}: the pipeline came to its end, but {len(missing)} of {len(todo)} results "
            f"are not in this folder (the first is of {missing[0].video}): --data-dir must be on "
            "a file system that all workers share"
        )
    return shards


def _absolute(task: Task) -> Task:
    return replace(task, clip=replace(task.clip, path=task.clip.path.absolute()))


def write_plan(path: Path, tasks: Sequence[Task]) -> None:
    """Write tasks so that a worker reads the one that it is to do, and not the 100,000 others."""
    records = [pickle.dumps(task) for task in tasks]
    starts = np.cumsum([8 * (len(records) + 1), *map(len, records)], dtype=np.int64)
    write_bytes(path, starts.tobytes() + b"".join(records))


def read_task(path: Path, number: int) -> Task:
    """Read one task of a plan."""
    with path.open("rb") as file:
        file.seek(8 * number)
        start, end = np.frombuffer(file.read(16), np.int64).tolist()
        file.seek(start)
        task = pickle.loads(file.read(end - start))
    assert isinstance(task, Task)
    return task


def _with_defaults(flags: Sequence[str], jobs: int) -> list[str]:
    """Add what runs the pipeline on this machine; later flags win, and other runners ignore it."""
    return [
        "--runner=FnApiRunner",  # the DirectRunner itself would first download another, Prism
        f"--direct_num_workers={jobs or os.cpu_count() or 1}",
        "--direct_running_mode=multi_threading",  # each thread has a process that does the work
        *flags,
    ]


def _run(plan_file: Path, count: int, function: _ExtractFn, flags: list[str]) -> None:
    try:
        with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
            (
                pipeline
                # Not the clips: a job's description may be some MB at most, and 100,000 are more.
                | "number the clips" >> beam.Create(range(count))
                | "spread" >> beam.Reshuffle()
                | "extract" >> beam.ParDo(function)
            )
        refused = _refused(pipeline.result)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"the Beam pipeline failed: {lines[-1].strip()}; finished clips are kept, and the same "
            "command goes on with the others"
        ) from error
    for code in refused:
        raise OSError(code, os.strerror(code), str(plan_file.parent))


def _refused(result: Any) -> list[int]:
    """Return why the system refused the workers' writes: numbers of errors."""
    counters = result.metrics().query(MetricsFilter().with_namespace(REFUSED))["counters"]
    return [int(counter.key.metric.name) for counter in counters]


class _ExtractFn(beam.DoFn):  # type: ignore[misc]
    """Writes the shards of clips, each in a process of its own that a bad file may take down."""

    def __init__(
        self, plan_file: Path, recipe: CropRecipe, detector: DetectorChoice, limits: Limits
    ) -> None:
        self._plan_file, self._recipe, self._detector = plan_file, recipe, detector
        self._limits = limits
        self._worker: Worker[Task, None] | None = None
        self._refused = False

    def setup(self) -> None:
        """Look for the plan."""
        if not self._plan_file.is_file():
            raise UserError(
                f"{self._plan_file.parent}: a worker does not see this folder: --data-dir must be "
                "on a file system that all workers share"
            )

    def process(self, number: int) -> None:
        """Write the shard of one clip, unless an earlier try did, or the disk is full."""
        if self._refused:
            return
        task = read_task(self._plan_file, number)
        try:
            lost = None if task.shard.is_file() else self._work(task)
            if lost is not None and lost.again:  # it may not be the file's fault: no memory
                lost = self._work(task)
            if lost is not None:
                write_shard(task.shard, given_up(task.clip, lost))
        except OSError as error:  # to raise it here would be to try again
            self._refused = True
            Metrics.counter(REFUSED, str(error.errno)).inc()

    def _work(self, task: Task) -> Lost | None:
        """Write a shard; return what was lost, if there is none."""
        if self._worker is None or not self._worker.alive:
            self._worker = open_worker(self._recipe, self._detector, self._limits)
        with starting(self._detector):
            found = self._worker.call(task)
        return found if isinstance(found, Lost) and not task.shard.is_file() else None

    def teardown(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close(END_S)
        self._worker = None


@contextlib.contextmanager
def _progress(
    todo: Sequence[Task], folder: Path, total: int, progress: Progress | None
) -> Iterator[None]:
    """Report how many shards there are, whoever writes them."""
    if progress is None or not todo:
        yield
        return
    shards = {task.shard for task in todo}
    done, over = total - len(todo), threading.Event()

    def look() -> None:
        progress(done + len(shards.intersection(folder.iterdir())), total)

    def watch() -> None:
        while not over.wait(LOOK_S):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        look()
