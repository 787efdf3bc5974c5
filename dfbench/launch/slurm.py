"""SLURM: prepare, then an array of trainings, then the pages."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from dfbench.errors import UserError
from dfbench.launch.render import JobFile, render
from dfbench.launch.values import absolute, directives, positive, word
from dfbench.launch.work import Work, protocol_files, with_protocol
from dfbench.paths import slug
from dfbench.signals import STOPPED

MOST_TASKS = 1000  # of an array: SLURM's default
AGAIN = 50  # times that a task goes back into the queue at its time limit


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """What SLURM is asked for."""

    folder: str  # where the command was given: what is relative in a protocol is so to it
    time: str | None
    prepare_time: str | None
    partition: str | None
    cpu_partition: str | None  # of what needs no accelerator
    account: str | None
    nodes: int  # that make a training together
    gpus: int  # of a node
    cpus: int  # of a process; 0: what the cluster gives
    mem: str | None  # of a node
    max_parallel: int  # tasks at the same time; 0: as many as there are
    setup: str | None  # a file that every job reads first
    extra: tuple[str, ...]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `launch slurm`."""
    for name, text in (
        ("time", "limit of a task, such as 8:00:00; one that needs longer is put back and goes on"),
        ("prepare-time", "limit of the job that prepares the data"),
        ("partition", "where to train"),
        ("cpu-partition", "where to prepare and write pages (default: --partition)"),
        ("account", "who pays"),
        ("mem", "memory of a node, such as 64G"),
    ):
        parser.add_argument(f"--{name}", metavar=name.rpartition("-")[2].upper(), help=text)
    for name, default, text in (
        ("gpus", 0, "GPUs of a node (default: none)"),
        ("cpus", 0, "cores of a process (default: the cluster's)"),
        ("nodes", 1, "nodes that make one training together, a process a GPU"),
        ("max-parallel", 0, "tasks that run at the same time (default: all)"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=text)
    parser.add_argument(
        "--setup",
        type=Path,
        metavar="FILE",
        help="shell file that each job reads first: modules, a virtual environment",
    )
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        metavar="DIRECTIVE",
        help="further #SBATCH directive of the trainings: --extra=--constraint=a100 (repeatable)",
    )


def settings(args: argparse.Namespace) -> Slurm:
    """Return what the arguments ask for.

    Raises:
      UserError: a value that does not fit.
    """
    for name in ("gpus", "cpus", "max_parallel"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name.replace('_', '-')}: {getattr(args, name)} is less than 0")
    if args.setup is not None and not args.setup.is_file():
        raise UserError(f"--setup: {args.setup}: no such file")
    texts = ("time", "prepare_time", "partition", "account", "mem")
    checked = {name: word(getattr(args, name), f"--{name.replace('_', '-')}") for name in texts}
    return Slurm(
        folder=absolute(".", "the current folder"),
        cpu_partition=word(args.cpu_partition, "--cpu-partition") or checked["partition"],
        nodes=positive(args.nodes, "--nodes"),
        gpus=args.gpus,
        cpus=args.cpus,
        max_parallel=args.max_parallel,
        setup=None if args.setup is None else absolute(str(args.setup), "--setup"),
        extra=directives(args.extra),
        **checked,
    )


def files(work: Work, slurm: Slurm) -> list[JobFile]:
    """Return the scripts of the three jobs, and the one that submits them.

    Raises:
      UserError: too many parts, or a folder whose name SLURM would change.
    """
    if work.parts > MOST_TASKS:
        raise UserError(f"--parts: an array of SLURM has at most {MOST_TASKS} tasks")
    if "%" in work.folder or "\\" in work.folder:
        raise UserError(
            f"--out: {work.folder}: SLURM gives % and \\ in the names of log files another "
            "meaning; name another folder"
        )
    work = replace(with_protocol(work, work.folder), name=slug(work.name))
    limit = f"%{slurm.max_parallel}" if slurm.max_parallel else ""
    array = f"1-{work.parts}{limit}"

    def script(name: str, partition: str | None) -> JobFile:
        text = render(
            f"slurm/{name}",
            work=work,
            s=slurm,
            partition=partition,
            array=array,
            again=AGAIN,
            stopped=STOPPED,
        )
        return JobFile(name, text)

    return [
        script("prepare.sh", slurm.cpu_partition),
        script("train.sh", slurm.partition),
        script("leaderboard.sh", slurm.cpu_partition),
        script("submit.sh", None),
        JobFile(
            "logs/README", "What the jobs say: prepare, train (one file a task), leaderboard.\n"
        ),
        *protocol_files(work),
    ]
