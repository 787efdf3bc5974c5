from __future__ import annotations

import os
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
    heads = [number for number, row in enumerate(rows) if set(row) == {"---"}]
    return done.returncode, [
        row for n, row in enumerate(rows) if n not in heads and n + 1 not in heads
    ]


@pytest.mark.slow
def test_the_benchmark_runs_on_a_small_table() -> None:
    _, rows = _run("--rounds", "1", "--large", "100000")
    ranked, whole, parquet, comma = rows
    assert 0 < float(ranked[1]) < float(whole[1])
    assert (parquet[0], comma[0]) == ("parquet", "csv")
    assert 0 < float(parquet[5]) < 1


@pytest.mark.slow
def test_ten_million_rows_take_a_minute_and_4_gib_at_most() -> None:
    _, rows = _run("--rounds", "0", "--large")
    assert [row[0] for row in rows] == ["parquet", "csv"]
    # The limit is that of a quiet machine; where there is more to do than cores, all takes longer.
    slower = max(1.0, os.getloadavg()[1] / (os.cpu_count() or 1))
    for row in rows:
        assert float(row[3]) <= slower * float(row[4]), rows
        assert float(row[5]) <= float(row[6]), rows
