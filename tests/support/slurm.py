"""A SLURM of its own on this machine: munged, slurmctld and slurmd, without systemd and cgroups."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
NODES = ("n1", "n2")  # two slurmd on one machine
START = 60.0  # seconds until nodes are idle
# What is put back begins when its credential has expired, which SLURM gives two minutes.
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
AuthInfo=socket={root}/munge.socket,cred_expire=10
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=5
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=3600
JobRequeue=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """A running cluster."""

    root: Path

    @property
    def env(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": _path()}

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, **self.env},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def job(self, number: int | str) -> dict[str, str]:
        """Return what SLURM says of a job: JobState, Restarts, .."""
        words = self.run("scontrol", "--oneliner", "show", "job", str(number)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, numbers: Sequence[int], seconds: float) -> None:
        """Wait until jobs, with all tasks of an array, have ended."""
        until = time.monotonic() + seconds
        wanted = ",".join(map(str, numbers))
        while left := self.run("squeue", "--noheader", "--jobs", wanted):
            assert time.monotonic() < until, f"still there:\n{left}\n{self.logs()}"
            time.sleep(0.5)

    def logs(self) -> str:
        """Return the ends of the daemons' logs, for a test that fails."""
        logs = sorted(self.root.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)


def require_slurm() -> None:
    """Skip where there is none, and say how to get it."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_path()) is None]
    if missing:
        pytest.skip(
            f"SLURM is not installed ({', '.join(missing)}): `make slurm` does that, as root"
        )
    if os.geteuid() != 0:
        pytest.skip("a SLURM that starts jobs is run by root: sudo make slurm")


@contextlib.contextmanager
def running_slurm(cores: int = 4) -> Iterator[Slurm]:
    """Start a cluster of two nodes on free ports; no daemon is left behind.

    Args:
      cores: of a node, whatever the machine has.
    """
    require_slurm()
    # In a short path: sockets lie below it, and theirs end after 107 characters.
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    slurm = Slurm(root)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        _configure(root, cores)
        files = {"socket": "munge.socket", "pid-file": "munge.pid", "key-file": "munge.key"}
        files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        places = [f"--{option}={root / name}" for option, name in files.items()]
        _start(slurm, daemons, "munged", "--foreground", "--force", *places)
        _start(slurm, daemons, "slurmctld", "-D", "-c", "-f", str(root / "slurm.conf"))
        for node in NODES:
            _start(slurm, daemons, "slurmd", "-D", "-N", node, "-f", str(root / "slurm.conf"))
        _wait_for_nodes(slurm, daemons)
        yield slurm
    finally:
        with contextlib.suppress(Exception):
            slurm.run("scancel", "--user=root", "--signal=KILL")
            slurm.run("scancel", "--user=root")
            time.sleep(1)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        shutil.rmtree(root, ignore_errors=True)


def _configure(root: Path, cores: int) -> None:
    with contextlib.ExitStack() as held:  # all at once, so that none comes twice
        sockets = [held.enter_context(socket.socket()) for _ in range(1 + len(NODES))]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    host = socket.gethostname().split(".")[0]
    nodes = [
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cores}"
        for node, port in zip(NODES, ports[1:], strict=True)
    ]
    text = CONF.format(root=root, host=host, port=ports[0])
    text = text.replace("PartitionName=", "\n".join([*nodes, "PartitionName="]))
    (root / "slurm.conf").write_text(text)
    (root / "state").mkdir()
    (root / "munge.key").write_bytes(os.urandom(1024))
    (root / "munge.key").chmod(0o400)


def _start(slurm: Slurm, daemons: list[subprocess.Popen[bytes]], *command: str) -> None:
    name = f"{command[0]}-{len(daemons)}.log"
    program = shutil.which(command[0], path=_path())
    assert program is not None
    with (slurm.root / name).open("wb") as log:
        daemon = subprocess.Popen(
            [program, *command[1:]],
            env={**os.environ, **slurm.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    daemons.append(daemon)
    if command[0] == "munged":
        until = time.monotonic() + START
        while not (slurm.root / "munge.socket").exists():
            assert daemon.poll() is None, slurm.logs()
            assert time.monotonic() < until, slurm.logs()
            time.sleep(0.1)


def _wait_for_nodes(slurm: Slurm, daemons: Sequence[subprocess.Popen[bytes]]) -> None:
    until, states = time.monotonic() + START, [""]
    while states != ["idle"] * len(NODES):
        assert all(daemon.poll() is None for daemon in daemons), slurm.logs()
        assert time.monotonic() < until, f"{states}\n{slurm.logs()}"
        time.sleep(0.2)
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            states = slurm.run("sinfo", "--noheader", "--Node", "--format=%T").split()


def _path() -> str:
    """Return the search path with what only root's has."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
