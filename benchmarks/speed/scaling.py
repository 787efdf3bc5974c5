"""Training on 1, 2, 4, .. devices: `python benchmarks/speed/scaling.py [MODEL ..]`.

Images a second of training steps as `dfbench train` runs them, on the first devices of this machine
up to all: with as many images for each device ("weak"), and with as many for all together
("strong"). Efficiency is the rate of n devices over n times that of one. All programs are compiled
first and then take turns. Writes a table to benchmarks/speed/results; the exit status is 1 where
the losses of the first steps, in float32, depend on the number of devices by more than 1e-5.

Nothing need be said on a machine with accelerators. With `--cpu-devices N` the processor is N
devices, which share its cores: there efficiency is no news, and the losses are.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from page import RESULTS, Limit, limits_table, page, table, write

from dfbench.config import AugmentConfig, ModelConfig, OptimConfig, RunConfig, TrainingConfig
from dfbench.errors import UserError
from dfbench.paths import compile_cache_dir, slug
from dfbench.train.parallel import enable_compile_cache, pmap_train_step
from dfbench.train.state import TrainState, build_networks, create_state
from dfbench.train.step import make_train_step

MOST_APART = 1e-5  # of a loss to that of one device, over the larger of it and 1
STEPS = 5  # whose losses are compared
# Of their learning rate: 1e-4 lets rounding turn a ReLU or choose another maximum, and Meso-4's
# losses are 1e-3 apart after three steps. A gradient twice as large moves them by 1e-3 even so.
LOSS_RATE = 1e-5
RATE = 1e-3
TURN = 2.0  # s: a turn is as many steps as fill this, and two at least
KINDS = ("weak", "strong")
Batch = dict[str, np.ndarray]
Turn = Callable[[], float]  # returns what it has measured


@dataclass(frozen=True)
class Point:
    """A number of devices, and the images of a step on all of them."""

    devices: int
    size: int


@dataclass(frozen=True)
class Measured:
    """What a model did."""

    model: str
    points: dict[str, list[Point]]  # of each kind
    rates: dict[Point, float]  # images a second; those that failed are missing
    apart: dict[int, float]  # of each number of devices but 1, how far the losses are apart

    def rows(self) -> list[list[str]]:
        """Return rows of the table."""
        rows = []
        for kind in KINDS:
            first = self.rates.get(self.points[kind][0])
            for point in self.points[kind]:
                rate = self.rates.get(point)
                share = rate / (point.devices * first) if rate and first else None
                apart = self.apart.get(point.devices) if kind == "strong" else None
                rows.append(
                    [
                        self.model,
                        kind,
                        str(point.devices),
                        str(point.size),
                        "-" if rate is None else f"{rate:,.1f}",
                        "-" if share is None else f"{100 * share:.0f} %",
                        "-" if apart is None else f"{apart:.1e}",
                    ]
                )
        return rows


def counts(devices: int) -> list[int]:
    """Return 1, 2, 4, .. and all devices."""
    return sorted({2**power for power in range(devices.bit_length())} | {devices})


def config_of(model: str, dtype: str, size: int, rate: float = RATE) -> RunConfig:
    """Return a training whose losses follow from its batches alone: without dropout."""
    return RunConfig(
        model=ModelConfig(name=model, dropout=0.0, dtype=dtype),  # type: ignore[arg-type]
        augment=AugmentConfig(),
        optim=OptimConfig(name="sgd", lr=rate, momentum=0.9),
        training=TrainingConfig(batch_size=size),
    )


def batch_of(size: int, side: int, seed: int = 0) -> Batch:
    """Return images of noise, every other one a fake."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (size, side, side, 3), np.uint8),
        "label": np.arange(size, dtype=np.int32) % 2,
        "index": np.arange(size, dtype=np.int32),
        "mask": np.ones(size, np.float32),
    }


def losses(config: RunConfig, state: TrainState, devices: int) -> np.ndarray:
    """Return the losses of the first steps, each on a batch of its own."""
    networks = build_networks(config)
    step = pmap_train_step(make_train_step(networks, config, (1.0, 1.0)), devices=devices)
    found = []
    with jax.default_matmul_precision("highest"):  # a GPU's default is less than float32
        for number in range(STEPS):
            size = config.training.batch_size
            state, metrics = step(state, batch_of(size, networks.spec.input_size, number))
            found.append(float(metrics["loss"]))
    return np.array(found)


def turns_of(config: RunConfig, state: TrainState, point: Point) -> Turn:
    """Compile a step, and return what takes a turn with it."""
    networks = build_networks(config)
    step = pmap_train_step(make_train_step(networks, config, (1.0, 1.0)), devices=point.devices)
    turn = steps_in_turn(step, state, batch_of(point.size, networks.spec.input_size))
    return lambda: point.size / turn()


