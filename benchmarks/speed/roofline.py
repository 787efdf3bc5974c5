"""How fast a device could run a network: what is to be done, over what the device can do.

Counted once, from the shapes in the traced program of a step: the floating-point operations of
convolutions and matrix products (two a multiply-add), and the bytes they move where each of them,
and each pooling, reads its inputs once and writes its output once, and all between is fused into
them; in training also the state, read and written once. The device's rates are measured: a matrix
product in bfloat16, and a copy. The larger of both times is the floor. XLA's own count of the bytes
that its compiled program moves says how much of what is above the floor is memory traffic.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

MATRIX_SECONDS, COPY_SECONDS = 0.02, 0.005  # a call that is this long has no noticeable start
MATRIX_SIDES = (512, 1024, 2048, 4096, 8192, 16384)
COPY_BYTES = tuple(2**n for n in range(24, 32))
REPEATS = 10
_UNFUSED = ("conv_general", "dot_general", "reduce_window", "select_and_")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a device can do in a second."""

    flops: float
    bandwidth: float  # bytes, read and written together


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step is: floating-point operations, and bytes to and from memory.

    `moved` is what XLA says of the compiled program; 0 where it says nothing.
    """

    flops: float
    bytes: float
    moved: float = 0.0

    def floor(self, rates: Rates) -> tuple[float, str]:
        """Return the seconds a step takes at least, and what bounds it."""
        times = {"arithmetic": self.flops / rates.flops, "memory": self.bytes / rates.bandwidth}
        bound = max(times, key=lambda name: times[name])
        return times[bound], bound


# --- in a process with the device -----------------------------------------------------------------


def count(
    function: Callable[..., Any], first: Any, batch: Any, kept: Iterable[Any] = ()
) -> dict[str, float]:
    """Return the fields of `Work` that the traced `function(first, batch)` of a device has.

    Args:
        function: Per-device.
        first: What is on all devices, and ...
        batch: ... what is split over them.
        kept: What is read and written besides.
    """
    import jax
    from jax.sharding import Mesh, PartitionSpec

    from dfbench.models import lowering
    from dfbench.models.describe import count_multiply_adds, operations
    from dfbench.train.parallel import AXIS

    mesh = Mesh(np.asarray(jax.local_devices()[:1]), (AXIS,))
    split = PartitionSpec(), PartitionSpec(AXIS)
    with lowering.traced_as("plain"):
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=split, out_specs=PartitionSpec(), check_vma=False
        )
        jaxpr = jax.make_jaxpr(mapped)(first, batch).jaxpr
    moved = 2.0 * _bytes(jax.tree.leaves(list(kept)))
    for equation, times in operations(jaxpr):
        if equation.primitive.name.startswith(_UNFUSED):
            moved += times * _bytes(one.aval for one in (*equation.invars, *equation.outvars))
    return {"flops": 2.0 * count_multiply_adds(jaxpr), "bytes": moved}


def _bytes(arrays: Iterable[Any]) -> int:
    return sum(one.size * one.dtype.itemsize for one in arrays)


def compiled_bytes() -> float:
    """Return the bytes that XLA says this process's largest program moves; 0 where it does not."""
    import jax

    found = [0.0]
    for program in _programs(jax.local_devices()[0]):
        try:
            costs = program.cost_analysis()
        except Exception:  # of another class on each backend; not all of them count
            continue
        several = costs if isinstance(costs, list) else [costs]
        found += [float((one or {}).get("bytes accessed", 0.0)) for one in several]
    return max(found)


def _programs(device: Any) -> list[Any]:
    try:
        return list(device.client.live_executables())
    except Exception:  # no such function in this release or on this backend
        return []


def measure_rates() -> dict[str, float]:
    """Return the fields of `Rates` of the first device."""
    import jax
    import jax.numpy as jnp

    product = jax.jit(lambda a, b: a @ b)
    copy = jax.jit(lambda x: x ^ 1)  # a copy that nothing leaves out
    flops = bandwidth = 0.0
    for side in MATRIX_SIDES:
        keys = jax.random.split(jax.random.key(0))
        a, b = (jax.random.normal(key, (side, side), jnp.bfloat16) for key in keys)
        seconds = _seconds(lambda a=a, b=b: product(a, b))  # type: ignore[misc]
        flops = max(flops, 2 * side**3 / seconds)
        if seconds > MATRIX_SECONDS:
            break
    for size in COPY_BYTES:
        x = jnp.arange(size // 4, dtype=jnp.uint32)
        seconds = _seconds(lambda x=x: copy(x))  # type: ignore[misc]
        # What fits a cache is no measure of memory: the last counts, not the best.
        bandwidth = 2 * size / seconds
        if seconds > COPY_SECONDS:
            break
    return {"flops": flops, "bandwidth": bandwidth}


def _seconds(run: Callable[[], Any]) -> float:
    """Return the median seconds of a call."""
    import jax

    jax.block_until_ready(run())
    jax.block_until_ready(run())
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - start)
    return float(np.median(found))
