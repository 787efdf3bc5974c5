"""Input: `python benchmarks/speed/pipeline.py [--data SPEC]`.

Crops a second, from prepared records through Grain to batches on the devices, by the number of
worker processes, against a PyTorch `DataLoader` over the same crops as PNG files (the field's usual
layout) and as JPEG files, both read by OpenCV. Each turn is a process of its own. Then training
steps fed by the pipeline against the same steps on one batch that stays in memory, in turns.
Everything is read from the operating system's cache. The tables go to benchmarks/speed/results; the
exit status is 1 where a limit is missed.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import dataclasses
import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import jax
import joblib
import numpy as np
import pyarrow as pa
from page import RESULTS, Limit, limits_table, page, table, write

from dfbench.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from dfbench.data.crop_reader import CropReader
from dfbench.data.pipeline import train_batches
from dfbench.data.view import SplitView, split_view
from dfbench.paths import default_data_dir
from dfbench.progress import SILENT
from dfbench.train.ahead import Ahead
from dfbench.train.parallel import place, pmap_train_step, use_cpu_cores
from dfbench.train.state import create_state
from dfbench.train.step import make_train_step
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec

LEAST_OVER_PNG, MOST_OVER_MEMORY = 3.0, 1.05
TURN = 6.0  # seconds
WARM_UP = 8  # batches
OURS, PNG, JPEG = "dfbench", "DataLoader, PNG", "DataLoader, JPEG"
SUFFIXES = {PNG: "png", JPEG: "jpg"}


# --- crops a second -------------------------------------------------------------------------------


def write_files(view: SplitView, folder: Path) -> None:
    """Write the crops as files of each format; JPEG as dfbench stores it."""
    reader = CropReader(view)
    for suffix in SUFFIXES.values():
        (folder / suffix).mkdir()
        for row in range(len(view)):
            picture = cv2.cvtColor(reader.image(row), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / suffix / f"{row:06d}.{suffix}"), picture)


def batches_of(side: str, workers: int, options: argparse.Namespace) -> Iterator[Any]:
    """Yield batches that are ready on the devices, without an end."""
    if side == OURS:
        batches = Ahead(feed(options, options.batch, workers), place)
        while True:
            yield jax.block_until_ready(next(batches))
    else:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        loader = torch.utils.data.DataLoader(
            Files(sorted((options.files / SUFFIXES[side]).iterdir())),
            batch_size=options.batch,
            shuffle=True,
            num_workers=workers,
            drop_last=True,
            persistent_workers=workers > 0,
            pin_memory=device == "cuda",
        )
        for _ in itertools.count():
            for images, _ in loader:
                yield images.to(device, non_blocking=True)


class Files:
    """A PyTorch dataset of image files, as the field's tools have it."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = [str(path) for path in paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        import torch

        picture = cv2.imread(self.paths[number])
        assert picture is not None
        return torch.from_numpy(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)), number % 2


