"""Ranks of a real Open MPI, which find each other: `make slurm` installs it and runs this."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.command import dfbench
from support.photos import write_photos

pytestmark = pytest.mark.slow  # continuous integration runs it by a command of its own


def test_ranks_train_together_and_one_writes(tmp_path: Path) -> None:
    if shutil.which("mpirun") is None:
        pytest.skip("there is no Open MPI here: apt-get install openmpi-bin, or make slurm")
    done = dfbench(
        *("train", "--train", f"folder:{write_photos(tmp_path / 'mine', real=24, fake=24)}"),
        *("--set", "data.detector=none", "--set", "data.crop_size=32", "--jobs", "1"),
        *("--set", "model.input_size=32", "--set", "training.batch_size=8"),
        *("--set", "training.epochs=1", "--set", "scoring.batch_size=8"),
        under=("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"),
        cwd=tmp_path,
        cache=tmp_path / "cache",
        timeout=300,
        JAX_NUM_CPU_DEVICES="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("run: ") == 1  # of the first rank
    (record,) = (tmp_path / "runs").glob("*/training.json")
    assert '"device_count": 2' in record.read_text()
