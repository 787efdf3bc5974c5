"""Cloud TPU VMs: one slice as a queued resource, on which all trainings are made in turn."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass

from dfbench.launch.machine import add_package_option, machine_files, require_urls
from dfbench.launch.render import JobFile, render
from dfbench.launch.values import dns_name, optional, printable
from dfbench.launch.work import Work, with_protocol

ATTEMPTS = 20  # TPUs that are rented, where each is taken away
POLL = 30  # seconds


@dataclass(frozen=True, kw_only=True)
class TpuVm:
    """What Google Cloud is asked for."""

    zone: str
    accelerator: str
    runtime: str
    project: str | None
    service_account: str | None
    spot: bool
    package: str | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `launch tpu-vm`."""
    for name, example in (
        ("zone", "us-west4-a"),
        ("accelerator-type", "v5litepod-16"),
        ("runtime-version", "v2-alpha-tpuv5-lite"),
    ):
        parser.add_argument(f"--{name}", metavar="NAME", required=True, help=f"such as {example}")
    parser.add_argument("--project", metavar="NAME", help="project (default: that of gcloud)")
    parser.add_argument("--service-account", metavar="NAME", help="account that reads the storage")
    parser.add_argument(
        "--spot", action="store_true", help="cheaper, and may be taken away: the job goes on"
    )
    add_package_option(parser)


def settings(args: argparse.Namespace) -> TpuVm:
    """Return what the arguments ask for.

    Raises:
      UserError: a value that does not fit.
    """
    return TpuVm(
        zone=printable(args.zone, "--zone"),
        accelerator=printable(args.accelerator_type, "--accelerator-type"),
        runtime=printable(args.runtime_version, "--runtime-version"),
        project=optional(args.project, "--project"),
        service_account=optional(args.service_account, "--service-account"),
        spot=args.spot,
        package=optional(args.package, "--package"),
    )


def files(work: Work, tpu: TpuVm) -> list[JobFile]:
    """Return what the hosts run, and the script that rents them."""
    require_urls(work, "tpu-vm")
    work = dataclasses.replace(with_protocol(work, "."), name=dns_name(work.name))
    where = [f"--zone={tpu.zone}", *([f"--project={tpu.project}"] if tpu.project else [])]
    machine = [f"--accelerator-type={tpu.accelerator}", f"--runtime-version={tpu.runtime}"]
    machine += [f"--service-account={tpu.service_account}"] if tpu.service_account else []
    machine += ["--spot"] if tpu.spot else []
    submit = render(
        "tpu_vm/submit.sh",
        work=work,
        where=tuple(where),
        machine=tuple(machine),
        attempts=ATTEMPTS,
        poll=POLL,
    )
    return [*machine_files(work, tpu.package, "tpu"), JobFile("submit.sh", submit)]
