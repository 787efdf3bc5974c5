"""The record of a finished training: what it was trained on, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dfbench.data.prepared import Prepared
from dfbench.errors import UserError
from dfbench.faces.clip import Split
from dfbench.results.card import (
    DatasetFingerprint,
    Environment,
    FileHash,
    TrainingSummary,
)

RECORD = "training.json"  # written last: a run without it is not finished
SEEN = "trained_on.parquet"


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


@dataclass(frozen=True)
class Seen:
    """Whom and what a training saw: train and val splits."""

    videos: frozenset[str]  # "dataset video"
    identities: frozenset[str]  # "dataset identity", where known


def write_record(run_dir: Path, record: TrainingRecord) -> None:
    """Finish a run folder."""
    path = run_dir / RECORD
    temporary = path.with_name(f".{RECORD}.tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    temporary.replace(path)


def read_record(run_dir: Path) -> TrainingRecord:
    """Read the record of a finished training.

    Raises:
      UserError: the folder holds no finished training.
    """
    path = run_dir / RECORD
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingRecord)
    except FileNotFoundError as error:
        raise UserError(f"{run_dir}: no finished training here ({RECORD} is missing)") from error
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path}: {error}; train again with --overwrite") from error


def seen_in(datasets: Sequence[Prepared], splits: Sequence[Split]) -> Seen:
    """Collect the videos and identities of some splits."""
    videos: set[str] = set()
    identities: set[str] = set()
    for dataset in datasets:
        for split in splits:
            table = dataset.frames(split)
            videos |= {f"{dataset.name} {v}" for v in table["video"].unique().to_pylist()}
            people = {
                *table["identity"].unique().to_pylist(),
                *table["source_identity"].unique().to_pylist(),
            }
            identities |= {f"{dataset.name} {person}" for person in people if person}
    return Seen(frozenset(videos), frozenset(identities))


def write_seen(run_dir: Path, seen: Seen) -> None:
    """Keep what a training saw, so that an evaluation anywhere can look for overlap."""
    rows = [("video", v) for v in sorted(seen.videos)]
    rows += [("identity", i) for i in sorted(seen.identities)]
    table = pa.table(
        {
            "kind": pa.array([k for k, _ in rows], pa.string()),
            "key": pa.array([k for _, k in rows], pa.string()),
        }
    )
    pq.write_table(table, run_dir / SEEN)


def read_seen(run_dir: Path) -> Seen:
    """Read what a training saw.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        rows = pq.read_table(run_dir / SEEN).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{run_dir / SEEN}: {error}; train again with --overwrite") from error
    keys = {
        kind: frozenset(r["key"] for r in rows if r["kind"] == kind)
        for kind in ("video", "identity")
    }
    return Seen(keys["video"], keys["identity"])
