"""SkyPilot: managed jobs on machines of any cloud, spot ones too."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass

from dfbench.errors import UserError
from dfbench.launch.machine import add_package_option, machine_files, require_urls
from dfbench.launch.render import JobFile, render
from dfbench.launch.values import dns_name, optional, positive, printable
from dfbench.launch.work import Work, with_protocol
from dfbench.processes import LOST
from dfbench.signals import STOPPED

RESTARTS = 1  # after an error of the job; machines that are taken away do not count
PORT = 29400  # where the first process of several listens


@dataclass(frozen=True, kw_only=True)
class SkyPilot:
    """What SkyPilot is asked for."""

    accelerators: str | None  # such as A100:8
    infra: str | None  # such as gcp/us-central1
    cpus: str  # of the machine that prepares, such as 8+
    nodes: int
    spot: bool
    package: str | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `launch skypilot`."""
    parser.add_argument(
        "--accelerators", metavar="NAME:N", help="such as A100:1 (default: none, CPUs alone)"
    )
    parser.add_argument(
        "--infra", metavar="WHERE", help="cloud or region, such as gcp/us-central1 (default: any)"
    )
    parser.add_argument(
        "--cpus", metavar="N", default="8+", help="cores that prepare the data (default: 8+)"
    )
    parser.add_argument(
        "--nodes", type=int, default=1, metavar="N", help="machines that make one training together"
    )
    parser.add_argument(
        "--on-demand", action="store_true", help="machines that are not taken away (default: spot)"
    )
    add_package_option(parser)


def settings(args: argparse.Namespace) -> SkyPilot:
    """Return what the arguments ask for.

    Raises:
      UserError: a value that does not fit.
    """
    return SkyPilot(
        accelerators=optional(args.accelerators, "--accelerators"),
        infra=optional(args.infra, "--infra"),
        cpus=printable(args.cpus, "--cpus"),
        nodes=positive(args.nodes, "--nodes"),
        spot=not args.on_demand,
        package=optional(args.package, "--package"),
    )


def files(work: Work, sky: SkyPilot) -> list[JobFile]:
    """Return the two tasks, what their machines run, and the script that submits them.

    Raises:
      UserError: data or results would go with the machine, or more nodes than accelerators allow.
    """
    require_urls(work, "skypilot")
    if sky.accelerators and sky.accelerators.lower().startswith("tpu"):
        raise UserError("--accelerators: TPUs are for `dfbench launch tpu-vm` or `launch k8s`")
    work = dataclasses.replace(with_protocol(work, "."), name=dns_name(work.name))
    values = {
        "work": work,
        "s": sky,
        "restarts": RESTARTS,
        "lost": LOST,
        "stopped": STOPPED,
        "port": PORT,
    }
    tasks = ("prepare.yaml", "train.yaml", "submit.sh")
    return [
        *machine_files(work, sky.package, "cuda" if sky.accelerators else ""),
        *(JobFile(name, render(f"skypilot/{name}", **values)) for name in tasks),
    ]
