"""Training steps and prediction: `python benchmarks/speed/train_step.py [MODEL ..]`.

One row a model and number of devices: seconds to compile (without a cache), median seconds of a
step, images a second. Random images of 256 px; float32; the timing of an accelerator includes the
copy of each batch to it.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time

STEPS = 7
BATCH = {"meso4": 32}  # images; others: 8


def measure(name: str) -> str:
    """Return a table row; JAX fixes its number of devices at the start, so this is a process."""
    import jax
    import numpy as np

    from dfbench.config import ModelConfig, RunConfig
    from dfbench.eval.predict import predict
    from dfbench.train.parallel import pmap_train_step, use_cpu_cores
    from dfbench.train.state import create_state
    from dfbench.train.step import make_train_step

    size = BATCH.get(name, 8)
    use_cpu_cores(size)
    config = RunConfig(model=ModelConfig(name=name))
    rng = np.random.default_rng(0)
    batch: dict[str, np.ndarray] = {
        "image": rng.integers(0, 256, (size, 256, 256, 3)).astype(np.uint8),
        "label": np.arange(size, dtype=np.int32) % 2,
        "index": np.arange(size, dtype=np.int32),
        "mask": np.ones(size, np.float32),
    }
    state, networks = create_state(config)
    step = pmap_train_step(make_train_step(networks, config, (1.0, 1.0)))
    times = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - start)
    train = statistics.median(times[1:])
    predict(state, networks, iter([batch]), size)
    start = time.perf_counter()
    batches = [{**batch, "index": batch["index"] + size * i} for i in range(STEPS)]
    predict(state, networks, batches, size * STEPS)
    scored = (time.perf_counter() - start) / STEPS
    devices = f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"
    return (
        f"| {name} | {devices} | {size} | {times[0]:.1f} | {train:.3f} | {size / train:.1f} "
        f"| {size / scored:.1f} |"
    )


def main() -> int:
    """Measure each model in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["meso4", "xception"])
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.in_this_process:
        print(measure(args.models[0]))
        return 0
    print(f"Python {platform.python_version()}, {platform.machine()}; median of {STEPS} steps\n")
    print("| model | devices | batch | first step s | step s | trained img/s | scored img/s |")
    print("|---|---|---|---|---|---|---|")
    for name in args.models:
        command = [sys.executable, __file__, name, "--in-this-process"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        print(done.stdout.strip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
