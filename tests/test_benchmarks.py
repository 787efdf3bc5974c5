"""The benchmarks run; what they measure is for quiet machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).resolve().parents[1] / "benchmarks" / "speed"


@pytest.mark.slow
def test_training_steps_of_meso4() -> None:
    command = [sys.executable, str(SPEED / "train_step.py"), "meso4"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    *_, row = done.stdout.strip().splitlines()
    name, *_, trained, scored = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "meso4"
    assert float(trained) > 0
    assert float(scored) > 0
