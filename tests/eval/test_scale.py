from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "speed" / "resampling.py"


def _run(*options: str) -> tuple[int, list[list[str]]]:
    command = [sys.executable, str(SCRIPT), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return done.returncode, [row for row in rows if row[-1].replace("-", "1").isdigit()]


@pytest.mark.slow
def test_the_benchmark_runs_on_a_small_table() -> None:
    _, rows = _run("--rounds", "1", "--large", "100000")
    ranked, whole, parquet, comma = rows
    assert 0 < float(ranked[1]) < float(whole[1])
    assert (parquet[0], comma[0]) == ("parquet", "csv")
    assert 0 < float(parquet[5]) < 1


@pytest.mark.slow
def test_ten_million_rows_take_a_minute_and_4_gib_at_most() -> None:
    code, rows = _run("--rounds", "0", "--large")
    assert len(rows) == 2
    assert code == 0, rows
