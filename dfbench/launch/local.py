"""The devices of this machine: one process each, which take the trainings one after another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbench.errors import UserError, system_errors
from dfbench.launch.work import Work
from dfbench.progress import SILENT, Reporter
from dfbench.signals import sigterm_interrupts

PATIENCE = 20.0  # seconds that a process has to save its training and end
TICK = 0.2  # seconds
ASK = "import jax, json; print(json.dumps([jax.default_backend(), jax.local_device_count()]))"


KEEP_TO = (  # cores, a command: becomes that command on these cores
    "import json, os, sys; os.sched_setaffinity(0, json.loads(sys.argv[1])); "
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True, kw_only=True)
class Device:
    """What one process works on."""

    name: str
    env: Mapping[str, str]
    cores: tuple[int, ...] = ()  # of the CPU; empty: all


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A part that came to its end."""

    part: int
    status: int
    log: Path


def find_devices(python: str = sys.executable) -> tuple[str, int]:
    """Return JAX's backend here, and how many devices it has, as another process sees them.

    Raises:
      UserError: JAX does not start.
    """
    done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=False)
    try:
        backend, count = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UserError(f"JAX finds no device here: {said}") from error
    return backend, count


def devices(backend: str, count: int, workers: int) -> list[Device]:
    """Return what the processes work on: a device each, or a share of the CPU's cores each.

    Args:
      backend: JAX's name of it.
      count: how many devices JAX sees; of the CPU's not asked.
      workers: processes; 0: one a device, and one on a CPU.

    Raises:
      UserError: more processes than devices or cores.
    """
    cores = _cores()
    most = len(cores) if backend == "cpu" else count
    workers = workers or (1 if backend == "cpu" else count)
    if workers > most:
        what = "cores" if backend == "cpu" else f"devices ({backend})"
        raise UserError(f"--workers: {workers} are more than the {most} {what} here")
    if backend == "cpu":
        return [
            Device(name=f"cpu {n + 1}", env={"JAX_PLATFORMS": "cpu"}, cores=cores[n::workers])
            for n in range(workers)
        ]
    if workers == 1:
        return [Device(name=f"{backend}, {count} of them" if count > 1 else backend, env={})]
    if count % workers:
        raise UserError(f"--workers: {count} devices cannot be shared by {workers} processes")
    share = count // workers
    shares = [range(n * share, (n + 1) * share) for n in range(workers)]
    return [_accelerator(backend, share) for share in shares]


def _accelerator(backend: str, numbers: Sequence[int]) -> Device:
    name = f"{backend} {','.join(map(str, numbers))}"
    if backend == "tpu":
        if len(numbers) > 1:
            raise UserError("--workers: on a TPU one process a chip, or one of all chips")
        env = {
            "TPU_VISIBLE_CHIPS": str(numbers[0]),
            "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1",  # one chip, and no other host
            "TPU_PROCESS_BOUNDS": "1,1,1",
        }
        return Device(name=name, env=env)
    variable = "ROCR_VISIBLE_DEVICES" if backend == "rocm" else "CUDA_VISIBLE_DEVICES"
    seen = [one for one in os.environ.get(variable, "").split(",") if one]
    own = [seen[n] if n < len(seen) else str(n) for n in numbers]
    return Device(name=name, env={variable: ",".join(own)})


def _cores() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def run_commands(commands: Sequence[Sequence[str]], env: Mapping[str, str]) -> int:
    """Run commands one after another on this terminal; return the first status that is not 0."""
    for command in commands:
        status = subprocess.run(command, env={**os.environ, **env}, check=False).returncode
        if status:
            return status
    return 0


def run_parts(
    work: Work, chosen: Sequence[Device], logs: Path, reporter: Reporter = SILENT
) -> list[Ended]:
    """Run all parts, as many at the same time as there are devices; return how each ended.

    What a part says goes to `logs/part-K.log`. Ctrl-C, or SIGTERM, stops all: each has time to save
    its training, and the next call goes on.

    Raises:
      UserError: a log file cannot be written, or the command not be found.
      KeyboardInterrupt: by one of those signals, when all have ended.
    """
    waiting = list(range(1, work.parts + 1))
    running: dict[int, tuple[subprocess.Popen[bytes], int]] = {}  # by device: process and part
    ended: list[Ended] = []
    with (
        system_errors(logs),
        sigterm_interrupts(),
        _stopped_at_the_end(running),
        reporter.bar(f"{work.trainings} trainings on {len(chosen)} devices", "part") as progress,
    ):
        logs.mkdir(parents=True, exist_ok=True)
        while waiting or running:
            for number, device in enumerate(chosen):
                if number not in running and waiting:
                    part = waiting.pop(0)
                    running[number] = (_start(work, part, device, logs), part)
            time.sleep(TICK)
            for number, (process, part) in list(running.items()):
                if process.poll() is not None:
                    del running[number]
                    ended.append(Ended(part=part, status=process.returncode, log=_log(logs, part)))
                    what = "done" if process.returncode == 0 else f"status {process.returncode}"
                    reporter.say(f"part {part}/{work.parts}: {what} ({_log(logs, part)})")
            progress(len(ended), work.parts)
    return ended


def _start(work: Work, part: int, device: Device, logs: Path) -> subprocess.Popen[bytes]:
    command = (*work.matrix, "--part", f"{part}/{work.parts}")
    if device.cores and hasattr(os, "sched_setaffinity"):
        command = (sys.executable, "-c", KEEP_TO, json.dumps(device.cores), *command)
    with _log(logs, part).open("ab") as log:
        log.write(f"--- part {part} of {work.parts} on {device.name}\n".encode())
        log.flush()
        return subprocess.Popen(
            command,
            env={**os.environ, **dict(work.env), **device.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to this process alone, which passes it on once
        )


def _log(logs: Path, part: int) -> Path:
    return logs / f"part-{part}.log"


@contextlib.contextmanager
def _stopped_at_the_end(
    running: Mapping[int, tuple[subprocess.Popen[bytes], int]],
) -> Iterator[None]:
    """Leave no process behind, whatever goes wrong."""
    try:
        yield
    finally:
        processes = [process for process, _ in running.values()]
        for process in processes:
            _signal(process, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        with contextlib.suppress(KeyboardInterrupt):  # again: without patience
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, until - time.monotonic()))
        for process in processes:
            _signal(process, signal.SIGKILL)  # and what it has started
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