def training_view(options: argparse.Namespace) -> SplitView:
    """Return the crops of the train split, counted so often that there are `options.crops`."""
    view = split_view(datasets(options), "train")
    times = -(-options.crops // len(view))
    tables = tuple(pa.concat_tables([one] * times) for one in view.tables)
    return dataclasses.replace(view, tables=tables)


def feed(options: argparse.Namespace, size: int, workers: int = 0) -> Any:
    """Return training batches of the data."""
    view = training_view(options)
    return train_batches(view, batch_size=size, seed=0, balance="none", workers=workers)


def datasets(options: argparse.Namespace) -> Any:
    """Return the prepared data, which are made where they are not."""
    places = Places(data_dir=options.data_dir, runs_dir=Path("runs"))
    return prepare_spec(options.data, DataConfig(crop_size=256), places, SILENT)


def turn(side: str, workers: int, options: argparse.Namespace) -> float:
    """Return crops a second of one side, in this process."""
    batches = batches_of(side, workers, options)
    gc.collect()
    gc.freeze()  # as the command line does
    for _ in range(WARM_UP + 4 * workers):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < TURN:
        next(batches)
        count += options.batch
    return count / (time.perf_counter() - start)


def in_turns(options: argparse.Namespace) -> dict[tuple[str, int], list[float]]:
    """Return crops a second by side and workers: one number a round."""
    most = joblib.cpu_count()
    numbers = sorted({1, 2, most} | {n for n in (4, 8) if n < most})
    sides = [(OURS, n) for n in (0, *numbers)]
    sides += [(side, n) for side in SUFFIXES for n in (0, *numbers)]
    found: dict[tuple[str, int], list[float]] = {side: [] for side in sides}
    for number in range(options.rounds):
        for side in sides:
            command = [sys.executable, __file__, *sys.argv[1:], "--files", str(options.files)]
            command += ["--turn", side[0], str(side[1])]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
            text = f"{found[side][-1]:.0f} crops/s"
            print(f"round {number + 1}: {side[0]}, {side[1]} workers: {text}", file=sys.stderr)
    return found


# --- training steps -------------------------------------------------------------------------------


class Held:
    """One batch, again and again."""

    def __init__(self, batch: Mapping[str, np.ndarray]) -> None:
        self.batch = batch

    def __next__(self) -> Mapping[str, np.ndarray]:
        return self.batch

    def get_state(self) -> None:
        """Return nothing: it does not move."""

    def set_state(self, state: Any) -> None:
        """Stay."""


def steps(model: str, size: int, options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Return seconds a step, fed by the pipeline and by a batch in memory: one a round."""
    config = RunConfig(
        model=ModelConfig(name=model, dtype=options.dtype),
        training=TrainingConfig(batch_size=size),
    )
    state, networks = create_state(config)
    step = pmap_train_step(make_train_step(networks, config, (1.0, 1.0)))
    batches = feed(options, size, options.workers)
    sides = Ahead(batches, place), Ahead(Held(next(batches)), place)
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(options.rounds + 1):  # the first compiles
        for side, found in zip(sides, seconds, strict=True):
            count, start = 0, time.perf_counter()
            while time.perf_counter() - start < TURN or count < 3:
                state, metrics = step(state, next(side))
                jax.block_until_ready(metrics["loss"])
                count += 1
            if number:
                found.append((time.perf_counter() - start) / count)
    return seconds


# --- page -----------------------------------------------------------------------------------------


def report(
    rates: dict[tuple[str, int], list[float]],
    fed: dict[tuple[str, int], tuple[list[float], list[float]]],
    crops: int,
    options: argparse.Namespace,
) -> tuple[str, list[Limit]]:
    """Return the page, and what is to stay within limits."""
    medians = {side: statistics.median(found) for side, found in rates.items()}
    best = {
        kind: max(median for side, median in medians.items() if side[0] == kind)
        for kind in (OURS, *SUFFIXES)
    }
    rows = [
        [
            *(side[0], str(side[1]), f"{median:,.0f}"),
            *(f"{min(rates[side]):,.0f}-{max(rates[side]):,.0f}", f"{median / best[PNG]:.2f}"),
        ]
        for side, median in medians.items()
    ]
    ratio = best[OURS] / best[PNG]
    limits = [Limit("best of dfbench / best over PNG", ratio, LEAST_OVER_PNG, "x", least=True)]
    lines = []
    for (model, size), (ours, held) in fed.items():
        ratios = [a / b for a, b in zip(ours, held, strict=True)]
        cells = [f"{statistics.median(side) * 1000:.1f}" for side in (ours, held)]
        lines.append([model, str(size), *cells, f"{min(ratios):.3f}-{max(ratios):.3f}"])
        what = f"{model}: a step with input / on one batch in memory"
        limits.append(Limit(what, statistics.median(ratios), MOST_OVER_MEMORY, "x"))
    notes = [
        f"{crops} crops of {options.data}, counted so often that there are {options.crops}; "
        "256x256, JPEG as dfbench stores them",
        f"batches of {options.batch}; median of {options.rounds} rounds of {TURN:.0f} s, in turns",
        "worker processes 0: threads of the process itself (dfbench), the process itself (PyTorch)",
    ]
    if jax.default_backend() != "cpu":
        needed = {m: s / statistics.median(h) for (m, s), (_, h) in fed.items()}
        a_core = best[OURS] / joblib.cpu_count()
        cores = ", ".join(f"{model} {rate / a_core:.1f}" for model, rate in needed.items())
        notes.append(f"cores that feed the steps: {cores}")
    tables = [
        table(["input", "worker processes", "crops/s", "range", "to the best over PNG"], rows),
        table(["training", "batch", "ms a step, with input", "in memory", "ratio"], lines),
        limits_table(limits),
    ]
    packages = ["dfbench", "jax", "grain", "opencv-contrib-python", "torch"]
    device = "" if jax.default_backend() == "cpu" else jax.devices()[0].device_kind
    text = page("Input", "pipeline.py", sys.argv[1:], packages, notes, tables, device=device)
    return text, limits


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="synth_blend", metavar="SPEC", help="prepared, or made")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("--crops", type=int, default=20_000, help="at least; few are repeated")
    parser.add_argument("--batch", type=int, default=32, help="crops of a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=["meso4", "xception"], metavar="MODEL")
    parser.add_argument("--sizes", nargs="*", type=int, default=[32, 8], help="batch of each model")
    parser.add_argument("--workers", type=int, default=0, help="processes that feed the steps")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--turn", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Measure; write and print the tables."""
    options = _options()
    use_cpu_cores(options.batch, *options.sizes)
    if options.turn:
        print(json.dumps(turn(options.turn[0], int(options.turn[1]), options)))
        return 0
    view = split_view(datasets(options), "train")
    with tempfile.TemporaryDirectory() as folder:
        options.files = Path(folder)
        write_files(view, options.files)
        rates = in_turns(options)
    fed = {
        (model, size): steps(model, size, options)
        for model, size in zip(options.models, options.sizes, strict=True)
    }
    text, limits = report(rates, fed, len(view), options)
    write(text, "pipeline", options.output)
    return int(not all(limit.met for limit in limits))


if __name__ == "__main__":
    sys.exit(main())
