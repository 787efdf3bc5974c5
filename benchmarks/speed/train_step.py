"""Training steps and inference: `python benchmarks/speed/train_step.py [MODEL ..]`.

Where PyTorch is installed (`make parity`), against it. Each side of a comparison is a process that
stays: dfbench, PyTorch in its two memory layouts and compiled. They take turns, one at a time, so
that what else the machine does meets all of them, and ratios are of neighbours in time. float32,
all cores, SGD with momentum, no augmentation, no dropout; dfbench starts from uint8 images as in
`dfbench train`, PyTorch from normalised floats. Writes a table to benchmarks/speed/results.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench.results.environment import machine_name, machine_text, usable_cores

HERE = Path(__file__).resolve()
NETWORKS = HERE.parents[2] / "tests" / "parity" / "torch_networks.py"
RESULTS = HERE.parent / "results"
SIDES = {
    "dfbench": "dfbench",
    "contiguous": "PyTorch contiguous",
    "channels_last": "PyTorch channels-last",
    "compiled": "torch.compile, channels-last",
}
# Of each model: its class among the PyTorch builds of the tests, and the arguments.
TORCH_BUILDS: dict[str, tuple[str, dict[str, Any]]] = {
    "xception": ("Xception", {}),
    "light_xception": ("Xception", {"middle_blocks": 4}),
    "midway_xception": ("Xception", {"midway": True}),
    "resnet50v1_5": ("ResNet", {"bottleneck": True}),
    "meso4": ("Meso4", {}),
}
MODES = {"train": "training step", "infer": "inference"}
BATCH = {"meso4": 32}  # images; others: 8
TURN = 0.5  # s: a turn is as many steps as fill this, and one at least
PAUSE = 0.2  # s between turns, for the threads of the side before to fall asleep
LEARNING_RATE = 1e-3
RATIOS = (
    " in which the sides take turns; a ratio is of neighbours in a round: median (lowest-highest), "
    "above 1 where dfbench is faster"
)

Turns = dict[str, Callable[[], object]]  # of each mode: one step


def dfbench_turns(name: str, size: int) -> Turns:
    """Return a training step and a prediction, as `dfbench` runs them."""
    import jax
    import numpy as np

    from dfbench.config import AugmentConfig, ModelConfig, OptimConfig, RunConfig
    from dfbench.eval.predict import predict
    from dfbench.paths import compile_cache_dir
    from dfbench.train.parallel import enable_compile_cache, pmap_train_step, use_cpu_cores
    from dfbench.train.state import create_state
    from dfbench.train.step import make_train_step

    use_cpu_cores(size)
    enable_compile_cache(compile_cache_dir())
    config = RunConfig(
        model=ModelConfig(name=name, dropout=0.0),
        augment=AugmentConfig(flip=0.0, brightness=0.0, contrast=0.0),
        optim=OptimConfig(name="sgd", lr=LEARNING_RATE, momentum=0.9),
    )
    state, networks = create_state(config)
    step = pmap_train_step(make_train_step(networks, config, (1.0, 1.0)))
    side = networks.spec.input_size
    batch: dict[str, np.ndarray] = {
        "image": np.random.default_rng(0).integers(0, 256, (size, side, side, 3)).astype(np.uint8),
        "label": np.arange(size, dtype=np.int32) % 2,
        "index": np.arange(size, dtype=np.int32),
        "mask": np.ones(size, np.float32),
    }

    def train() -> None:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))

    return {"train": train, "infer": lambda: predict(state, networks, iter([batch]), size)}


def torch_turns(name: str, size: int, side: str) -> Turns:
    """Return the same with PyTorch; `side` is one of `SIDES`."""
    import torch

    from dfbench.models.registry import get_model

    torch.set_num_threads(usable_cores())
    torch.manual_seed(0)
    layout = torch.contiguous_format if side == "contiguous" else torch.channels_last
    module = _torch_network(name).to(memory_format=layout)
    pixels = get_model(name).input_size
    images = torch.rand(size, 3, pixels, pixels).contiguous(memory_format=layout)
    labels = (torch.arange(size) % 2).float()
    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE, momentum=0.9)
    call = torch.compile(module) if side == "compiled" else module

    def train() -> None:
        module.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(call(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    def infer() -> None:
        module.eval()
        with torch.inference_mode():
            call(images).numpy()

    return {"train": train, "infer": infer}


def _torch_network(name: str) -> Any:
    spec = importlib.util.spec_from_file_location("torch_networks", NETWORKS)
    assert spec is not None
    assert spec.loader is not None
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    kind, arguments = TORCH_BUILDS[name]
    return getattr(networks, kind)(**arguments)


def work(name: str, size: int, side: str) -> None:
    """Warm up, then answer each line of standard input, a mode, with seconds a step."""
    turns = dfbench_turns(name, size) if side == "dfbench" else torch_turns(name, size, side)
    for step in turns.values():
        for _ in range(2):  # the second finds what the first compiled or allocated
            step()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        step, count, start = turns[line.strip()], 0, time.perf_counter()
        while not count or time.perf_counter() - start < TURN:
            step()
            count += 1
        print(json.dumps((time.perf_counter() - start) / count), flush=True)


class Worker:
    """The process of one side.

    Args:
        name: Of the model.
        size: Images a step.
        side: One of `SIDES`.
    """

    def __init__(self, name: str, size: int, side: str) -> None:
        command = [sys.executable, str(HERE), "--worker", name, str(size), side]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors: list[str] = []
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def answer(self, limit: float) -> Any:
        """Return what it prints next; None where it ends or takes longer than `limit` seconds."""
        assert self.process.stdout is not None
        timer = threading.Timer(limit, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        return json.loads(line) if line else None

    def turn(self, mode: str, limit: float) -> float | None:
        """Return its seconds a step; None as of `answer`."""
        assert self.process.stdin is not None
        try:
            print(mode, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return None
        seconds: float | None = self.answer(limit)
        return seconds

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Measured:
    """Images a second of a model in a mode, by side: one number a round."""

    name: str
    mode: str
    size: int
    rates: dict[str, list[float]]

    def row(self, sides: list[str]) -> str:
        """Return medians, and the medians of the ratios dfbench / other within a round."""
        ours = self.rates.get("dfbench")
        cells = [self.name, MODES[self.mode], str(self.size)]
        for side in sides:
            rates = self.rates.get(side)
            cells.append(f"{statistics.median(rates):.1f}" if rates else "-")
        for side in sides[1:]:
            theirs = self.rates.get(side)
            if not ours or not theirs:
                cells.append("-")
                continue
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        return f"| {' | '.join(cells)} |"


def measure(name: str, options: argparse.Namespace) -> list[Measured]:
    """Let all sides take turns at one model; a side that fails is left out."""
    size = options.batch or BATCH.get(name, 8)
    sides = [side for side in options.sides if side == "dfbench" or name in TORCH_BUILDS]
    workers: dict[str, Worker] = {}
    try:
        workers.update({side: Worker(name, size, side) for side in sides})  # all compile at once
        end = time.monotonic() + options.warm_up
        for side, worker in list(workers.items()):
            if worker.answer(max(end - time.monotonic(), 1)) is None:
                _leave_out(workers, side, name, f"not ready within {options.warm_up:.0f} s")
        found: dict[str, dict[str, list[float]]] = {
            mode: {side: [] for side in workers} for mode in MODES
        }
        for _ in range(options.rounds):
            for mode, side in [(mode, side) for mode in MODES for side in workers]:
                time.sleep(PAUSE)
                seconds = workers[side].turn(mode, options.warm_up) if side in workers else None
                if seconds is None:
                    _leave_out(workers, side, name, f"no answer ({mode})")
                    continue
                found[mode][side].append(size / seconds)
    finally:
        for worker in workers.values():
            worker.close()
    return [
        Measured(name, mode, size, {side: rates[side] for side in workers})
        for mode, rates in found.items()
    ]


def _leave_out(workers: dict[str, Worker], side: str, name: str, why: str) -> None:
    worker = workers.pop(side, None)
    if worker is not None:
        worker.close()
        last = worker.errors[-1].strip() if worker.errors else ""
        print(f"{name}: {SIDES[side]} is left out, {why}: {last}", file=sys.stderr)


def report(measured: list[Measured], options: argparse.Namespace, today: str) -> str:
    """Return the page: what, on what, how, and the table."""
    packages = ["dfbench", "jax", "flax", *(["torch"] if len(options.sides) > 1 else [])]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    heads = ["model", "what", "batch", *(f"{SIDES[side]}, img/s" for side in options.sides)]
    heads += [f"dfbench / {SIDES[side]}" for side in options.sides[1:]]
    lines = [
        "# Training steps and inference",
        "",
        f"- {today}; {machine_text()}",
        f"- Python {platform.python_version()}, {versions}",
        f"- `{' '.join(['python', 'benchmarks/speed/train_step.py', *options.given])}`",
        f"- float32; median of {options.rounds} rounds{RATIOS if options.sides[1:] else ''}",
        "",
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
        *(row.row(options.sides) for row in measured),
    ]
    return "\n".join(lines) + "\n"


def _options(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    here = list(SIDES) if importlib.util.find_spec("torch") else ["dfbench"]
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", default=list(TORCH_BUILDS), help="as in dfbench"
    )
    parser.add_argument(
        "--sides", nargs="+", choices=here, default=here, help="dfbench is among them always"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, help="images; else 8, and 32 for meso4")
    parser.add_argument(
        "--warm-up", type=float, default=120, help="seconds to compile in before a side is left out"
    )
    parser.add_argument("--output", type=Path, help="folder of the table", default=RESULTS)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.rounds < 1:
        parser.error("--rounds: one at least")
    options.sides = [side for side in SIDES if side == "dfbench" or side in options.sides]
    options.given = given
    return options


def main() -> int:
    """Measure the models one after the other; write and print the table."""
    options = _options(sys.argv[1:])
    if options.worker:
        name, size, side = options.worker
        work(name, int(size), side)
        return 0
    measured = []
    for name in options.models:
        for row in measure(name, options):
            measured.append(row)
            print(row.row(options.sides), flush=True)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{today}-{machine_name()}.md"
    path.write_text(report(measured, options, today), encoding="utf-8")
    print(f"written: {path}")
    return 0 if all("dfbench" in row.rates for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
