"""Time of metrics and their intervals: `python benchmarks/speed/resampling.py [--large]`.

Prints the median over runs for a test split as large as Celeb-DF v2's, 518 videos of 32 frames, and
2,000 resamples. With `--large` also time and memory of processes that read ten million frames from
Parquet and from CSV and compute everything that a card says of them. The exit status is 1 where a
limit is missed.

(Not `statistics.py`: a script's folder comes first among modules, and others here want Python's.)
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from dfbench.config import ScoringConfig
from dfbench.eval.measure import measure
from dfbench.eval.metrics import Draws, metrics_of
from dfbench.eval.samples import Scores
from dfbench.eval.scores import read_scores, write_scores
from dfbench.eval.table import ScoreTable, Text, sigmoid

VIDEOS, REALS, FRAMES, RESAMPLES = 518, 178, 32, 2000
MANIPULATIONS = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures")
MOST_SECONDS, MOST_LARGE_SECONDS, MOST_GIB = 2.0, 60.0, 4.0


def table_of(videos: int, reals: int, frames: int, seed: int = 0) -> ScoreTable:
    """Return scores of videos whose frames resemble each other, one in a hundred without a face."""
    rng = np.random.default_rng(seed)
    label = (np.arange(videos) >= reals).astype(np.int32)
    kinds = np.where(label == 0, len(MANIPULATIONS), np.arange(videos) % len(MANIPULATIONS))
    unseen = np.arange(videos) % 100 == 50
    video = np.repeat(np.arange(videos, dtype=np.int32), np.where(unseen, 1, frames))
    frame = np.arange(len(video)) - np.flatnonzero(np.diff(video, prepend=-1))[video]
    logit = (label + rng.normal(size=videos))[video] + rng.normal(size=len(video))
    logit = np.where(unseen[video], np.nan, logit).astype(np.float32)
    words = [*MANIPULATIONS, "real"]
    names = [f"data/{words[kind]}/{number:07d}" for number, kind in enumerate(kinds)]
    manipulation = pa.DictionaryArray.from_arrays(pa.array(kinds[video].astype(np.int32)), words)
    return ScoreTable(
        dataset=Text.constant("data", len(video)),
        split=Text.constant("test", len(video)),
        manipulation=Text.of(manipulation),
        video=Text.of(pa.DictionaryArray.from_arrays(pa.array(video), names)),
        frame=np.where(unseen[video], -1, frame).astype(np.int32),
        label=label[video],
        logit=logit,
        p_fake=sigmoid(logit),
    )


def small(rounds: int) -> bool:
    """Print the times of a usual table; return whether they are within the limit."""
    scoring = ScoringConfig(resamples=RESAMPLES)
    draws = Draws(resamples=RESAMPLES, confidence=scoring.confidence, seed=0)
    table, val = table_of(VIDEOS, REALS, FRAMES), table_of(100, 50, FRAMES, seed=1)
    names = ("auc", "ap", "eer", "balanced_accuracy")

    def ranked() -> None:
        scores = Scores.of(table, scoring)
        for sample in (scores.video_sample(), scores.frame_sample()):
            metrics_of(sample, names, draws)

    def seconds(work: Callable[[], object]) -> float:
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    taken = seconds(ranked)
    whole = seconds(lambda: measure(table, val, scoring, seed=0))
    print(f"{VIDEOS} videos of {FRAMES} frames, {RESAMPLES:,} resamples, median of {rounds} runs\n")
    print("| what | s | limit s |\n|---|---|---|")
    print(f"| AUC, AP, EER and balanced accuracy of videos and frames | {taken:.2f} | 2 |")
    print(f"| all that a card says, with {len(MANIPULATIONS)} manipulations | {whole:.2f} | - |")
    return taken <= MOST_SECONDS


def large(rows: int) -> bool:
    """Print time and memory of a large table; return whether they are within the limits."""
    videos = rows // FRAMES
    print(f"\n{rows:,} frames of {videos:,} videos, {ScoringConfig().resamples:,} resamples\n")
    print("| file | MB | read s | all s | limit s | peak GiB | limit GiB |")
    print("|---|---|---|---|---|---|---|")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for path in (Path(folder) / "scores.parquet", Path(folder) / "scores.csv"):
            _write(path, videos)
            command = [sys.executable, __file__, "--measure", str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            path.unlink()
            good &= found["all"] <= MOST_LARGE_SECONDS and found["peak"] <= MOST_GIB
            cells = [path.suffix[1:], f"{found['bytes'] / 1e6:.0f}", f"{found['read']:.0f}"]
            cells += [f"{found['all']:.0f}", f"{MOST_LARGE_SECONDS:.0f}"]
            cells += [f"{found['peak']:.2f}", f"{MOST_GIB:.0f}"]
            print(f"| {' | '.join(cells)} |")
    return good


def _write(path: Path, videos: int) -> None:
    table = table_of(videos, videos // 2, FRAMES)
    if path.suffix == ".parquet":
        write_scores(table, path)
        return
    text = {name: getattr(table, name) for name in ("dataset", "split", "manipulation", "video")}
    columns = {name: column.to_arrow().cast(pa.string()) for name, column in text.items()}
    columns |= {"frame": table.frame, "label": table.label}
    columns["p_fake"] = pa.array(table.p_fake, from_pandas=True)
    csv.write_csv(pa.table(columns), path)


def measured(path: Path) -> None:
    """Do what a large table asks for, alone in this process, and print what it took."""
    start = time.perf_counter()
    table = read_scores(path)
    read = time.perf_counter() - start
    found = measure(table, None, ScoringConfig(), seed=0)
    assert found.metrics["frame_auc"].low is not None
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    taken = time.perf_counter() - start
    print(json.dumps({"read": read, "all": taken, "peak": peak, "bytes": path.stat().st_size}))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of the small table; 0: none")
    parser.add_argument(
        "--large", type=int, nargs="?", const=10_000_000, metavar="ROWS", help="a large table too"
    )
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measured(options.measure)
        return 0
    good = small(options.rounds) if options.rounds else True
    if options.large:
        good &= large(options.large)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
