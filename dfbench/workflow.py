"""Prepare, train, evaluate, leaderboard: what the commands do, as plain functions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfbench import config as configuration
from dfbench.config import DataConfig, RunConfig, ScoringConfig
from dfbench.data.pipeline import (
    SplitView,
    class_weights,
    eval_batches,
    split_view,
    train_batches,
)
from dfbench.data.prepare import prepare
from dfbench.data.prepared import Prepared
from dfbench.data.spec import Spec, parse_spec
from dfbench.errors import UserError
from dfbench.paths import slug
from dfbench.progress import SILENT, Reporter


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are read and written, and with how many processes."""

    data_dir: Path
    runs_dir: Path
    detector_model: Path | None = None
    jobs: int = 0  # 0: one a core


def prepare_one(
    spec: Spec,
    data: DataConfig,
    places: Places,
    reporter: Reporter = SILENT,
    *,
    raw: Path | None = None,
) -> Prepared:
    """Return the prepared dataset of one spec, made first where it is not there."""
    return prepare(
        spec,
        data,
        data_dir=places.data_dir,
        raw=raw,
        detector_model=places.detector_model,
        jobs=places.jobs,
        reporter=reporter,
    )
