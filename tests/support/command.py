"""The command line as a user runs it: another process, no settings of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO


def dfbench(
    *arguments: str | Path,
    cwd: Path,
    cache: Path,
    timeout: float = 600,
    under: Sequence[str] = (),
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Run `dfbench ARGUMENTS` in `cwd` with its cache in `cache`; `env` adds variables.

    `under` is a command that runs another, such as `nice`.
    """
    return subprocess.run(
        [*under, *_command(arguments)],
        cwd=cwd,
        env=_environment(cache) | env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start_dfbench(
    *arguments: str | Path,
    cwd: Path,
    cache: Path,
    stdout: IO[str] | None = None,
    stderr: IO[str] | None = None,
    **env: str,
) -> subprocess.Popen[str]:
    """Start `dfbench ARGUMENTS` as the first of a process group; `env` adds variables."""
    # Tests may run where it is passed over, as in the background of a shell; a `preexec_fn` would
    # fork, of which JAX warns.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            _command(arguments),
            cwd=cwd,
            env=_environment(cache) | env,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def _command(arguments: Sequence[str | Path]) -> list[str]:
    return [sys.executable, "-m", "dfbench.cli", *map(str, arguments)]


def _environment(cache: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_", "XLA_", "DFBENCH_", "TF_", "GLOG_", "PYTEST_"))
    }
    return {**kept, "JAX_PLATFORMS": "cpu", "DFBENCH_CACHE": str(cache)}
