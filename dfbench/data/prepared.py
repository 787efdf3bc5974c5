"""A prepared dataset on disk: ArrayRecord files, a frame table and the story of its making."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfbench.data.spec import PATH_DATASETS
from dfbench.errors import UserError
from dfbench.faces.clip import Clip, CropRecipe, Split, recipe_values
from dfbench.faces.hashing import BYTES
from dfbench.files import decode_json, to_disk, whole, write_json
from dfbench.results.card import ClassName, Counts, Coverage, DatasetFingerprint

CLASS_NAMES: tuple[ClassName, ClassName] = ("real", "fake")  # by label
MARKER = "dfbench.json"  # written last: a folder without it is not finished
FRAMES = "frames.parquet"
# Of the frame table: one row a crop, in the order of the records, split by split.
FRAME_COLUMNS = pa.schema(
    {
        "split": pa.string(),
        "position": pa.int64(),
        "video": pa.string(),
        "frame": pa.int32(),
        "time_s": pa.float32(),
        "label": pa.int32(),
        "manipulation": pa.string(),
        "identity": pa.string(),
        "source_identity": pa.string(),
        "original": pa.string(),
        "footage": pa.list_(pa.string()),
        "content": pa.uint64(),  # hash of the encoded crop
        "phash": pa.binary(BYTES),  # hash of what it looks like
        "side": pa.float32(),
    }
)
FORMAT = 2  # of the files beside the records; what was prepared with another is prepared anew


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A clip that gave no crop."""

    video: str
    split: Split
    label: int
    manipulation: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was prepared, from what and how."""

    name: str
    version: str
    variant: str
    recipe: CropRecipe
    detector_note: str  # why another detector than the one asked for was used
    clips_sha256: str  # of the clips' names, labels and splits
    crops_sha256: str  # of the crops' bytes
    counts: dict[str, Counts]  # "train/fake/Deepfakes": split, class, manipulation
    frame_misses: dict[str, dict[str, int]]  # the same keys -> why single frames gave no crop
    missed: tuple[Missed, ...]
    excluded: dict[str, int]  # why clips are in no split -> how many
    package_version: str
    created: str  # UTC, ISO 8601


@dataclass(frozen=True)
class Prepared:
    """A finished dataset folder, as one spec asks for it."""

    folder: Path
    manifest: Manifest
    manipulations: tuple[str, ...] = ()  # kept fakes; empty: all

    @property
    def name(self) -> str:
        """The dataset's name; of a person's own folder with that folder's name."""
        name, variant = self.manifest.name, self.manifest.variant
        return f"{name}:{variant}" if name in PATH_DATASETS else name

    def _kept(self, label: int, manipulation: str) -> bool:
        return label == 0 or not self.manipulations or manipulation in self.manipulations

    def coverage(self, split: Split) -> dict[ClassName, Coverage]:
        """Return how many clips and frames of a split gave crops, by class."""
        found: dict[ClassName, Coverage] = {}
        for label, name in enumerate(CLASS_NAMES):
            counts = [
                c
                for key, c in self.manifest.counts.items()
                if key.startswith(f"{split}/{name}/") and self._kept(label, key.split("/", 2)[2])
            ]
            reasons = Counter(m.reason for m in self.missed(split) if m.label == label)
            found[name] = Coverage(
                clips=sum(c.clips for c in counts),
                clips_with_crops=sum(c.clips_with_crops for c in counts),
                frames_wanted=sum(c.frames_wanted for c in counts),
                frames=sum(c.frames for c in counts),
                reasons=dict(sorted(reasons.items())),
            )
        return found

    def fingerprint(self) -> DatasetFingerprint:
        """Return what names this data in a result card."""
        m = self.manifest
        return DatasetFingerprint(
            name=self.name,
            version=m.version,
            variant=m.variant,
            recipe=recipe_values(m.recipe),
            detector_note=m.detector_note,
            clips_sha256=m.clips_sha256,
            crops_sha256=m.crops_sha256,
            counts=m.counts,
        )

    def missed(self, split: Split) -> list[Missed]:
        """Return the clips of a split that gave no crop."""
        return [
            m
            for m in self.manifest.missed
            if m.split == split and self._kept(m.label, m.manipulation)
        ]

    @functools.cached_property
    def _table(self) -> pa.Table:
        return pq.read_table(self.folder / FRAMES)

    def frames(self, split: Split) -> pa.Table:
        """Return the split's frame table: one row a crop.

        Columns: `position` (of the record in the split's ArrayRecord files), `video`, `frame`,
        `time_s`, `label`, `manipulation`, `identity`, `source_identity`, `original`, `footage`,
        `side` (of the crop in the frame, px), `content` and `phash` (of `dfbench.faces.hashing`).

        Raises:
          UserError: a manipulation that the dataset does not have.
        """
        table = self._table.filter(pc.equal(self._table["split"], split))
        if not self.manipulations:
            return table
        known = set(pc.unique(self._table["manipulation"]).to_pylist()) - {"real"}
        if unknown := set(self.manipulations) - known:
            raise UserError(
                f"{self.name} has no manipulation '{sorted(unknown)[0]}'; it has "
                f"{', '.join(sorted(known))}"
            )
        keep = pc.is_in(table["manipulation"], pa.array([*self.manipulations, "real"]))
        return table.filter(pc.or_(keep, pc.equal(table["label"], 0)))


def load_prepared(folder: Path, manipulations: tuple[str, ...] = ()) -> Prepared:
    """Open a finished dataset folder.

    Raises:
      UserError: the folder's manifest cannot be read.
    """
    path = folder / MARKER
    try:
        manifest = decode_json(path.read_bytes(), Manifest)
        if not manifest.name:
            raise ValueError("it names no dataset")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; delete {folder} and prepare it again") from error
    return Prepared(folder, manifest, manipulations)


def is_finished(folder: Path) -> bool:
    """Tell whether preparation of this folder came to its end."""
    return (folder / MARKER).is_file()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Finish a dataset folder: the manifest is the last file written."""
    to_disk(folder)
    write_json(folder / MARKER, manifest)


def clips_sha256(clips: Sequence[Clip]) -> str:
    """Hash what the clips are (not where they lie): the same list gives the same hash anywhere."""
    rows = sorted(
        [
            c.video,
            c.label,
            c.split,
            c.manipulation,
            c.identity,
            c.source_identity,
            c.original,
            c.footage,
        ]
        for c in clips
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def write_frames(folder: Path, table: pa.Table) -> None:
    """Write the frame table of a dataset folder; its columns are `FRAME_COLUMNS`."""
    with whole(folder / FRAMES) as unfinished:
        pq.write_table(table, unfinished)


def column(table: pa.Table, name: str) -> np.ndarray:
    """Return a column as a NumPy array (text as str)."""
    values: np.ndarray = table[name].to_numpy()
    return values.astype(str) if values.dtype == object else values
