"""Xception's middle blocks as a loop and as a scan: `python benchmarks/speed/scan_blocks.py`.

Values and gradients of the blocks alone, 19x19x728, float32, batch norm over all devices. Seconds
to compile (without a cache) and, of turns taken alternately, median milliseconds of a pass.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from dfbench.models.xception import MIDDLE_BLOCKS, Block, Form
from dfbench.train.parallel import AXIS, use_cpu_cores

SHAPE = (19, 19, 728)
Loss = Callable[[Any, Array], Array]


def losses() -> tuple[Any, dict[str, Loss]]:
    """Return the stacked parameters and statistics of the blocks, and the two forms."""
    form = Form(grouped=False, skip_everywhere=False, epsilon=1e-5, dtype=jnp.dtype("float32"))
    channels = SHAPE[-1]
    make = lambda seed: Block((channels,) * 4, form, stride=1, rngs=nnx.Rngs(seed))  # noqa: E731
    states = []
    for seed in range(MIDDLE_BLOCKS):
        block = make(seed)
        block.train()
        graphdef, state = nnx.split(block)
        states.append(nnx.to_pure_dict(state))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def call(x: Array, state: Any) -> Array:
        y: Array = nnx.merge(graphdef, nnx.State(state), copy=True)(x)
        return y

    def loop(stacked: Any, x: Array) -> Array:
        for i in range(MIDDLE_BLOCKS):
            x = call(x, jax.tree.map(lambda leaf, i=i: leaf[i], stacked))
        return jnp.sum(x * x)

    def scan(stacked: Any, x: Array) -> Array:
        x, _ = lax.scan(lambda x, state: (call(x, state), None), x, stacked)
        return jnp.sum(x * x)

    return stacked, {"loop": loop, "scan": scan}


def compiled(loss: Loss, stacked: Any, x: Array) -> tuple[Callable[[], object], float]:
    """Return a pass of all devices, and the seconds it took to compile."""
    mapped = jax.pmap(
        lambda stacked, x: jax.value_and_grad(loss)(stacked, x), axis_name=AXIS, in_axes=(None, 0)
    )
    shares = x.reshape(jax.local_device_count(), -1, *SHAPE)
    start = time.perf_counter()
    program = mapped.lower(stacked, shares).compile()
    seconds = time.perf_counter() - start
    return lambda: jax.block_until_ready(program(stacked, shares)), seconds


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8, help="images")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    use_cpu_cores(options.batch)
    stacked, forms = losses()
    images = np.random.default_rng(0).normal(size=(options.batch, *SHAPE))
    x = jnp.asarray(images, jnp.float32)
    passes = {name: compiled(loss, stacked, x) for name, loss in forms.items()}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(options.rounds + 1):
        for name, (run, _) in passes.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - start)
    devices = f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"
    print(f"{devices}, {platform.machine()}, jax {jax.__version__}, batch {options.batch}\n")
    print("| form | compile s | pass ms |")
    print("|---|---|---|")
    for name, (_, seconds) in passes.items():
        print(f"| {name} | {seconds:.1f} | {1000 * statistics.median(times[name]):.0f} |")


if __name__ == "__main__":
    main()