def steps_in_turn(step: Callable[..., Any], state: Any, batch: Any) -> Turn:
    """Compile a step, and return what takes some of them and returns the seconds of one."""
    held = [state]

    def turn() -> float:
        # As the training loop: a step is sent while the devices work on the one before.
        held[0], before = step(held[0], batch)
        jax.block_until_ready(before)
        start, count = time.perf_counter(), 0
        while count < 2 or time.perf_counter() - start < TURN:
            held[0], metrics = step(held[0], batch)
            jax.block_until_ready(before)
            before, count = metrics, count + 1
        jax.block_until_ready(before)
        return (time.perf_counter() - start) / count

    turn()
    return turn


def measure(model: str, options: argparse.Namespace) -> Measured:
    """Compile every program, then let them take turns; what fails is left out."""
    whole = options.global_batch
    points = {
        "weak": [Point(n, n * options.batch) for n in options.counts],
        "strong": [Point(n, whole) for n in options.counts],
    }
    config = config_of(model, options.dtype, whole)
    state = jax.device_get(create_state(config)[0])
    turns: dict[Point, Turn] = {}
    for point in dict.fromkeys(points["weak"] + points["strong"]):
        try:
            turns[point] = turns_of(config, state, point)
        except jax.errors.JaxRuntimeError as error:  # out of memory, mostly
            why = str(error).splitlines()[0]
            print(f"{model}, {point}: left out, {why}", file=sys.stderr)
    found: dict[Point, list[float]] = {point: [] for point in turns}
    for _ in range(options.rounds):
        for point, turn in turns.items():
            found[point].append(turn())
    turns.clear()
    exact = config_of(model, "float32", options.loss_batch, LOSS_RATE)
    alone = losses(exact, state, 1)
    apart = {}
    for devices in options.counts[1:]:
        off = np.abs(losses(exact, state, devices) - alone) / np.maximum(alone, 1)
        apart[devices] = float(off.max())
    rates = {point: statistics.median(each) for point, each in found.items()}
    return Measured(model, points, rates, apart)


def report(measured: Sequence[Measured], options: argparse.Namespace) -> tuple[str, bool]:
    """Return the page, and whether the losses are the same."""
    heads = ["model", "batch", "devices", "images a step", "img/s", "efficiency", "loss apart"]
    limits = [
        Limit(f"losses apart, {one.model}", max(one.apart.values()), MOST_APART)
        for one in measured
        if one.apart
    ]
    notes = [
        f"{options.dtype}; median of {options.rounds} rounds in which all programs take turns; "
        "steps of SGD, augmentation as usual, on images in the host's memory",
        f"losses: of the first {STEPS} steps at a rate of {LOSS_RATE:g}, float32, "
        f"{options.loss_batch} images a step, against one device",
    ]
    if options.cpu_devices:
        notes.append("devices that share the processor's cores: efficiency says little")
    tables = [table(heads, [row for one in measured for row in one.rows()]), limits_table(limits)]
    text = page(
        "Scaling over devices",
        "scaling.py",
        options.given,
        ("dfbench", "jax", "jaxlib", "flax"),
        notes,
        tables,
        device=f"{options.counts[-1]} x {jax.devices()[0].device_kind}",
    )
    return text, all(limit.met for limit in limits)


def _options(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["xception", "resnet50v1_5"])
    parser.add_argument("--batch", type=int, default=32, help="images for each device (weak)")
    parser.add_argument(
        "--global-batch", type=int, help="images for all (strong); default: --batch times devices"
    )
    parser.add_argument(
        "--loss-batch", type=int, help="images of the steps whose losses are compared"
    )
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-devices", type=int, help="use the processor, as so many devices")
    parser.add_argument("--output", type=Path, help="folder of the table", default=RESULTS)
    options = parser.parse_args(given)
    if options.cpu_devices is not None:
        if options.cpu_devices < 1:
            parser.error("--cpu-devices: one at least")
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", options.cpu_devices)
    options.counts = counts(jax.local_device_count())
    all_of = options.counts[-1]
    options.global_batch = options.global_batch or options.batch * all_of
    options.loss_batch = options.loss_batch or 2 * all_of
    for name in ("global_batch", "loss_batch"):
        if any(getattr(options, name) % count for count in options.counts):
            parser.error(f"--{name.replace('_', '-')}: a multiple of each of {options.counts}")
    if min(options.rounds, options.batch) < 1:
        parser.error("--rounds, --batch: one at least")
    options.given = given
    return options


def main(given: Sequence[str]) -> int:
    """Measure the models one after the other; write and print the table."""
    options = _options(given)
    enable_compile_cache(compile_cache_dir())
    try:
        measured = [measure(model, options) for model in options.models]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text, same = report(measured, options)
    device = slug(jax.devices()[0].device_kind).lower()
    write(text, "scaling", options.output, device=f"{options.counts[-1]}-{device}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
