"""Several processes of one job on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support.command import start_dfbench


@dataclass
class Ended:
    code: int
    stdout: str
    stderr: str


@dataclass
class Member:
    """One process, with what it says in files."""

    process: subprocess.Popen[str]
    said: Path

    def kill(self) -> None:
        """Kill it and its child, as a machine that is switched off would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, timeout: float) -> Ended:
        """Wait for it."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return Ended(code, *(self.said.with_suffix(s).read_text() for s in (".out", ".err")))


def start_job(
    *arguments: str | Path, count: int, devices: int, cwd: Path, cache: Path
) -> list[Member]:
    """Start `count` processes with `devices` each on `dfbench ARGUMENTS`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    members = []
    for number in range(count):
        said = cwd / f"process{number}-{time.monotonic_ns()}"
        job = ("--coordinator", f"127.0.0.1:{port}", "--processes", count, "--process", number)
        with said.with_suffix(".out").open("w") as out, said.with_suffix(".err").open("w") as err:
            process = start_dfbench(
                *arguments,
                *(map(str, job) if count > 1 else ()),
                cwd=cwd,
                cache=cache,
                stdout=out,
                stderr=err,
                JAX_NUM_CPU_DEVICES=str(devices),
            )
        members.append(Member(process, said))
    return members
