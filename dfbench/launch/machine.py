"""Scripts for rented machines that come with a system and nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path

from dfbench import __version__
from dfbench.errors import UserError, system_errors
from dfbench.launch.render import JobFile, render
from dfbench.launch.values import is_url, printable
from dfbench.launch.work import Work, protocol_files

EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3"}  # by scheme of a URL


def add_package_option(parser: argparse.ArgumentParser) -> None:
    """Add `--package`."""
    parser.add_argument(
        "--package",
        metavar="WHAT",
        help="what pip installs there: a requirement, or a wheel of yours (default: "
        f"dfbench=={__version__} with what the target needs)",
    )


def require_urls(work: Work, target: str) -> None:
    """Raise UserError where data or results would go with the machine."""
    for option, place in (("--data-dir", work.data_dir), ("--runs-dir", work.runs_dir)):
        if not is_url(place):
            raise UserError(
                f"{option}: the disk of a machine of {target} goes with it: name a folder in "
                "object storage, such as gs://BUCKET/dfbench or s3://BUCKET/dfbench"
            )


def machine_files(work: Work, package: str | None, accelerator: str) -> list[JobFile]:
    """Return the scripts that a machine runs: setup, prepare, train.

    Args:
      work: what they do.
      package: what is installed; None: this version.
      accelerator: extra of the package, such as "tpu"; empty: none.

    Raises:
      UserError: the package cannot be read.
    """
    schemes = [place.split("://")[0] for place in (work.data_dir, work.runs_dir)]
    wanted = {accelerator, *(EXTRAS.get(scheme, "") for scheme in schemes)} - {""}
    extras = f"[{','.join(sorted(wanted))}]" if wanted else ""
    wheel = Path(package) if package and package.endswith(".whl") else None
    brought = []
    if wheel is not None:
        with system_errors(wheel):
            brought.append(JobFile(printable(wheel.name, "--package"), wheel.read_bytes()))
        package = f"./{wheel.name}{extras}"
    package = printable(package or f"dfbench{extras}=={__version__}", "--package")
    scripts = [
        JobFile(name, render(f"machine/{name}", work=work, package=package))
        for name in ("setup.sh", "prepare.sh", "train.sh")
    ]
    return [*scripts, *brought, *protocol_files(work)]
