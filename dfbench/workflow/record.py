"""The record of a finished training: what it was trained on, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dfbench.data.clips import CLIPS
from dfbench.errors import UserError
from dfbench.files import decode_json, whole, write_json
from dfbench.results.card import (
    DatasetFingerprint,
    Environment,
    FileHash,
    TrainingSummary,
)

RECORD = "training.json"  # written last: a run without it is not finished
SEEN = "trained_on.parquet"  # the clips of its train and val splits


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What a run's evaluations need to know of its training."""

    training_hash: str
    datasets: tuple[DatasetFingerprint, ...]
    summary: TrainingSummary
    environment: Environment
    checkpoint: FileHash
    created: str  # UTC, ISO 8601
    init: FileHash | None = None  # the file of weights it started from, if any
    beside: tuple[int, ...] = ()  # other seeds whose steps were taken with its own, at the end


def write_record(run_dir: Path, record: TrainingRecord) -> None:
    """Finish a run folder."""
    write_json(run_dir / RECORD, record, indent=2)


def read_record(run_dir: Path) -> TrainingRecord:
    """Read the record of a finished training.

    Raises:
      UserError: the folder holds no finished training.
    """
    path = run_dir / RECORD
    try:
        return decode_json(path.read_bytes(), TrainingRecord)
    except FileNotFoundError as error:
        raise UserError(f"{run_dir}: no finished training here ({RECORD} is missing)") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; train again with --overwrite") from error


def write_seen(run_dir: Path, clips: pa.Table) -> None:
    """Keep the table of the clips that a training saw, so that an evaluation anywhere can audit."""
    with whole(run_dir / SEEN) as unfinished:
        pq.write_table(clips, unfinished)


def read_seen(run_dir: Path) -> pa.Table:
    """Read the clips that a training saw (`dfbench.data.clips`).

    Raises:
      UserError: the file is missing or damaged, or of an earlier version.
    """
    path = run_dir / SEEN
    try:
        return pq.read_table(path).cast(CLIPS)
    except (OSError, ValueError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"{path}: {why}; train again with --overwrite") from error
