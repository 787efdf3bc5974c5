"""Disks that are small, or that may not be written, for tests run by root."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[Path]:
    """Mount a disk in memory at a new folder; skip the test where that is not allowed."""
    folder.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    try:
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here ({done.stderr.strip()}): root can")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, *options: str) -> None:
    """Change a disk of `small_disk`: "ro", "rw", "size=9m"."""
    chosen = ",".join(("remount", *options))
    subprocess.run(["mount", "-o", chosen, str(folder)], check=True)
