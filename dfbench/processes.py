"""Several processes that make one training together: the one file that says jax.distributed.

Every process runs the same command on the same folders. Process 0 decides and writes, the others
follow; each reads its share of every batch. Alone, a process is number 0 of 1 and nothing here
costs anything.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dfbench.errors import UserError, one_line

if TYPE_CHECKING:  # every command imports this module
    import numpy as np
    from jaxtyping import Shaped

LOST = 4  # exit status where another process has ended
MEET_SECONDS = 300  # all have to be there by then
HEARTBEAT_SECONDS = 25  # who was not heard of for that long is dead
WAIT_SECONDS = 7 * 24 * 3600  # for process 0, which may be preparing a large dataset

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """Which part of every batch is read here: number `part` of `parts`, counted from 0."""

    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.part < self.parts:
            raise ValueError(f"part {self.part} of {self.parts}")

    def size(self, batch_size: int) -> int:
        """Return how many examples of a batch are in a share.

        Raises:
          UserError: the batch cannot be split evenly.
        """
        if batch_size % self.parts:
            raise UserError(
                f"the batch size {batch_size} cannot be split over {self.parts} processes"
            )
        return batch_size // self.parts


@dataclass(frozen=True, kw_only=True)
class Job:
    """How the processes of a job find each other; what is None, JAX asks the cluster for."""

    coordinator: str | None = None  # HOST:PORT of process 0
    processes: int | None = None
    process: int | None = None


_share = Share()
_barriers = itertools.count()


def own_share() -> Share:
    """Return this process's part of every batch."""
    return _share


def is_first() -> bool:
    """Return whether this process writes; alone it does."""
    return _share.part == 0


def several() -> bool:
    """Return whether there are others."""
    return _share.parts > 1


def find_job(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    environment: Mapping[str, str] = os.environ,
) -> Job | None:
    """Return the job that the options or the cluster's variables name; None for one process.

    A SLURM step with several tasks, several ranks of Open MPI and a TPU host are found by
    themselves; `processes=1` keeps a process alone there.

    Raises:
      UserError: options that do not fit together.
    """
    given = [coordinator, processes, process]
    if processes == 1 and process in (None, 0):
        return None
    if given == [None, None, None]:
        return Job() if _on_cluster(environment) or _on_tpu(environment) else None
    if None in given:
        raise UserError("--coordinator HOST:PORT, --processes N and --process I belong together")
    assert coordinator is not None
    assert processes is not None
    assert process is not None
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise UserError(f"--coordinator: '{coordinator}' is no HOST:PORT")
    if not 0 <= process < processes:
        raise UserError(f"--process: {process} is not in 0 to {processes - 1}, by --processes")
    return Job(coordinator=coordinator, processes=processes, process=process)


def _on_cluster(environment: Mapping[str, str]) -> bool:
    names = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    return any(environment.get(name, "1") not in ("", "0", "1") for name in names)


def _on_tpu(environment: Mapping[str, str]) -> bool:
    """A host of a TPU, one of perhaps many: JAX asks the TPU's own service which."""
    if environment.get("JAX_PLATFORMS", "tpu").split(",")[0] != "tpu":
        return False
    devices = (*Path("/dev").glob("accel[0-9]*"), *Path("/dev").glob("vfio/[0-9]*"))
    return bool(devices) and _installed("libtpu")


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def join(job: Job) -> None:
    """Meet the others, before JAX is used; what those after the first one print is dropped.

    Raises:
      UserError: they cannot be found.
    """
    global _share
    import jax
    from jax._src.distributed import global_state  # asking JAX itself would set up its devices

    jax.config.update("jax_enable_preemption_service", False)  # or SIGTERM would be passed over
    try:
        jax.distributed.initialize(
            job.coordinator,
            job.processes,
            job.process,
            initialization_timeout=MEET_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=MEET_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the processes of this job did not meet: {one_line(str(error))[:300]}; give "
            "--coordinator HOST:PORT --processes N --process I, or --processes 1 to stay alone"
        ) from error
    _share = Share(global_state.process_id, global_state.num_processes)
    if not is_first():
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def check_devices() -> None:
    """Raise UserError where the processes have different numbers of devices."""
    if not several():
        return
    import jax
    import numpy as np

    counts = _all(np.asarray(jax.local_device_count(), np.int32)).tolist()
    if len(set(counts)) > 1:
        raise UserError(
            "the processes of this job have different numbers of devices "
            f"({', '.join(map(str, counts))}): give each as many (JAX_NUM_CPU_DEVICES on CPUs)"
        )


def wait() -> None:
    """Wait until every process is here: what was written before can be read after."""
    if not several():
        return
    from jax._src.distributed import global_state  # no public function waits without devices

    assert global_state.client is not None
    name = f"dfbench-{next(_barriers)}"
    global_state.client.wait_at_barrier(name, timeout_in_ms=1000 * WAIT_SECONDS)


def decide(question: Callable[[], bool]) -> bool:
    """Ask in process 0 alone, and return its answer everywhere."""
    if not several():
        return question()
    import numpy as np

    answer = np.asarray(question() if is_first() else False)
    return bool(_all(answer)[0])


def first_does(action: Callable[[], object]) -> None:
    """Act in process 0 alone; the others wait for it."""
    if is_first():
        action()
    wait()


def first_before_others(action: Callable[[], T]) -> T:
    """Act in process 0, then in the others, which find what it has made."""
    if not is_first():
        wait()
        return action()
    result = action()
    wait()
    return result


def anywhere(flag: bool) -> bool:
    """Return whether the flag is set in any process; all have to ask."""
    if not several():
        return flag
    import numpy as np

    return bool(_all(np.asarray(flag)).any())


def add_up(values: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Add the arrays of all processes; of a type that JAX has, 32 bits wide."""
    if not several():
        return values
    total: Shaped[np.ndarray, "*shape"] = _all(values).sum(axis=0, dtype=values.dtype)
    return total


def _all(values: Shaped[np.ndarray, " *own"]) -> Shaped[np.ndarray, " processes *own"]:
    import numpy as np
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(values))


# --- the end of a process -------------------------------------------------------------------------


def supervise() -> int | None:
    """Go on in a child; return None there, and here its exit status when it has ended.

    JAX aborts a process from C++, with a stack trace and no word of ours, when another one has
    died: somebody must be left to say what that means.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        return None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the child too
    signal.signal(signal.SIGTERM, lambda received, frame: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    name = signal.Signals(-code).name
    if name == "SIGABRT":
        print(f"dfbench: {LOST_TEXT}", file=sys.stderr, flush=True)
        return LOST
    print(f"dfbench: this process was ended by {name}", file=sys.stderr, flush=True)
    return 128 - code


LOST_TEXT = (
    "another process of this job has ended or cannot be reached, so this one ends too; look at "
    "what the others said last, then run the same command everywhere again, with --resume "
    "(`matrix` resumes by itself)"
)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(LOST)


def lost_touch(error: BaseException) -> bool:
    """Return whether an error says that another process could not be reached."""
    if not several() or type(error).__name__ != "JaxRuntimeError":
        return False
    signs = ("Gloo", "NCCL", "oordination", "UNAVAILABLE", "DEADLINE_EXCEEDED", "eartbeat")
    return any(sign in str(error) for sign in signs)


def leave(status: int) -> None:
    """End this process at once; JAX's own end would wait for the others, who wait for this one."""
    if several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
