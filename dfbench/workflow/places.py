"""Where data and results lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are read and written, and with how many processes."""

    data_dir: Path
    runs_dir: Path
    detector_model: Path | None = None
    jobs: int = 0  # 0: one a core
