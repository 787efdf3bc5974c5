"""Host memory of prepare, train and eval: `python benchmarks/speed/memory.py [--crops ..]`.

Each stage is run twice, each time in a process of its own: small, which is the baseline, and large.
Memory is the most that the process and its children (Grain's workers) had together. Writes a table
to benchmarks/speed/results; the exit status is 1 where a large stage takes 2 GiB more than a small.

The stages are the functions behind `dfbench prepare`, `train`, `eval`, `score` and `verify`, on
folders of empty videos: only decoding is left out. Crops are noise, as PNG: of 64 px they have the
bytes of usual JPEGs (12 kB), so that a stage that held them all would take 2.3 GiB for 200,000. The
large size takes 8 GB of disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from made_up import made_up, peak_mib
from page import RESULTS, Limit, limits_table, page, table, write

from dfbench.config import DataConfig, ModelConfig, RunConfig, ScoringConfig, TrainingConfig
from dfbench.data.spec import parse_spec
from dfbench.workflow.places import Places

MOST_GIB = 2.0  # more than at the small size
SIDE = 64  # px of a crop
# Of each download: crops of a video, and its splits. Few long videos, and many short ones.
DOWNLOADS = {
    "source": (32, ("train", "val")),
    "target": (4, ("test",)),
    "scored": (32, ("test",)),
}
OF_A_PERSON = 10  # videos
EVERY = 0.02  # s between two looks at the memory of children


@dataclass(frozen=True)
class Work:
    """A size, and the folder of what is made of it."""

    root: Path
    crops: int  # of each of the two datasets
    rows: int  # of the table of scores
    workers: int  # of Grain

    @property
    def places(self) -> Places:
        """Return where things are written."""
        return Places(data_dir=self.root / "data", runs_dir=self.root / "runs")

    @property
    def config(self) -> RunConfig:
        """Return a training of one epoch, of a small network."""
        return RunConfig(
            train=self.spec("source"),
            model=ModelConfig(name="small_cnn", input_size=16),
            data=DataConfig(detector="none", crop_size=SIDE, format="png", workers=self.workers),
            training=TrainingConfig(epochs=1, batch_size=128),
            scoring=ScoringConfig(batch_size=128, resamples=2000),
        )

    def spec(self, name: str) -> str:
        """Return the spec of a download."""
        return f"folder:{self.root / name}"

    def videos(self, name: str) -> int:
        """Return how many videos a download has."""
        return (self.rows if name == "scored" else self.crops) // DOWNLOADS[name][0]


# --- the stages, each in a process of its own -----------------------------------------------------


def prepare_source(work: Work) -> None:
    """Prepare what is trained on."""
    _prepare(work, "source")


def prepare_target(work: Work) -> None:
    """Prepare what is evaluated."""
    _prepare(work, "target")


def _prepare(work: Work, name: str) -> None:
    from dfbench.workflow.preparation import prepare_one

    write_download(work, name)
    (spec,) = parse_spec(work.spec(name))
    extract = made_up(DOWNLOADS[name][0])
    prepared = prepare_one(spec, work.config.data, work.places, extract=extract)
    packed = sum(count.frames for count in prepared.manifest.counts.values())
    if packed != work.videos(name) * DOWNLOADS[name][0]:
        raise ValueError(f"{packed} crops were packed")


def train(work: Work) -> None:
    """Train an epoch, half of the crops, and validate on the other half."""
    from dfbench.workflow.training import train

    train(work.config, work.places)


def evaluate(work: Work) -> None:
    """Score val and target; metrics, intervals and card."""
    from dfbench.workflow.evaluate import evaluate

    (run,) = work.places.runs_dir.glob("small_cnn-*")
    evaluate(run, work.spec("target"), work.places)


def hand_in(work: Work) -> None:
    """Write a download and a detector's scores of it; not measured."""
    write_download(work, "scored")
    frames, rng = DOWNLOADS["scored"][0], np.random.default_rng(0)
    for path, videos in ((_scores(work), work.videos("scored")), (_val_scores(work), 1000)):
        code = np.repeat(np.arange(videos, dtype=np.int32), frames)
        names = pa.array([f"{clip_name(number)}.mp4" for number in range(videos)])
        label = code % 2  # as in `write_download`
        columns = {
            "video": pa.DictionaryArray.from_arrays(pa.array(code), names),
            "frame": np.tile(np.arange(frames, dtype=np.int32), videos),
            "label": label,
            "logit": rng.normal(size=len(code)).astype(np.float32) + label,
        }
        pq.write_table(pa.table(columns), path)


def score(work: Work) -> None:
    """Check and measure what was handed in."""
    from dfbench.workflow.score import HandedIn, score

    handed = HandedIn(
        scores=_scores(work),
        val=_val_scores(work),
        dataset=work.spec("scored"),
        raw=work.root / "scored",
        detector="made up",
        scoring=work.config.scoring,
    )
    score(handed, work.places)


def verify(work: Work) -> None:
    """Compute every number of that card again."""
    from dfbench.workflow.verify import verify

    (folder,) = work.places.runs_dir.glob("*--scores")
    (verdict,) = verify([folder])
    if not verdict.good:
        raise ValueError(str(verdict))


def _scores(work: Work) -> Path:
    return work.root / "scores.parquet"


def _val_scores(work: Work) -> Path:
    return work.root / "val_scores.parquet"


