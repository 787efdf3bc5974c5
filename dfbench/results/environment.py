"""What a result was made with: versions, hardware, commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import dfbench
from dfbench.results.card import Environment

# What can change a number.
PACKAGES = (
    "array-record",
    "av",
    "dlib-bin",
    "flax",
    "grain",
    "jax",
    "jaxlib",
    "mediapipe",
    "numpy",
    "opencv-contrib-python",
    "optax",
    "orbax-checkpoint",
    "pillow",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
    "tensorflow-datasets",
)


def environment(*, devices: bool = False) -> Environment:
    """Describe this process.

    Args:
      devices: Import JAX to ask for the devices; otherwise they are named only where JAX was
        imported already ("" and 0 where not).
    """
    kind, count = _devices() if devices or "jax" in sys.modules else ("", 0)
    commit, dirty = _git(Path(dfbench.__file__).parent)
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        cpu_count=os.cpu_count() or 0,
        packages=_versions(),
        device_kind=kind,
        device_count=count,
        git_commit=commit,
        git_dirty=dirty,
    )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return the name of the processor."""
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def machine_text() -> str:
    """Return processor, cores and system in a line."""
    system = f"{platform.system()} {platform.machine()}"
    return f"{processor()}, {usable_cores()} cores, {system}"


def machine_name() -> str:
    """Return cores and processor as part of a file name: `2-cores-amd-epyc`."""
    text = f"{usable_cores()}-cores-{processor()}".lower()
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


def _versions() -> dict[str, str]:
    found = {"dfbench": dfbench.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _devices() -> tuple[str, int]:
    import jax

    return jax.local_devices()[0].device_kind, jax.device_count()


def _git(package: Path) -> tuple[str | None, bool | None]:
    """Return commit and dirtiness of the checkout that holds the package's own sources.

    A package installed inside somebody else's repository (a virtual environment in it) is no
    checkout of this project: its files must be tracked.
    """
    if _run(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _run(package, "rev-parse", "HEAD")
    changes = _run(package, "status", "--porcelain", "--", ".", ":/datasets")
    return commit, None if changes is None else bool(changes)


def _run(folder: Path, *arguments: str) -> str | None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**kept, "GIT_OPTIONAL_LOCKS": "0"},  # never blocks another git command
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
