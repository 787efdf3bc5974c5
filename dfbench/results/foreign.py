"""What is known of a detector that was trained elsewhere."""

from __future__ import annotations

from typing import Any

import msgspec

from dfbench.config import ScoringConfig, hash_values
from dfbench.results.card import Cell


def foreign_config(cell: Cell, scoring: ScoringConfig) -> dict[str, Any]:
    """Return the settings for its card: those of the scoring."""
    return {
        "train": cell.train,
        "eval": [cell.eval],
        "seed": cell.seed,
        "model": {"name": cell.model},
        "scoring": msgspec.to_builtins(scoring),
    }


def foreign_hash(cell: Cell) -> str:
    """Return what names its training: one training is scored on several datasets."""
    return hash_values({"detector": cell.model, "train": cell.train, "seed": cell.seed})