def write_download(work: Work, name: str) -> None:
    """Write empty videos by split, class and person, half of them real."""
    _, splits = DOWNLOADS[name]
    for number in range(work.videos(name)):
        kind = ("real", "fake")[number % 2]
        split = splits[number // 2 % len(splits)]
        path = work.root / name / split / kind / f"{clip_name(number)}.mp4"
        if number // 2 % OF_A_PERSON < len(splits):
            path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def clip_name(number: int) -> str:
    """Return the name of a video below its class: `p000012/0000243`."""
    return f"p{number // 2 // OF_A_PERSON:06d}/{number:07d}"


@dataclass(frozen=True)
class Stage:
    """A row of the table."""

    title: str
    run: Callable[[Work], None]
    download: str  # whose videos it goes through
    rows: str = "crops"


STAGES = {
    "source": Stage("prepare, 32 crops a video", prepare_source, "source"),
    "target": Stage("prepare, 4 crops a video", prepare_target, "target"),
    "train": Stage("train: an epoch of half of them, val the other half", train, "source"),
    "evaluate": Stage("eval: scores, 2,000 resamples, card", evaluate, "target"),
    "hand_in": Stage("", hand_in, "scored"),
    "score": Stage("score: 2,000 resamples, card", score, "scored", "rows"),
    "verify": Stage("verify that card", verify, "scored", "rows"),
}


# --- measuring ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What a stage took at a size."""

    mib: float
    seconds: float


def measure(stage: str, work: Work) -> Figures:
    """Run a stage in a process of its own, whose memory is nobody else's.

    The process says what it had at most; with its children it is watched from here.
    """
    command = [sys.executable, __file__, "--worker", stage, *map(str, dataclasses.astuple(work))]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with _watched(process.pid) as most:
        said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{stage}: ended with {process.returncode}")
    mib = max(float(json.loads(said.splitlines()[-1])), most())
    return Figures(mib, time.perf_counter() - start)


@contextmanager
def _watched(pid: int) -> Iterator[Callable[[], float]]:
    """Watch the memory of a process and its children, MiB; 0 where the system has no /proc."""
    most, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(EVERY):
            most[0] = max(most[0], sum(map(_resident_mib, _family(pid))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        done.set()
        thread.join()


def _family(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, path.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def _resident_mib(pid: int) -> float:
    """Return the memory of a process; what it shares with others counts in equal parts."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("Pss:"))


# --- the page -------------------------------------------------------------------------------------


def report(
    found: dict[str, tuple[Figures, Figures]], works: tuple[Work, Work], given: Sequence[str]
) -> tuple[str, bool]:
    """Return the page, and whether all is within the limit."""
    heads = ["stage", "small", "large", "small, MiB", "large, MiB", "more, GiB", "more each, B"]
    rows, limits = [], []
    for name, figures in found.items():
        stage = STAGES[name]
        sizes = [work.rows if stage.rows == "rows" else work.crops for work in works]
        more = figures[1].mib - figures[0].mib
        rows.append(
            [
                stage.title,
                *(
                    f"{size:,} {stage.rows}, {work.videos(stage.download):,} videos"
                    for size, work in zip(sizes, works, strict=True)
                ),
                *(f"{one.mib:,.0f}" for one in figures),
                f"{more / 2**10:.2f}",
                f"{more * 2**20 / (sizes[1] - sizes[0]):,.0f}",
            ]
        )
        limits.append(Limit(f"more memory: {stage.title}", more / 2**10, MOST_GIB, " GiB"))
    text = page(
        "Host memory",
        "memory.py",
        given,
        ("dfbench", "jax", "grain", "numpy", "pyarrow", "tensorflow-datasets"),
        [
            f"empty videos; crops are {SIDE} px of noise as PNG, 12 kB; a network of 16 px; "
            f"training with {works[1].workers} processes that decode, counted too",
        ],
        [table(heads, rows), limits_table(limits)],
    )
    return text, all(limit.met for limit in limits)


def main(given: Sequence[str]) -> int:
    """Measure both sizes, stage by stage; write and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, sizes in (("--crops", [6_400, 200_000]), ("--rows", [50_000, 5_000_000])):
        parser.add_argument(name, nargs=2, type=int, metavar=("SMALL", "LARGE"), default=sizes)
    parser.add_argument("--workers", type=int, default=2, help="processes that decode; 0: threads")
    parser.add_argument(
        "--work", type=Path, help="folder of what is made up; default: the system's"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.worker:
        stage, root, *numbers = options.worker
        STAGES[stage].run(Work(Path(root), *map(int, numbers)))
        print(json.dumps(peak_mib()))
        return 0
    if options.crops[0] < 640 or options.rows[0] < 640:
        parser.error("640 crops and 640 rows at least, so that each split has both classes")
    measured: dict[str, list[Figures]] = {name: [] for name in STAGES}
    works = []
    for crops, rows in zip(options.crops, options.rows, strict=True):
        with tempfile.TemporaryDirectory(dir=options.work) as root:
            works.append(Work(Path(root), crops, rows, options.workers))
            for name, stages in measured.items():
                stages.append(measure(name, works[-1]))
                print(f"{name}, {crops:,} crops, {rows:,} rows: {stages[-1]}", file=sys.stderr)
    found = {name: (one, other) for name, (one, other) in measured.items() if STAGES[name].title}
    text, good = report(found, (works[0], works[1]), given)
    write(text, "memory", options.output)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
