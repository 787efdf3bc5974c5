"""The command line as a user runs it: another process, no settings of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def dfbench(
    *arguments: str | Path, cwd: Path, cache: Path, timeout: float = 600, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `dfbench ARGUMENTS` in `cwd` with its cache in `cache`; `env` adds variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_", "XLA_", "DFBENCH_", "TF_", "GLOG_", "PYTEST_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "dfbench.cli", *map(str, arguments)],
        cwd=cwd,
        env={**kept, "JAX_PLATFORMS": "cpu", "DFBENCH_CACHE": str(cache), **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
