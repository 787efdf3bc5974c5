"""What a run costs besides its steps: `python benchmarks/speed/whole_run.py [--epochs N]`.

A whole `dfbench run` of Meso-4 between the embedded datasets, as a command, from prepared data and
an empty compile cache: its wall time, and how much of it passed outside compiled training steps.
Then the start of a training of Xception, from the start of the process to the end of the first
step, with an empty compile cache and with the one that this filled. Writes a table to
benchmarks/speed/results; the exit status is 1 where a limit is missed.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from page import RESULTS, Limit, limits_table, page, table, write

from dfbench.config import ModelConfig, RunConfig, TrainingConfig
from dfbench.paths import default_data_dir

MOST_OUTSIDE, LEAST_QUICKER = 15.0, 3.0  # percent, times
TRAIN, EVAL = "synth_blend", "synth_swap"
START = "first step done"


# --- a whole run ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Run:
    """Seconds of a `dfbench run`."""

    wall: float
    steps: float  # compiled training steps
    fit: float  # the loop: steps, compiling, validation, checkpoints
    again: float  # the same command once more, when nothing is left to do
    taken: int

    @property
    def outside(self) -> float:
        """Percent of the wall time outside compiled steps."""
        return 100 * (self.wall - self.steps) / self.wall


def run_whole(options: argparse.Namespace, folder: Path) -> Run:
    """Run the command twice: the second time everything is there."""
    program = Path(sys.executable).with_name("dfbench")
    for name in (TRAIN, EVAL):
        prepare = [str(program), "prepare", name, "--data-dir", str(options.data_dir)]
        subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
    command = [str(program), "run", "--train", TRAIN, "--eval", EVAL, "--model", "meso4"]
    command += ["--data-dir", str(options.data_dir), "--runs-dir", str(folder / "runs")]
    command += [f"--set=training.epochs={options.epochs}", "--set=training.patience=0"]
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        environment = os.environ | {"DFBENCH_CACHE": str(folder / "cache")}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    (record,) = (folder / "runs").glob("*/training.json")
    summary = json.loads(record.read_text())["summary"]
    images = summary["steps"] * TrainingConfig().batch_size
    return Run(
        wall=seconds[0],
        steps=images / summary["images_per_s"],
        fit=summary["wall_seconds"],
        again=seconds[1],
        taken=summary["steps"],
    )


# --- the first step -------------------------------------------------------------------------------


def first_step(cache: Path) -> None:
    """Train Xception until the first step is done, as the command does."""
    from dfbench.train.loop import fit
    from dfbench.train.parallel import enable_compile_cache, use_cpu_cores
    from dfbench.train.task import Task, Validation

    config = RunConfig(
        model=ModelConfig(name="xception"), training=TrainingConfig(batch_size=2, epochs=1)
    )
    use_cpu_cores(config.training.batch_size)
    enable_compile_cache(cache)

    def first(done: int, total: int, note: str = "") -> None:
        del done, total, note
        print(START, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        fit(
            Task(
                config=config,
                batches=Noise(config.training.batch_size),
                steps_per_epoch=1,
                class_weights=(1.0, 1.0),
                validate=lambda state: Validation(loss=0.0, video_auc=None),
                run_dir=Path(folder),
                progress=first,
            )
        )


class Noise:
    """Batches of noise."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        self.batch = {
            "image": rng.integers(0, 256, (size, 299, 299, 3), np.uint8),
            "label": np.arange(size, dtype=np.int32) % 2,
            "index": np.arange(size, dtype=np.int32),
            "mask": np.ones(size, np.float32),
        }

    def __next__(self) -> dict[str, np.ndarray]:
        return self.batch

    def get_state(self) -> None:
        """Return nothing: it does not move."""

    def set_state(self, state: object) -> None:
        """Stay."""


def start_times(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Return seconds to the end of the first step, with an empty cache and a full one."""
    found: dict[str, list[float]] = {"empty": [], "full": []}
    for _ in range(rounds):
        cache = folder / "xla"
        shutil.rmtree(cache, ignore_errors=True)
        for kind in found:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, __file__, "--first-step", str(cache)],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            line = process.stdout.readline()
            found[kind].append(time.perf_counter() - start)
            if line.strip() != START or process.wait():
                raise RuntimeError("the training did not come to its first step")
    return found


# --- page -----------------------------------------------------------------------------------------


def report(run: Run, starts: dict[str, list[float]], options: argparse.Namespace) -> int:
    """Write and print the page; return the exit status."""
    rows = [
        ["compiled training steps", f"{run.steps:.1f}"],
        ["compiling, validation, checkpoints", f"{run.fit - run.steps:.1f}"],
        ["start, data, scoring two datasets, cards, pages", f"{run.wall - run.fit:.1f}"],
        ["whole command", f"{run.wall:.1f}"],
        ["the command again, nothing left to do", f"{run.again:.1f}"],
    ]
    lines = [
        [kind, f"{statistics.median(values):.1f}", f"{min(values):.1f}-{max(values):.1f}"]
        for kind, values in starts.items()
    ]
    ratios = [a / b for a, b in zip(starts["empty"], starts["full"], strict=True)]
    limits = [
        Limit("of a run outside compiled steps", run.outside, MOST_OUTSIDE, " %"),
        Limit(
            "first step, empty cache / full", statistics.median(ratios), LEAST_QUICKER, "x", True
        ),
    ]
    notes = [
        f"`dfbench run --train {TRAIN} --eval {EVAL} --model meso4`, {options.epochs} epochs, "
        f"{run.taken} steps, data prepared before, compile cache empty",
        f"start: Xception, batch 2, median of {options.rounds} rounds",
    ]
    tables = [
        table(["`dfbench run`", "s"], rows),
        table(
            ["compile cache", "s from process start to the end of the first step", "range"], lines
        ),
        limits_table(limits),
    ]
    packages = ["dfbench", "jax", "flax", "orbax-checkpoint"]
    text = page("Whole runs", "whole_run.py", sys.argv[1:], packages, notes, tables)
    write(text, "whole-run", options.output)
    return int(not all(limit.met for limit in limits))


def main() -> int:
    """Measure; write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40, help="default: for about 10 minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--first-step", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first_step:
        first_step(options.first_step)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        starts = start_times(options.rounds, Path(folder))
        run = run_whole(options, Path(folder))
    return report(run, starts, options)


if __name__ == "__main__":
    sys.exit(main())
