"""All devices at once: the one file that says pmap.

A *per-device function* sees its share of a batch and talks to the others over the axis "batch".
State goes in and comes out as a single copy; batches are split along their first axis. Where
several processes train together (`dfbench.processes`), a training step runs on the devices of all
of them, each with its process's share of the batch; predictions run on a process's own devices.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Shaped

from dfbench.errors import UserError
from dfbench.processes import own_share

AXIS = "batch"
State = TypeVar("State")
Result = TypeVar("Result")
Batch = Mapping[str, Shaped[np.ndarray | jax.Array, "batch ..."]]


def check_batch_size(batch_size: int, devices: int | None = None) -> None:
    """Raise UserError where `batch_size` cannot be split evenly over the devices (of all)."""
    devices = devices or jax.device_count()
    if batch_size % devices or batch_size < 1:
        below = batch_size // devices * devices
        near = f"{below} or {below + devices}" if below else f"{devices}"
        raise UserError(
            f"the batch size {batch_size} cannot be split over {devices} devices: take {near}"
        )


def use_cpu_cores(*batch_sizes: int) -> None:
    """Make a device of each CPU core, as many as divide all `batch_sizes`; to be called first.

    A model's program runs on one core of a device of JAX's for the most part, so two such devices
    on two cores train twice as fast. With an accelerator this changes nothing. Who has set the
    number by JAX's own variables is left alone.
    """
    set_already = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if set_already or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    common = math.gcd(*(own_share().size(size) for size in batch_sizes))
    divisors = [n for n in range(1, (cores or 1) + 1) if common % n == 0]
    jax.config.update("jax_num_cpu_devices", max(divisors))


def split(batch: Batch, devices: int) -> dict[str, Shaped[np.ndarray, "device share ..."]]:
    """Reshape each array from [batch, ...] to [devices, batch / devices, ...]."""
    check_batch_size(len(next(iter(batch.values()))), devices)
    return {k: np.asarray(v).reshape(devices, -1, *v.shape[1:]) for k, v in batch.items()}


def place(batch: Batch, devices: int | None = None) -> dict[str, jax.Array]:
    """Send each device its share of a batch, without waiting; a no-op if it is there already."""
    if all(isinstance(values, jax.Array) for values in batch.values()):
        return dict(batch)  # type: ignore[arg-type]
    chosen = jax.local_devices()[:devices]
    sharding = NamedSharding(Mesh(np.asarray(chosen), (AXIS,)), PartitionSpec(AXIS))
    placed: dict[str, jax.Array] = jax.device_put(split(batch, len(chosen)), sharding)
    return placed


def replicate(state: State, devices: int | None = None) -> State:
    """Put a copy on each device, as a step returns it; a no-op if it is there already.

    Without it the second step would meet its state placed otherwise than the first, and compile
    a second time.
    """
    everywhere = NamedSharding(
        Mesh(np.asarray(jax.local_devices()[:devices]), (AXIS,)), PartitionSpec()
    )
    # To look costs 0.5 ms for the thousand arrays of a large network's state, `device_put` 16 ms.
    if all(
        isinstance(leaf, jax.Array) and leaf.sharding == everywhere
        for leaf in jax.tree.leaves(state)
    ):
        return state
    placed: State = jax.device_put(state, everywhere)
    return placed


def pmap_train_step(
    step: Callable[[State, Any], tuple[State, Result]], *, devices: int | None = None
) -> Callable[[State, Batch | tuple[Batch, ...]], tuple[State, Result]]:
    """Run the per-device `step(state, batch)` on all devices, or this process's first `devices`.

    State and result must be equal on all devices, and come back as one copy. `batch` is this
    process's share, or several that are placed already. The memory of the state that goes in is
    used for the one that comes out.
    """
    local = jax.local_devices()[:devices]
    # Device d of process p sees what device p * local + d of one process would.
    everywhere = sorted(jax.devices(), key=lambda one: (one.process_index, one.id))
    chosen = everywhere if devices is None else local
    mapped = jax.pmap(
        step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, devices=chosen, donate_argnums=0
    )

    def run(state: State, batch: Batch | tuple[Batch, ...]) -> tuple[State, Result]:
        placed = batch if isinstance(batch, tuple) else place(batch, len(local))
        result: tuple[State, Result] = mapped(replicate(state, len(local)), placed)
        return result

    return run


def pmap_predict(
    predict: Callable[[State, Any], jax.Array], *, devices: int | None = None
) -> Callable[[State, Batch], Callable[[], Shaped[np.ndarray, "batch ..."]]]:
    """Run the per-device `predict(state, batch)`; the shares are joined along the first axis.

    What comes back waits for the devices when it is called.
    """
    chosen = jax.local_devices()[:devices]
    mapped = jax.pmap(predict, axis_name=AXIS, in_axes=(None, 0), out_axes=0, devices=chosen)

    def run(state: State, batch: Batch) -> Callable[[], np.ndarray]:
        shares = mapped(replicate(state, len(chosen)), place(batch, len(chosen)))

        def joined() -> np.ndarray:
            return np.asarray(shares).reshape(-1, *shares.shape[2:])

        return joined

    return run


def enable_compile_cache(cache_dir: Path) -> None:
    """Keep compiled programs that took more than a second under `cache_dir`."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(cache_dir))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
