"""Job files for clusters and clouds, around `dfbench matrix`: `launch`."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from dfbench import options
from dfbench.errors import UserError
from dfbench.launch import k8s, skypilot, slurm, tpu_vm
from dfbench.launch.values import absolute, is_url, pairs, positive, printable, variables
from dfbench.paths import default_data_dir, slug
from dfbench.protocols import find_protocol, shipped
from dfbench.selection import protocol_selection

if TYPE_CHECKING:
    from dfbench.launch.work import Work

SUBMIT = "submit.sh"
PARTS_FAILED = 3  # exit status, as of a matrix


@dataclasses.dataclass(frozen=True)
class Target:
    """An engine that takes jobs."""

    summary: str
    module: ModuleType  # add_options(parser), settings(args), files(work, settings)
    tool: str  # that takes them


TARGETS = {
    "slurm": Target("an array of jobs on a SLURM cluster", slurm, "sbatch"),
    "k8s": Target("a JobSet, or indexed Jobs, on Kubernetes", k8s, "kubectl"),
    "tpu-vm": Target("a Cloud TPU slice, rented and given back", tpu_vm, "gcloud"),
    "skypilot": Target("managed jobs on machines of any cloud", skypilot, "sky"),
}


def launch(args: argparse.Namespace) -> int:
    """Train the matrix of a protocol on many devices or machines, by the engine that is there.

    Writes short files around `dfbench matrix --protocol P --part K/N`: data are prepared first,
    then each job makes some of the trainings with all their cells, then the pages are written. With
    --submit the target's own tool takes them. `local` starts at once, on this machine's devices.
    What is there already is used again: launch again to go on.

    docs/cloud.md leads from nothing to a running matrix, on each target.
    """
    if args.target == "local":
        return run_here(args)
    target = TARGETS[args.target]
    chosen = target.module.settings(args)
    work = work_of(args)
    from dfbench.launch.render import write_files

    out = Path(work.folder)
    for path in write_files(out, target.module.files(work, chosen)):
        print(f"written: {path}")
    script = out / SUBMIT
    print(f"{work.trainings} trainings; data: {work.data_dir}; results: {work.runs_dir}")
    if not args.submit:
        print(f"look at them, then hand them over: bash {shlex.quote(str(script))}")
        return 0
    submit(script, target.tool)
    if is_url(work.runs_dir):
        print(f"at the end: dfbench leaderboard {shlex.quote(work.runs_dir)}")
    return 0


def submit(script: Path, tool: str) -> None:
    """Run the script that hands the jobs over.

    Raises:
      UserError: the tool is not installed, or refuses them.
    """
    again = f"bash {shlex.quote(str(script))}"
    if shutil.which(tool) is None:
        raise UserError(
            f"{tool} is not installed here; the files are in {script.parent}: where {tool} is, "
            f"type {again}"
        )
    sys.stdout.flush()
    status = subprocess.run(["bash", str(script)], check=False).returncode
    if status:
        raise UserError(
            f"{tool} has not taken all jobs (exit status {status}; what it says is above); the "
            f"files are in {script.parent}: once that is put right, type {again}"
        )


def run_here(args: argparse.Namespace) -> int:
    """Make the trainings on the devices of this machine."""
    from dfbench.commands.setup import make_reporter
    from dfbench.launch.local import devices, find_devices, run_commands, run_parts
    from dfbench.launch.render import write_files
    from dfbench.launch.work import protocol_files, with_protocol

    work = work_of(args)
    chosen = devices(*find_devices(), args.workers)
    work = with_protocol(work, work.folder)
    write_files(Path(work.folder), protocol_files(work))
    print(f"{work.trainings} trainings on: {', '.join(device.name for device in chosen)}")
    sys.stdout.flush()
    if status := run_commands(work.prepare, dict(work.env)):
        return status
    ended = run_parts(work, chosen, Path(work.folder) / "logs", make_reporter())
    status = run_commands([work.leaderboard], dict(work.env))
    failed = sorted((one for one in ended if one.status), key=lambda one: one.part)
    for one in failed:
        print(f"failed: part {one.part}/{work.parts}, exit status {one.status}: {one.log}")
    return PARTS_FAILED if failed else status


def work_of(args: argparse.Namespace) -> Work:
    """Return what the arguments of any target want to be done.

    Raises:
      UserError: a protocol, setting or name that cannot be used.
    """
    from dfbench.launch.work import Work

    if not args.protocol:
        raise UserError("no protocol: --protocol NAME (`dfbench protocols` lists them), or a file")
    chosen = protocol_selection(args, ())
    trainings = len(chosen.configs)
    path = find_protocol(args.protocol)
    own = path if path.resolve() not in {p.resolve() for p in shipped().values()} else None
    here = args.target in ("slurm", "local")  # that see the folders of this machine
    raw = pairs(args.raw, "--raw", "NAME=DIR")
    if raw and (args.rehearse or any(text.startswith("data.") for text in args.set)):
        raise UserError(
            "--raw prepares as the protocol says: not with --rehearse, which needs no download, "
            "nor with --set data.*, for which `dfbench prepare` is called by hand first"
        )
    name = args.name or f"dfbench-{(chosen.protocol or '').split()[0]}"
    printable(name, "--name")
    folder = args.out or Path("jobs") / f"{args.target}-{slug(name)}"
    return Work(
        name=name,
        folder=absolute(str(folder), "--out"),
        protocol=str(path) if own else path.stem,
        protocol_file=own,
        rehearse=args.rehearse,
        settings=tuple(printable(text, "--set") for text in args.set),
        flags=tuple(f"--{flag}" for flag in FLAGS if getattr(args, flag.replace("-", "_"))),
        raw=tuple((spec, absolute(folder, "--raw") if here else folder) for spec, folder in raw),
        data_dir=_place(args, "data"),
        runs_dir=_place(args, "runs"),
        trainings=trainings,
        parts=_parts(args, trainings),
        env=variables(args.env),
        dfbench=_dfbench(args) if here else ("dfbench",),
        jobs=args.cpus if args.target == "slurm" else 0,
    )


FLAGS = ("allow-leak", "oracle", "keep-epochs")


def _parts(args: argparse.Namespace, trainings: int) -> int:
    if args.target == "tpu-vm":
        return 1
    if args.parts is not None:
        return min(positive(args.parts, "--parts"), trainings)
    return min(trainings, slurm.MOST_TASKS) if args.target == "slurm" else trainings


def _place(args: argparse.Namespace, what: str) -> str:
    """Return where data or runs lie, as the jobs name it."""
    option = f"--{what}-dir"
    given = getattr(args, f"{what}_dir")
    if args.target in ("slurm", "local"):
        usual = {"data": str(default_data_dir()), "runs": "runs"}[what]
        return absolute(usual if given is None else given, option)
    if given is None:
        return f"{args.mount.rstrip('/')}/{what}" if args.target == "k8s" else what
    return printable(given, option)


def _dfbench(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the command of this installation, or the one that is named."""
    if args.dfbench:
        return (printable(args.dfbench, "--dfbench"),)
    beside = Path(sys.executable).with_name("dfbench")
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "dfbench.cli")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the targets, and the options of each."""
    targets = parser.add_subparsers(title="targets", metavar="TARGET", dest="target", required=True)
    for name, target in TARGETS.items():
        sub = _target(targets, name, target.summary)
        target.module.add_options(sub)
        sub.add_argument(
            "--submit", action="store_true", help=f"hand the files over, by {target.tool}"
        )
    sub = _target(targets, "local", "the devices of this machine, at once")
    sub.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that share devices or cores (default: one a device; one on a CPU)",
    )


def _target(
    targets: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    sub = targets.add_parser(
        name,
        help=summary,
        description=f"Train the matrix of a protocol: {summary}.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.protocol_option(sub)
    options.set_option(sub, "`dfbench matrix --help` lists them")
    options.leak_option(sub)
    options.oracle_options(sub)
    sub.add_argument(
        "--raw",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="download that is prepared first, where the jobs find it: ffpp/c23=/data/ffpp "
        "(repeatable)",
    )
    for what, text in (
        ("data", "prepared data, a folder that all jobs see or a URL: gs://.., s3://.."),
        ("runs", "results, likewise"),
    ):
        sub.add_argument(f"--{what}-dir", metavar="DIR", help=text)
    if name != "tpu-vm":  # which makes one training after another
        sub.add_argument(
            "--parts", type=int, metavar="N", help="jobs that share trainings (default: one each)"
        )
    sub.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="variable of the jobs"
    )
    sub.add_argument("--name", metavar="NAME", help="of the jobs (default: by the protocol)")
    sub.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: jobs/TARGET-NAME)"
    )
    if name in ("slurm", "local"):
        sub.add_argument(
            "--dfbench", metavar="FILE", help="the command that the jobs call (default: this one)"
        )
    return sub
