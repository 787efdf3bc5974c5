"""What the tests of `dfbench launch` share."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.shell import write_fake

Launch = Callable[..., Path]  # options to the folder of the job
Refused = Callable[..., str]  # arguments that are refused to what is said


class Fakes:
    """Commands in the place of real ones, first on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, **options: Any) -> None:
        write_fake(self.folder, name, **options)

    def run(self, *command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        here = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
        return subprocess.run(
            list(map(str, command)),
            env={**here, "PATH": path, "CALLS": str(self.folder / "calls"), **env},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self) -> list[dict[str, Any]]:
        """Return what was noted, in order."""
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
