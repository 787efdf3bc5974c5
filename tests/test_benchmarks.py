"""The benchmarks run; what they measure is for quiet machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).resolve().parents[1] / "benchmarks" / "speed"


@pytest.mark.slow
def test_training_steps_of_meso4(tmp_path: Path) -> None:
    options = ["meso4", "--sides", "dfbench", "--rounds", "1", "--batch", "8"]
    command = [sys.executable, str(SPEED / "train_step.py"), *options, "--output", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.iterdir()
    *_, trained, scored = page.read_text().strip().splitlines()
    for row, mode in ((trained, "training step"), (scored, "inference")):
        name, what, batch, rate = (cell.strip() for cell in row.strip("|").split("|"))
        assert (name, what, batch) == ("meso4", mode, "8")
        assert float(rate) > 0
