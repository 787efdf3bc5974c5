"""Start-up time of the command line: `make bench`, or `python benchmarks/speed/startup.py`.

Prints the median over runs of whole processes; fails when a limit is passed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 11
LIMITS = {("--help",): 0.5, ("run", "--help"): 0.5, ("datasets",): 1.0}  # seconds


def seconds(command: list[str]) -> float:
    """Run a command once and return its wall time in seconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Measure every command, print a table, and return 1 if one is too slow."""
    program = str(Path(sys.executable).with_name("dfbench"))
    print(f"| command | median s | max s | limit s |\n|---|---|---|---|   ({RUNS} runs)")
    slow = 0
    for arguments, limit in LIMITS.items():
        seconds([program, *arguments])  # byte-code is compiled once
        times = [seconds([program, *arguments]) for _ in range(RUNS)]
        median = statistics.median(times)
        slow += median > limit
        print(f"| dfbench {' '.join(arguments)} | {median:.3f} | {max(times):.3f} | {limit} |")
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
