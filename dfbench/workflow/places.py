"""Where data and results lie, on this machine and in object storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dfbench.faces.worker import DEFAULT, Limits
from dfbench.storage.mirror import Mirror


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are read and written, and with how many processes."""

    data_dir: Path
    runs_dir: Path
    detector_model: Path | None = None
    jobs: int = 0  # 0: one a core
    limits: Limits = DEFAULT  # of the processes that decode
    data_mirror: Mirror | None = None  # of the place that `data_dir` stands for
    runs_mirror: Mirror | None = None  # likewise `runs_dir`
